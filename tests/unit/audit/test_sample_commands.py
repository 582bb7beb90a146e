"""`vdb-audit choose-sample` and `check-sample`, with all their options, on a session of which everything is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testkit.audit_cli import vdb_audit
from testkit.audit_commands import DISPUTED, OTHER
from testkit.evidence import golden_evidence
from testkit.golden import golden_file
from testkit.remembering import remember
from testkit.spot_shown import answered, story
from testkit.statements import AUDITOR
from vdb_shared.audit import spot_commands
from vdb_shared.audit.inspect import describe
from vdb_shared.bundle.record import METRICS

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a result, the log some time later, and an honest answer of one institution."""
    remember(monkeypatch.setattr)
    files = {f"log/{path}": data for path, data in story().log.files().items()}
    for name, data in {**files, "result.vdbb": story().session.bundle(), "samples.vdbs": answered()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_choose_sample_writes_what_the_log_chooses(sampled: Path) -> None:
    root, out = story().session.root, sampled / "choice.json"
    given = ("choose-sample", sampled / "result.vdbb", "--log", sampled / "log", "--out", out)
    done = vdb_audit(*given, "--root", root)
    session = describe((sampled / "result.vdbb").read_bytes()).facts.session
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{out}: written; an institution answers it with `vdb-participant prove-sample {session[7:19]} "
        "--checkpoint choice.json --auditor your-name --out samples.vdbs`\n"
    )
    assert out.read_bytes() == story().choice().encode()
    again = vdb_audit(*given, "--root", root)
    assert (again.returncode, again.stderr) == (
        2,
        f"error: {out}: exists already; name another file or remove it\n",
    )
    out.unlink()
    assert vdb_audit(*given, "--root", OTHER).returncode == 1
    policy = sampled / "policy.toml"
    policy.write_text(f'root = "{OTHER}"\n')
    assert vdb_audit(*given, "--policy", policy).returncode == 1
    (sampled / "result.vdbb").write_bytes(story().session.edited({METRICS: b"{}"}))
    assert vdb_audit(*given, "--root", root).stderr.startswith("error: V04: "), "nobody is asked about such a result"
    assert not out.exists()


def test_choose_sample_names_the_one_auditor_whom_the_roster_knows(tmp_path: Path) -> None:
    out = tmp_path / "choice.json"
    done = vdb_audit("choose-sample", golden_file("disputed"), "--log", DISPUTED / "log", "--out", out)
    assert done.returncode == 0
    assert f"--checkpoint choice.json --auditor {AUDITOR} --out samples.vdbs`" in done.stdout
    roster = golden_evidence("disputed").roster
    auditor = next(member for member in roster.members if member.role == "auditor")
    second = auditor.model_copy(update={"institution": "another-office"})
    several = roster.model_copy(update={"members": (*roster.members, second)})
    assert spot_commands._auditor(several) == "your-name"


def test_check_sample_says_whether_these_are_the_records(sampled: Path) -> None:
    root, bundle, file = story().session.root, sampled / "result.vdbb", sampled / "samples.vdbs"
    given = ("check-sample", bundle, file, "--root", root)
    done = vdb_audit(*given, "--count", "12", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], found["opened"]) == (0, "PASS", 12)
    assert {line["id"]: line["status"] for line in found["checks"]}["S05"] == "NOT PROVEN"
    text = vdb_audit(*given, "--count", "12").stdout.splitlines()
    assert text[0] == "S01              PASS        Result. The result passes its audit: vdb-audit verify."
    assert text[-2] == ""
    assert text[-1].startswith("PASS: 12 records of 104 stood in the list")
    assert vdb_audit(*given).returncode == 1, "30 are asked for where nothing else is said"
    assert vdb_audit(*given, "--count", "13").returncode == 1
    for wrong in ("0", "1001"):
        assert vdb_audit(*given, "--count", wrong).returncode == 2
    (sampled / "choice.json").write_bytes(story().choice().encode())
    for known in (("--log", sampled / "log"), ("--checkpoint", sampled / "choice.json")):
        lines = json.loads(vdb_audit(*given, "--count", "12", *known, "--json").stdout)["checks"]
        assert {line["id"]: line["status"] for line in lines}["S05"] == "PASS"
    policy = sampled / "policy.toml"
    policy.write_text("maximum_epsilon = 1\n")
    assert vdb_audit(*given, "--count", "12", "--policy", policy).returncode == 1
    assert vdb_audit("check-sample", bundle, file, "--root", OTHER, "--count", "12").returncode == 1
    assert vdb_audit("check-sample", bundle, file, "--count", "1000").returncode == 1
