"""What the commands share: where the coordinator's directory is, passphrases, output, and modules that an extra brings.

Leaves parsing of arguments and exit codes to `cli.py`.
"""

from __future__ import annotations

import getpass
import importlib
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console

from vdb_shared.canonical import canonical_json
from vdb_shared.commandline import agreed
from vdb_shared.errors import UsageError
from vdb_shared.screen import screen

PASSPHRASE_VARIABLE: Final = "VDB_PASSPHRASE"  # noqa: S105 - a name, no secret

DIRECTORY_VARIABLE: Final = "VDB_COORDINATOR"


@dataclass(frozen=True, slots=True)
class Common:
    """Options that stand before the command."""

    directory: Path
    passphrase_file: Path | None

    @property
    def chosen(self) -> str:
        """The option that chooses this directory in a command to copy, where another one would be taken without it."""
        default = Path(os.environ.get(DIRECTORY_VARIABLE, ""))
        return "" if self.directory == default else f"--dir {shlex.quote(str(self.directory))} "

    def passphrase(self) -> bytes | None:
        """Return the passphrase that was given, or None."""
        if self.passphrase_file is not None:
            return _first_line(self.passphrase_file)
        found = os.environ.get(PASSPHRASE_VARIABLE)
        return found.encode() if found else None

    def passphrase_for(self, *, encrypted: bool) -> bytes | None:
        """Return the passphrase of existing keys; asks for it when they need one and none was given.

        Raises:
            UsageError: it is needed, and nobody is there to ask.
        """
        if not encrypted:
            return None
        found = self.passphrase()
        if found is None and sys.stdin.isatty():
            found = getpass.getpass("Passphrase of the coordinator's keys: ").encode()
        if not found:
            raise UsageError(f"the keys are encrypted; give --passphrase-file FILE or set {PASSPHRASE_VARIABLE}")
        return found

    def new_passphrase(self) -> bytes:
        """Return the passphrase for new keys; asks for it twice when none was given.

        Raises:
            UsageError: none was given and nobody is there to ask, or the two differ.
        """
        found = self.passphrase()
        if found is None and sys.stdin.isatty():
            found = getpass.getpass("Passphrase for the new keys: ").encode()
            if getpass.getpass("Again: ").encode() != found:
                raise UsageError("the two passphrases differ")
        if not found:
            raise UsageError(
                f"keys need a passphrase: give --passphrase-file FILE or set {PASSPHRASE_VARIABLE} "
                "(or --plaintext-keys, for tests only)"
            )
        return found


def common_of(context: typer.Context) -> Common:
    """Return the options before the command."""
    common = context.obj
    if not isinstance(common, Common):
        raise RuntimeError("the options before the command were not read")
    return common


def _first_line(path: Path) -> bytes:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if not lines or not lines[0]:
        raise UsageError(f"{path}: its first line must be the passphrase")
    return lines[0]


def load(module: str) -> Any:
    """Return a module of the coordinator, imported when a command needs it: most need the extra's packages."""
    return importlib.import_module(f"vdb_coordinator.{module}")


def console() -> Console:
    """Return where results are written."""
    return screen(soft_wrap=True)


def ask_first(warning: str, question: str, *, yes: bool) -> None:
    """Say what cannot be taken back, and go on if somebody at the terminal wants it.

    Args:
        warning: what follows.
        question: such as "Revoke it?".
        yes: whether nobody is asked.

    Raises:
        UsageError: they do not, or nobody is there to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was done: this cannot be taken back, and needs a terminal, or --yes")
    console().print(warning)
    if not agreed(question):
        raise UsageError("nothing was done")


def print_json(value: object) -> None:
    """Write a value as one line of canonical JSON."""
    sys.stdout.write(canonical_json(value).decode("utf-8") + "\n")
    sys.stdout.flush()


def check_new(path: Path) -> None:
    """Check before long work that a file could be written that is not there yet.

    Raises:
        UsageError: it exists, or its folder does not.
    """
    if path.exists():
        raise UsageError(f"{path}: exists already; name another file or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist; make it first")


def write_new(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a file that is not there yet.

    Raises:
        UsageError: it exists, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    except FileExistsError as error:
        raise UsageError(f"{path}: exists already; name another file or remove it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
