"""A program signs for the institution: its signatures are those of the key, and whatever else it answers is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testkit.moved_keys import move_key_out
from vdb_participant.site.config import StateFolder
from vdb_participant.site.signing import CommandSigner, external_signer, open_signer
from vdb_shared.audit.auditor_key import public_pem
from vdb_shared.errors import IdentityError, StoreError, UsageError
from vdb_shared.identity import StatementKey

KEY = StatementKey.from_seed(b"an institution's key".ljust(32))


def no_passphrase() -> bytes:
    raise AssertionError("nothing here is encrypted")


def program(code: str) -> CommandSigner:
    """Return a signer that is this Python program."""
    return CommandSigner(KEY.public_key, (sys.executable, "-c", code), 1)


def test_it_signs_as_the_key_does_and_the_key_is_not_in_the_folder(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    move_key_out(folder, KEY, tmp_path / "module")
    signer = open_signer(folder, no_passphrase)
    assert isinstance(signer, CommandSigner)
    assert signer.sign("application/x", b"payload") == KEY.sign("application/x", b"payload")
    assert signer.sign_note("origin\n1\n") == KEY.sign_note("origin\n1\n")
    signer.probe()
    assert not [file for file in folder.path.rglob("*") if file.is_file() and b"PRIVATE" in file.read_bytes()]
    seen = (tmp_path / "module" / "key.pem.log").read_text().splitlines()
    assert seen[:2] == ["DSSEv1 13 application/x 7 payload", "origin 1 "]


def test_it_gives_no_note_that_could_be_a_statement(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not begin with DSSEv1"):
        program("").sign_note("DSSEv1 1 x 1 x")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('the module is locked')", "ended with status 1: the module is locked"),
        ("import sys; sys.stderr.write('a\\nb\\x1b[2Jc'); sys.exit(3)", "ended with status 3: b \\[2Jc"),
        ("import sys; sys.exit(2)", "ended with status 2: it wrote no reason"),
        ("", "returned 0 bytes that are no signature"),
        ("import sys; sys.stdout.buffer.write(bytes(64))", "returned 64 bytes that are no signature"),
        ("import sys; sys.stdout.buffer.write(bytes(65))", "returned 65 bytes that are no signature"),
        ("import time; time.sleep(60)", "gave no signature within 1 seconds"),
    ],
)
def test_what_is_no_signature_of_the_key_is_refused_in_one_line(code: str, message: str) -> None:
    with pytest.raises(IdentityError, match=message) as caught:
        program(code).sign("application/x", b"payload")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_program_that_is_not_there_is_one_line() -> None:
    with pytest.raises(IdentityError, match="/nowhere/sign: the external signer cannot be started"):
        CommandSigner(KEY.public_key, ("/nowhere/sign",)).sign("application/x", b"payload")


def test_a_signer_of_another_key_is_refused(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    move_key_out(folder, KEY, tmp_path / "module")
    other = StatementKey.from_seed(b"another key".ljust(32))
    (folder.path / "statement-key.pub.pem").write_bytes(public_pem(other.public_key))
    with pytest.raises(IdentityError, match="is it the right key"):
        open_signer(folder, no_passphrase).sign("application/x", b"payload")


def test_without_signer_toml_the_key_file_signs(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    assert external_signer(folder) is None
    with pytest.raises(StoreError, match="restore it from a backup"):
        open_signer(folder, no_passphrase)
    folder.statement_key.write_bytes(KEY.to_pem(b"secret"))
    assert open_signer(folder, lambda: b"secret").public_key == KEY.public_key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version =", "signer.toml: is not TOML"),
        ('version = "vdb-signer/2"\npublic_key = "x"\ncommand = ["x"]', "signer.toml: version: "),
        ('version = "vdb-signer/1"\npublic_key = "x"\ncommand = []', "signer.toml: command: "),
        ('version = "vdb-signer/1"\npublic_key = "x"\ncommand = "sh -c x"', "signer.toml: command: "),
        ('version = "vdb-signer/1"\npublic_key = "x"\ncommand = ["x"]\nslot = 3', "signer.toml: slot: "),
        ('version = "vdb-signer/1"\npublic_key = "no.pem"\ncommand = ["x"]', "no.pem: cannot be read"),
    ],
)
def test_a_typo_in_signer_toml_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    folder = StateFolder(tmp_path)
    folder.signer.write_text(text)
    with pytest.raises(UsageError, match=message):
        external_signer(folder)
