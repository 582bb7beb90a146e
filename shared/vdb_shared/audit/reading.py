"""What every command of `vdb-audit` does with files and flags: read, write, and refuse in one line.

Promises bounds on what is read, and a message that names the file. Leaves what the bytes mean to the commands.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from vdb_shared.audit.policy import DEFAULT_POLICY, MAX_POLICY_BYTES, Policy, parse_policy
from vdb_shared.bundle.objections import FILE_SUFFIX, MAX_OBJECTION_BYTES
from vdb_shared.canonical import canonical_json, check_digest, sha256_digest
from vdb_shared.errors import FormatError, UsageError
from vdb_shared.named_files import read_file
from vdb_shared.screen import screen

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
        UsageError: neither a digest nor a file that can be read.
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
        return sha256_digest(read_file(Path(given), MAX_ROOT_BYTES))
    try:
        return check_digest(given)
    except FormatError as error:
        raise UsageError(f"--root: {error}") from error


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
