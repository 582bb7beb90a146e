"""The demo in a reduced size: the same processes, the same kill, the same verification."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from testkit.pages import pictures
from testkit.wiretap import HEAD
from vdb_participant.site.egress import EgressJournal
from vdb_shared.bundle.archive import read_archive

ROOT = Path(__file__).parents[2]
WORST_TO_BEST = ("vdb-tiny-1", "vdb-tiny-2", "vdb-tiny-3")
AUDIT = Path(sys.executable).parent / "vdb-audit"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the demo's folder and what it printed; one institution's connection is recorded on the way."""
    out = tmp_path_factory.mktemp("demo") / "out"
    program = [sys.executable, "-m", "testkit.tapped_demo", str(out.with_name("tap.json")), "--out", str(out)]
    done = subprocess.run([*program, "--clips", "30"], capture_output=True, text=True, cwd=ROOT / "tests", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def audit(*arguments: str | Path, expect: int) -> str:
    done = subprocess.run([AUDIT, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def test_hours_and_disk_are_in_what_consent_is_asked_for(demo: tuple[Path, str]) -> None:
    """The dry run timed the three models; the join showed the same figures, and took none of its own."""
    out, printed = demo
    for model in WORST_TO_BEST:
        assert f"  {model}: about " in printed
    said = " ".join(printed.split())
    assert said.count(" steps are extrapolated") + said.count("timed a whole clip of ") == len(WORST_TO_BEST)
    shown = printed.partition("TIME AND DISK")[2].partition("Plan number")[0]
    joined = (out / "logs" / "archive-oslo.log").read_text().partition("TIME AND DISK")[2].partition("Plan number")[0]
    assert "Time: about " in shown
    assert joined.split() == shown.split()


def test_tells_the_kill_and_finishes_without_the_victim(demo: tuple[Path, str]) -> None:
    out, printed = demo
    assert "SIGKILL to film-studio" in printed
    report = json.loads(audit("inspect", out / "result.vdbb", "--json", expect=0))
    assert report["survivors"] == ["archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima"]
    assert [item["institution"] for item in report["dropped"]] == ["film-studio"]
    assert report["dropped"][0]["stage"] == "shared-keys"


def test_bundle_verifies_and_a_flipped_byte_does_not(demo: tuple[Path, str]) -> None:
    out, _ = demo
    audit("verify", out / "result.vdbb", expect=0)
    assert "FAIL" in audit("verify", out / "tampered.vdbb", expect=1)


def test_what_left_an_institution_is_what_the_result_has_from_it(demo: tuple[Path, str]) -> None:
    _, printed = demo
    for name in ("chain", "join", "header of round 2", "contribution statement", "masked vector"):
        assert f"    PASS  {name}: " in printed
    assert "    FAIL" not in printed.partition("holds what left it")[2].partition("each institution also")[0]


def test_the_egress_journal_is_what_a_recording_proxy_saw_to_the_byte(demo: tuple[Path, str]) -> None:
    """From the enrolment to the last call: no message more in the journal than on the wire, none less, the same bytes."""
    out, _ = demo
    seen = json.loads(out.with_name("tap.json").read_text())
    entries = EgressJournal(out / "sites" / seen["institution"] / "agent" / "egress.jsonl").read().entries
    left = [entry.departure for entry in entries if entry.departure.kind == "message"]
    assert Counter((item.size, item.digest) for item in left) == Counter(map(tuple, seen["messages"]))
    assert sum(HEAD + item.size for item in left) == seen["bytes"]
    assert {item.address for item in left} == {*seen["addresses"]}
    sent = {item.what.rpartition("/")[2] for item in left}
    assert sent >= {"Enrol", "Join", "AdvertiseKeys", "ShareKeys", "UploadMaskedInput", "RevealShares", "Countersign"}


def test_leaderboard_recovers_the_order_that_is_known(demo: tuple[Path, str]) -> None:
    out, printed = demo
    page = (out / "leaderboard.html").read_text()
    assert all(model in page and model in printed for model in WORST_TO_BEST)
    board = json.loads(audit("leaderboard", out / "result.vdbb", "--json", expect=0))
    found = {
        row["model"]: row for row in board["results"] if (row["metric"], row["inputs"]) == ("clip-score@1", "public")
    }
    assert sorted(found, key=lambda model: float(found[model]["value"])) == list(WORST_TO_BEST)
    assert all(float(row["low"]) < float(row["value"]) < float(row["high"]) for row in found.values())
    for place, model in enumerate(reversed(WORST_TO_BEST), 1):
        first, last = found[model]["ranks"]
        assert first <= place <= last
    assert found[WORST_TO_BEST[0]]["ranks"] == [3, 3]


def test_survivors_keep_the_same_result(demo: tuple[Path, str]) -> None:
    out, _ = demo
    published = (out / "result.vdbb").read_bytes()
    kept = [path.read_bytes() for path in (out / "sites").glob("*/agent/**/result.vdbb")]
    assert len(kept) == 4
    assert set(kept) == {published}


def test_each_survivor_has_a_page_with_its_own_clips_and_nothing_private(demo: tuple[Path, str]) -> None:
    out, printed = demo
    pages = {path.relative_to(out).parts[1]: path for path in (out / "sites").glob("*/agent/sessions/*/result.html")}
    assert set(pages) == {"archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima"}
    assert str(pages["archive-oslo"]) in printed
    for name, path in pages.items():
        page = path.read_text()
        assert pictures(page)
        assert "✓ verified" in page
        assert len(page.encode()) < 2**20
        public = {
            item["text"]
            for item in json.loads(read_archive((path.parent / "result.vdbb").read_bytes())["spec.json"])["prompts"]
        }
        lines = (out / "sites" / name / "data" / "prompts.jsonl").read_text().splitlines()
        private = {json.loads(line)["prompt"] for line in lines} - public
        assert private
        assert not [prompt for prompt in private if f"“{prompt}”" in page]


def test_private_data_is_untouched(demo: tuple[Path, str]) -> None:
    out, _ = demo
    for site in (out / "sites").iterdir():
        names = sorted(path.name for path in (site / "data").iterdir())
        assert names == ["clips", "prompts.jsonl"]
        assert len(list((site / "data" / "clips").iterdir())) == 30


def test_a_second_session_that_nobody_mentions_is_seen(demo: tuple[Path, str]) -> None:
    out, printed = demo
    assert "was run in 2 sessions: 1 published, 0 aborted, 1 open, 0 overdue" in printed
    key = (out / "consortium" / "log.key").read_text().strip()
    read = json.loads(
        audit("monitor", out / "consortium" / "log", "--key", key, "--remember", out / "seen", "--json", expect=0)
    )
    assert sorted(session["state"] for session in read["sessions"]) == ["open", "published"]
    assert [item["institution"] for item in read["spent"]] == [
        "archive-oslo",
        "clinic-lyon",
        "lab-kyoto",
        "museum-lima",
    ]
