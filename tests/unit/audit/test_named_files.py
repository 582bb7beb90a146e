"""What a refusal names: the file that was given with an option, and the place of a log, on the terminal alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testkit.audit_cli import vdb_audit
from testkit.audit_commands import DISPUTED, OTHER, ROOT
from testkit.golden import golden_file
from testkit.logs import MadeLog
from testkit.one_line import refused
from testkit.spot_shown import answered, story
from testkit.statements import auditor_key, coordinator_key
from vdb_shared.audit.log_files import fetch_from, naming_fetch_from, open_log
from vdb_shared.audit.reading import note_in, note_or_choice_in, root_of
from vdb_shared.bundle.logged import log_origin
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import UnreachableError, UsageError
from vdb_shared.transparency.note import ED25519, NoteKey

pytestmark = pytest.mark.usefixtures("narrow")

NOWHERE = "http://127.0.0.1:9"
"""Where nobody answers."""

UNREACHED = "checkpoint: cannot be reached (Connection refused); check the log's address and the network"


# Checkpoints.


@pytest.mark.parametrize("content", [b"", b"\xaf\x00", b"a passphrase\n", b'{"checkpoint": 1}', b"a\n2\nb\n\nc\n"])
def test_what_is_no_checkpoint_is_an_unusable_argument_and_no_fault_of_the_log(content: bytes, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(content)
    done = vdb_audit("verify", golden_file("disputed"), "--log", DISPUTED / "log", "--checkpoint", given)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: --checkpoint: {given} is no checkpoint of a log (")
    assert done.stderr.endswith("); give the file that `vdb-audit monitor --remember` keeps\n")
    words = refused(UsageError, lambda: note_or_choice_in(given))
    assert words.startswith(f"--checkpoint: {given} is no checkpoint of a log (")
    assert "the file with which you asked, as `vdb-audit choose-sample` wrote it, or the file that" in words


def test_a_checkpoint_of_whatever_log_and_the_file_with_which_was_asked_are_taken(tmp_path: Path) -> None:
    given, note = tmp_path / "given", (DISPUTED / "log" / "checkpoint").read_bytes()
    given.write_bytes(note)
    assert (note_in(None), note_or_choice_in(None)) == (None, None)
    assert note_in(given) == note_or_choice_in(given) == note
    given.write_bytes(story().choice().encode())
    assert note_or_choice_in(given) == given.read_bytes()
    assert "is no checkpoint" in refused(UsageError, lambda: note_in(given))


def test_a_checkpoint_of_another_log_is_said_to_be_kept_and_fails_nothing(tmp_path: Path) -> None:
    given, other = tmp_path / "given", MadeLog("testbed", auditor_key("golden"), [b"{}"])
    given.write_bytes(other.proof(0, {}).checkpoint)
    done = vdb_audit("verify", golden_file("disputed"), "--log", DISPUTED / "log", "--checkpoint", given, "--json")
    lines = {line["id"]: line for line in json.loads(done.stdout)["checks"]}
    assert done.returncode == 3
    for check in ("V62", "V63", "V65"):
        assert lines[check]["status"] == "SKIPPED"
        assert lines[check]["sentence"].startswith("What you kept of the log could not be compared: ")


# Trust roots.


@pytest.mark.parametrize(
    "content",
    [b"", b"a passphrase\n", b"\xff\xfe", b"{}", b"[]", b'{"signed": {"_type": "targets"}, "signatures": []}'],
)
def test_a_file_that_is_no_trust_root_is_an_unusable_argument_everywhere(content: bytes, tmp_path: Path) -> None:
    given, bundle, samples = tmp_path / "given", golden_file("full"), tmp_path / "samples.vdbs"
    given.write_bytes(content)
    samples.write_bytes(b"no answer")
    words = (
        f"error: --root: {given} is no trust root; give its root.json, or its fingerprint (sha256: and 64 digits, as the lead "
        "read it out)\n"
    )
    commands: list[tuple[str | Path, ...]] = [
        ("verify", bundle),
        ("leaderboard", bundle),
        ("compare", bundle, golden_file("dropout")),
        ("vbench", bundle),
        ("check-sample", bundle, samples),
        ("choose-sample", bundle, "--log", DISPUTED / "log", "--out", tmp_path / "choice.json"),
        ("object", bundle, *("--reason", "figures", "--text", "x", "--key", samples, "--out", tmp_path / "objection")),
    ]
    for command in commands:
        done = vdb_audit(*command, "--root", given)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", words), command


def test_a_root_that_nobody_knows_is_compared_by_its_digest(tmp_path: Path) -> None:
    given = tmp_path / "root.json"
    given.write_bytes(b'{"signatures": [], "signed": {"_type": "root", "spec_version": "9", "x": 1}}')
    assert root_of(str(given)) == sha256_digest(given.read_bytes())
    done = vdb_audit("verify", golden_file("full"), "--root", given)
    assert done.returncode == 1
    assert "is pinned" in done.stdout


# Bundles.


@pytest.mark.parametrize("pinned", [(), ("--root", ROOT)])
def test_what_is_no_bundle_is_named(pinned: tuple[str, ...], tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"\xaf")
    asked = ("--reason", "figures", "--text", "x", "--key", given, "--out", tmp_path / "objection")
    commands: list[tuple[str | Path, ...]] = [
        ("object", given, *asked, *pinned),
        ("time-stamp", given, "--tsa", NOWHERE, "--out", tmp_path / "stamp"),
    ]
    for command in commands:
        done = vdb_audit(*command)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {given}: not a result bundle: ")
    other = vdb_audit("object", golden_file("full"), *asked, "--root", OTHER)
    assert other.stderr.startswith(f"error: {golden_file('full')}: trust root is ")


def test_what_is_no_attestation_and_what_is_no_policy_are_named(tmp_path: Path) -> None:
    given, public = tmp_path / "given", tmp_path / "auditor.pub.pem"
    given.write_bytes(b"\xaf")
    assert vdb_audit("key", tmp_path / "auditor.pem", "--plaintext-key").returncode == 0
    done = vdb_audit("attestation", given, "--key", public)
    words = f"error: {given}: not strict JSON: from byte 0 on it is no text in UTF-8\n"
    assert (done.returncode, done.stderr) == (1, words)
    done = vdb_audit("verify", golden_file("full"), "--policy", given)
    words = f"error: {given}: is not UTF-8 text (byte 0xaf on line 1); save it as UTF-8\n"
    assert (done.returncode, done.stderr) == (2, words)


# Logs.


def test_where_a_log_was_looked_for_is_said_on_the_terminal_and_not_in_what_is_passed_on(tmp_path: Path) -> None:
    bundle, page = golden_file("full"), tmp_path / "report.html"
    looked = f"The log was looked for at {NOWHERE}\n"
    for more in ((), ("--json",)):
        done = vdb_audit("verify", bundle, "--root", ROOT, "--log", NOWHERE, "--html", page, *more)
        assert (done.returncode, done.stderr) == (3, looked)
        assert UNREACHED in done.stdout
        assert "127.0.0.1" not in done.stdout + page.read_text(encoding="utf-8")
    assert vdb_audit("verify", bundle, "--root", ROOT).stderr == ""
    good = vdb_audit("verify", golden_file("disputed"), "--root", ROOT, "--log", DISPUTED / "log")
    assert good.stderr == ""
    for command in (("leaderboard", bundle), ("vbench", bundle)):
        done = vdb_audit(*command, "--root", ROOT, "--log", NOWHERE)
        assert done.returncode == 1
        assert done.stderr.startswith("error: V62: ")
        assert done.stderr.endswith(f"{UNREACHED}. {looked}")
    wrong = vdb_audit("leaderboard", bundle, "--root", OTHER, "--log", NOWHERE)
    assert wrong.stderr.startswith("error: V10: ")
    assert NOWHERE not in wrong.stderr


def test_where_a_log_was_looked_for_is_said_of_opened_records_too(tmp_path: Path) -> None:
    bundle, samples = tmp_path / "result.vdbb", tmp_path / "samples.vdbs"
    bundle.write_bytes(story().session.bundle())
    samples.write_bytes(answered())
    done = vdb_audit("check-sample", bundle, samples, "--count", "12", "--log", NOWHERE)
    assert (done.returncode, done.stderr) == (3, f"The log was looked for at {NOWHERE}\n")


def test_who_only_reads_a_log_is_told_its_address(tmp_path: Path) -> None:
    key = NoteKey(log_origin("testbed"), ED25519, coordinator_key("golden").public_key.raw)
    attempts: list[Callable[[], object]] = [
        lambda: open_log(NOWHERE, key),
        lambda: naming_fetch_from(NOWHERE)("checkpoint"),
    ]
    for attempt in attempts:
        assert refused(UnreachableError, attempt) == f"{NOWHERE}: {UNREACHED}"
    assert refused(UnreachableError, lambda: fetch_from(NOWHERE)("checkpoint")) == UNREACHED
    (tmp_path / "checkpoint").write_bytes(b"x")
    words = refused(UsageError, lambda: naming_fetch_from(str(tmp_path))("tile/0/000"))
    assert words.startswith(f"{tmp_path}: tile/0/000: a file of the log cannot be read: ")
    assert naming_fetch_from(str(tmp_path))("checkpoint") == b"x"


def test_the_logs_key_is_said_to_need_no_option() -> None:
    done = vdb_audit("verify", golden_file("disputed"), "--log", DISPUTED / "log", "--key", "testbed/vdb-log+1+AX")
    assert done.returncode == 2
    assert done.stderr == (
        "error: --key is your own, to sign what --attest writes; leave it out: the key of the log needs no option here, the "
        "bundle's roster names it, for which the trust root vouches\n"
    )
