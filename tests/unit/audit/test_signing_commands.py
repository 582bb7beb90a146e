"""The commands of `vdb-audit` that make keys and sign, and what they show of what somebody signed.

`key`, `object`, `attestation`, `verify --attest`.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import typer

from testkit.audit_cli import vdb_audit
from testkit.audit_commands import DISPUTED, OTHER, ROOT, audited, printed_json
from testkit.golden import golden_file
from testkit.published import golden_told
from testkit.statements import AUDITOR, auditor_key
from vdb_shared.audit import commands
from vdb_shared.audit.attestation import Attestation, attest, property_of, read_attestation
from vdb_shared.audit.auditor_key import public_pem, read_public_key
from vdb_shared.audit.checks import CHECKS
from vdb_shared.audit.inspect import describe, describe_statement
from vdb_shared.audit.policy import Policy

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return the file of the golden auditor's key, encrypted; `phrase` beside it unlocks it."""
    (tmp_path / "auditor.pem").write_bytes(auditor_key("golden").to_pem(b"secret"))
    (tmp_path / "auditor.pub.pem").write_bytes(public_pem(auditor_key("golden").public_key))
    (tmp_path / "phrase").write_text("secret\n")
    return tmp_path / "auditor.pem"


def test_verify_attests_what_passes_and_says_so_of_what_does_not(key: Path, tmp_path: Path) -> None:
    out, phrase = tmp_path / "out.json", tmp_path / "phrase"
    given = ("--attest", out, "--key", key, "--passphrase-file", phrase)
    done = vdb_audit("verify", golden_file("full"), "--root", ROOT, *given)
    assert (done.returncode, done.stderr) == (0, "")
    found = read_attestation(out.read_bytes(), auditor_key("golden").public_key)
    assert (found.bundle, found.policy.root) == (golden_told("full").bundle, ROOT)
    out.unlink()
    done = vdb_audit("verify", golden_file("full"), "--root", OTHER, *given)
    assert (done.returncode, out.exists()) == (1, False)
    assert done.stderr == f"{out}: not written; only an audit that passes is attested\n"
    before = {path: path.read_bytes() for path in (key, phrase)}
    for path in before:
        done = vdb_audit("verify", golden_file("full"), *("--attest", path), *given[2:])
        words = f"error: {path}: is what this command reads, and would be written over; name another file\n"
        assert (done.returncode, done.stderr) == (2, words)
    assert {path: path.read_bytes() for path in before} == before
    for half in (("--attest", out), ("--key", key)):
        done = vdb_audit("verify", golden_file("full"), *half)
        assert done.returncode == 2
        assert "--attest and --key go together; `vdb-audit key FILE` makes a key" in done.stderr


def test_an_attestation_may_take_the_place_of_an_older_one(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDB_PASSPHRASE", "secret")
    out = key.with_name("out.json")
    out.write_text("older")
    assert vdb_audit("verify", golden_file("full"), "--attest", out, "--key", key).returncode == 0
    assert read_attestation(out.read_bytes(), auditor_key("golden").public_key).bundle == golden_told("full").bundle


def test_object_signs_an_objection_and_says_where_to_hand_it_in(key: Path, tmp_path: Path) -> None:
    out, bundle = tmp_path / "mine.dsse.json", golden_file("disputed")
    words = ("--reason", "figures", "--text", "The ranks rest on those clips.")
    given = ("object", bundle, *words, "--key", key, "--out", out, "--passphrase-file", tmp_path / "phrase")
    done = vdb_audit(*given, "--root", ROOT)
    session = describe(bundle.read_bytes()).facts.session
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{out}: signed objection to the result of session {session}\n"
        f"hand it in with: vdb-coordinator session object {session[7:19]} {out}\n"
    )
    said = describe_statement(out.read_bytes())
    assert (said["objector"], said["reason"], said["text"]) == (AUDITOR, "figures", "The ranks rest on those clips.")
    again = vdb_audit(*given)
    assert (again.returncode, again.stderr) == (2, f"error: {out}: is there already; choose another name\n")
    out.unlink()
    assert vdb_audit(*given, "--root", OTHER).returncode == 1
    assert not out.exists()


def test_key_makes_a_key_and_shows_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("secret\n")
    for options, encrypted in ((("--passphrase-file", tmp_path / "phrase"), True), (("--plaintext-key",), False)):
        path = tmp_path / f"{encrypted}.pem"
        done = vdb_audit("key", path, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert (b"ENCRYPTED" in path.read_bytes()) is encrypted
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        public = read_public_key(tmp_path / f"{encrypted}.pub.pem")
        groups = [public.key_id[place : place + 4] for place in range(0, 64, 4)]
        assert done.stdout == (
            f"{path}: your key; keep it, and show it to nobody\n"
            f"{tmp_path}/{encrypted}.pub.pem: its public half, for those who check what you attest\n"
            f"fingerprint: {' '.join(groups)}\n"
        )
    done = vdb_audit("key", tmp_path / "third.pem")
    assert (done.returncode, "give --passphrase-file or set VDB_PASSPHRASE" in done.stderr) == (2, True)


class Terminal:
    """An input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_passphrase_is_asked_for_and_a_new_one_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object, object]] = []

    def prompt(question: str, *, hide_input: bool, confirmation_prompt: bool) -> str:
        asked.append((question, hide_input, confirmation_prompt))
        return "secret"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(typer, "prompt", prompt)
    path, out = tmp_path / "a.pem", tmp_path / "out.json"
    assert vdb_audit("key", path).returncode == 0
    assert vdb_audit("verify", golden_file("full"), "--attest", out, "--key", path).returncode == 0
    words = ("--reason", "data", "--text", "x", "--key", path, "--out", tmp_path / "o.json")
    assert vdb_audit("object", golden_file("full"), *words).returncode == 1
    assert asked == [
        ("New passphrase for the key", True, True),
        ("Passphrase of the key", True, False),
        ("Passphrase of the key", True, False),
    ]


def test_attestation_shows_how_the_result_stood_when_it_was_audited(key: Path, tmp_path: Path) -> None:
    out, public, log = tmp_path / "out.json", tmp_path / "auditor.pub.pem", DISPUTED / "log"
    given = ("--attest", out, "--key", key, "--passphrase-file", tmp_path / "phrase")
    for name, known, words in (
        ("disputed", ("--log", log), "WITHDRAWN when it was audited"),
        ("successor", ("--log", log), "nothing was said against the result when it was audited"),
        ("successor", (), "not known: ask the log with `vdb-audit verify --log`"),
    ):
        assert vdb_audit("verify", golden_file(name), *known, *given).returncode == 0
        told = vdb_audit("attestation", out, "--key", public).stdout.splitlines()
        assert f"Standing    {words}" in told
        assert "Unknown     none" in told
        out.unlink()


def test_attestation_shows_what_an_auditor_signed(key: Path, tmp_path: Path) -> None:
    out, public = tmp_path / "out.json", tmp_path / "auditor.pub.pem"
    given = ("--attest", out, "--key", key, "--passphrase-file", tmp_path / "phrase")
    assert vdb_audit("verify", golden_file("full"), *given).returncode == 0
    found = read_attestation(out.read_bytes(), auditor_key("golden").public_key)
    assert vdb_audit("attestation", out, "--key", public, "--json").stdout == printed_json(found.to_json())
    told = golden_told("full").lines
    passed = " ".join(line.id for line in audited("full").lines if line.status == "PASS")
    others = " ".join(line.id for line in audited("full").lines if line.status != "PASS")
    assert len(told) == len(f"{passed} {others}".split())
    lines = [
        f"Bundle      {found.bundle}",
        "            give --bundle to compare a file with it",
        f"Auditor     {found.auditor}",
        f"Audited     {found.created}, by the auditor's clock, with version {found.software}",
        "Trust root  not pinned: taken from the bundle itself",
        "Demands     ε at most 10, δ at most 0.0001",
        "            at least 4 institutions, 1 of them possibly dishonest",
        "Standing    not known: ask the log with `vdb-audit verify --log`",
        f"Passed      {passed}",
        f"Not passed  {others}",
        "Unknown     none",
        "",
        "The signature is the auditor's: this is what the auditor's key says, no audit. Repeat it: vdb-audit verify",
    ]
    policy = found.policy
    lines[5] = f"Demands     ε at most {policy.maximum_epsilon}, δ at most {policy.maximum_delta}"
    lines[6] = (
        f"            at least {policy.minimum_cohort} institutions, {policy.minimum_collusion} of them possibly dishonest"
    )
    assert vdb_audit("attestation", out, "--key", public).stdout.splitlines() == lines
    lines[1] = f"            which is {golden_file('full')}"
    done = vdb_audit("attestation", out, "--key", public, "--bundle", golden_file("full"))
    assert (done.returncode, done.stdout.splitlines()) == (0, lines)
    wrong = vdb_audit("attestation", out, "--key", public, "--bundle", golden_file("dropout"))
    assert wrong.returncode == 1
    assert wrong.stderr == (
        f"error: attestation: {out} is about {found.bundle}, but {golden_file('dropout')} is "
        f"{golden_told('dropout').bundle}; ask the auditor about this one\n"
    )


def test_checks_that_only_another_version_knows_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    key = auditor_key("golden")
    found = read_attestation(
        attest(golden_told("full"), Policy(), ROOT, "2026-02-01T09:00:00Z", key).to_json(),
        key.public_key,
    )
    later = Attestation(
        **{name: getattr(found, name) for name in ("bundle", "auditor", "software", "created", "policy")},
        properties=("VDB_V10_PASS", "VDB_V98_PASS", "VDB_V99_PASS", "VDB_VERDICT_PASS"),
    )
    commands._print_attestation(later, matched=None)  # nothing else prints one of a later version
    out = capsys.readouterr().out.splitlines()
    assert f"Trust root  {ROOT}" in out
    assert "Passed      V10" in out
    assert "Unknown     VDB_V98_PASS VDB_V99_PASS" in out
    everything = tuple(sorted({property_of(check.id) for check in CHECKS}))
    whole = Attestation(
        **{name: getattr(found, name) for name in ("bundle", "auditor", "software", "created", "policy")},
        properties=everything,
    )
    commands._print_attestation(whole, matched=None)
    assert "Not passed  none of the checks that this version knows" in capsys.readouterr().out.splitlines()
