"""Reading a log's files from a folder or over HTTP, and remembering what was read.

Promises bounds on size and on silence whoever serves them, and that a log which does not continue the remembered one is told
apart from one that does. Leaves what the bytes mean to `transparency/`.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Final

from vdb_shared.errors import FormatError, UnreachableError, UsageError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, MAX_ENTRY_BYTES, WIDTH, Fetch, TiledLog

MAX_FILE_BYTES: Final = WIDTH * (2 + MAX_ENTRY_BYTES)
"""A full bundle of the longest entries."""

SECONDS: Final = 20.0
"""Without a byte after which a server counts as silent."""


class ForkError(FormatError):
    """The log is not the one that was remembered: it was changed, or two are shown."""


def open_log(place: str, key: NoteKey) -> tuple[TiledLog, bytes]:
    """Return a log with its checkpoint verified, and the checkpoint's note.

    Args:
        place: a folder, or a URL that begins with http:// or https://.
        key: of the log.

    Raises:
        UsageError, UnreachableError: it cannot be read.
        FormatError, SignatureError: it is not the log of that key, or its files do not fit together.
    """
    fetch = fetch_from(place)
    note = fetch(CHECKPOINT_PATH)
    checkpoint, _ = read_checkpoint(note, key)
    return TiledLog(checkpoint, fetch), note


def fetch_from(place: str) -> Fetch:
    """Return what reads files of a log in a folder or at a URL."""
    if place.startswith(("http://", "https://")):
        return lambda path: _download(f"{place.rstrip('/')}/{path}")
    folder = Path(place)
    if not folder.is_dir():
        raise UsageError(f"{place}: expected the folder of a log, or its URL")
    return lambda path: _read(folder / path)


def check_remembered(log: TiledLog, remembered: bytes, key: NoteKey) -> Checkpoint:
    """Return the checkpoint that was remembered, after a check that the log continues it.

    Raises:
        ForkError: it does not.
    """
    before, _ = read_checkpoint(remembered, key)
    now = log.checkpoint
    if before.size > now.size:
        raise ForkError(
            f"the log had {before.size} entries when it was read last and has {now.size} now: it was cut, or another is shown; "
            "keep both checkpoints, their signatures prove it"
        )
    if log.root_at(before.size) != before.root:
        raise ForkError(
            f"the first {before.size} entries of the log are not those that were read last: it was changed, or another is "
            "shown; keep both checkpoints, their signatures prove it"
        )
    return before


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: a file of the log cannot be read: {error.strerror}") from error
    return _bounded(data, str(path))


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - http and https alone come here
            return _bounded(answer.read(MAX_FILE_BYTES + 1), url)
    except urllib.error.HTTPError as error:
        raise UsageError(
            f"{url}: the server answers {error.code} {error.reason}; is this the log's address?"
        ) from error
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UnreachableError(f"{url}: cannot be reached ({reason}); check the address and the network") from error


def _bounded(data: bytes, place: str) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise FormatError(f"{place}: larger than any file of a log, {MAX_FILE_BYTES} bytes")
    return data
