"""What every command of `vdb-audit` does with files and flags: read, write, and refuse in one line.

Promises bounds on what is read, and a message that names the file. Leaves what the bytes mean to the commands.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from vdb_shared.audit.policy import DEFAULT_POLICY, MAX_POLICY_BYTES, Policy, parse_policy
from vdb_shared.audit.report import Line, Status
from vdb_shared.bundle.objections import FILE_SUFFIX, MAX_OBJECTION_BYTES
from vdb_shared.bundle.sample_choice import MAX_CHOICE_BYTES, parse_choice
from vdb_shared.canonical import canonical_json, check_digest, sha256_digest
from vdb_shared.errors import FormatError, UsageError
from vdb_shared.named_files import read_file
from vdb_shared.screen import screen
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.note import MAX_NOTE_BYTES, parse_note

MAX_ROOT_BYTES: Final = 2**20
_DIGITS: Final = re.compile(r"[0-9a-f]{64}")

MAX_STATEMENTS: Final = 1000
"""More than a hundred institutions can object to one result as often as they may."""


def console() -> Console:
    """Return where text goes."""
    return screen()


def print_json(value: object) -> None:
    """Print a value as canonical JSON and a line feed."""
    sys.stdout.write(canonical_json(value).decode("utf-8") + "\n")


def write_file(path: Path, text: str, *, inputs: Iterable[Path] = ()) -> None:
    """Write a text in UTF-8, over an older one of that name, but never over one of the command's inputs.

    Raises:
        UsageError: it cannot be written, or is an input.
    """
    try:
        if any(path.exists() and path.samefile(given) for given in inputs):
            raise UsageError(f"{path}: is what this command reads, and would be written over; name another file")
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def root_of(given: str | None) -> str | None:
    """Return the digest of a trust root that is given as its digest, or its digits, or as the file itself; None stays None.

    Raises:
        UsageError: neither a digest nor a file that can be read and holds a trust root, known or not.
    """
    if given is None:
        return None
    if _DIGITS.fullmatch(given) and not os.path.exists(given):
        given = f"sha256:{given}"
    if not given.startswith("sha256:"):
        if not os.path.exists(given):  # which has no length that is too much for it
            raise UsageError(
                f"--root: {given} is neither a fingerprint (sha256: and 64 digits, as the lead read it out) nor a file here"
            )
        data = read_file(Path(given), MAX_ROOT_BYTES)
        if not _is_root(data):
            raise UsageError(
                f"--root: {given} is no trust root; give its root.json, or its fingerprint (sha256: and 64 digits, as the lead "
                "read it out)"
            )
        return sha256_digest(data)
    try:
        return check_digest(given)
    except FormatError as error:
        raise UsageError(f"--root: {error}") from error


def _is_root(data: bytes) -> bool:
    """Return whether a file says that it is a root of TUF; what else it says is compared by its digest alone."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # no JSON, no text, digits or nesting without end
        return False
    match value:
        case {"signed": {"_type": "root"}, "signatures": list()}:
            return True
    return False


def roots_of(given: Sequence[str], files: int) -> tuple[str | None, ...]:
    """Return the trust root of each of several bundles: none was given, one for all, or one for each in their order.

    Raises:
        UsageError: another number of roots than one or that of the bundles; as `root_of`.
    """
    if len(given) not in {0, 1, files}:
        raise UsageError(f"--root: give it once for all {files} bundles, or once for each in their order")
    roots = tuple(root_of(item) for item in given) or (None,)
    return roots if len(roots) == files else roots * files


def logs_of(given: Sequence[str], files: int) -> tuple[str | None, ...]:
    """Return the log of each of several bundles: none was given, one for all, or one for each in their order.

    Raises:
        UsageError: another number of logs than one or that of the bundles.
    """
    if len(given) not in {0, 1, files}:
        raise UsageError(f"--log: give it once for all {files} bundles, or once for each in their order")
    places = tuple(given) or (None,)
    return places if len(places) == files else places * files


def note_in(path: Path | None) -> bytes | None:
    """Return the checkpoint in a file that an auditor kept, whichever log's it is; None where no file is given.

    Raises:
        UsageError: it cannot be read, or is no checkpoint.
    """
    return None if path is None else _note(path, read_file(path, MAX_NOTE_BYTES), _KEPT)


def note_or_choice_in(path: Path | None) -> bytes | None:
    """Return what `note_in` does, or the file with which an auditor asked for records.

    Raises:
        UsageError: it cannot be read, or is neither.
    """
    if path is None:
        return None
    data = read_file(path, MAX_CHOICE_BYTES)
    try:
        parse_choice(data)
    except FormatError:
        return _note(path, data, f"the file with which you asked, as `vdb-audit choose-sample` wrote it, or {_KEPT}")
    return data


_KEPT: Final = "the file that `vdb-audit monitor --remember` keeps"


def _note(path: Path, data: bytes, wanted: str) -> bytes:
    try:
        parse_checkpoint(parse_note(data).text)
    except FormatError as error:
        raise UsageError(f"--checkpoint: {path} is no checkpoint of a log ({error}); give {wanted}") from error
    return data


def statements_in(folder: Path | None) -> dict[str, bytes]:
    """Return the statement files in a folder by name, each of bounded size; none where no folder is given.

    Raises:
        UsageError: it cannot be read, or holds too many or too large files.
    """
    if folder is None:
        return {}
    try:
        places = sorted(place for place in folder.iterdir() if place.name.endswith(FILE_SUFFIX))
    except OSError as error:
        raise UsageError(f"{folder}: expected a folder with statements, *{FILE_SUFFIX}: {error.strerror}") from error
    if not 0 < len(places) <= MAX_STATEMENTS:
        raise UsageError(f"{folder}: expected 1 to {MAX_STATEMENTS} statements, *{FILE_SUFFIX}, found {len(places)}")
    for place in places:
        if not place.is_file():
            raise UsageError(f"{place}: is no regular file; move it away, or put the statement in its place")
    return {place.name: read_file(place, MAX_OBJECTION_BYTES) for place in places}


READ_IN_LOG: Final = frozenset({"V62", "V63", "V65", "S01", "S05"})
"""Checks of results and of opened records that read the log."""


def say_where_log(lines: Iterable[Line], place: str | None) -> None:
    """Say on standard error where a log was looked for that answers nothing; a report, which is passed on, does not."""
    skipped = any(line.id in READ_IN_LOG and line.status is Status.SKIPPED for line in lines)
    if place is not None and skipped:
        typer.echo(f"The log was looked for at {place}", err=True)


def say_unpinned(root: str | None, policy: Policy) -> None:
    """Say on the terminal that the trust root was taken from the bundle itself, if nothing from elsewhere names it."""
    if root is None and policy.root is None:
        console().print(
            "THE TRUST ROOT IS NOT CHECKED: it was taken from the bundle itself; give --root.", soft_wrap=True
        )


def policy_of(path: Path | None) -> Policy:
    """Return the policy in a file, or the default one where none is given.

    Raises:
        UsageError: it is not one.
    """
    return DEFAULT_POLICY if path is None else parse_policy(read_file(path, MAX_POLICY_BYTES), file=str(path))
