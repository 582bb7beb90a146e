"""Reading a log's files from a folder or over HTTP, and remembering what was read.

Promises bounds on size and on time whoever serves them (on silence, on one file and on the whole reading; a name is looked up
as long as the system takes), that what is wrong with a file is said by its path in the log alone, in words of our own, since
it may end up in a report that is passed on (`naming_fetch_from` serves commands that make none), and that a log which does
not continue the remembered one is told apart from one that does. Leaves what the bytes mean to `transparency/`.
"""

from __future__ import annotations

import ssl
import time
import urllib.error
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL, responses
from pathlib import Path
from typing import Final

from vdb_shared.audit.limited_http import Limit, download
from vdb_shared.errors import FormatError, UnreachableError, UsageError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, MAX_ENTRY_BYTES, WIDTH, Fetch, TiledLog

MAX_FILE_BYTES: Final = WIDTH * (2 + MAX_ENTRY_BYTES)
"""A full bundle of the longest entries."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for, in seconds.

    Attributes:
        silence: without a byte.
        file: for one file in all, of at most 16 MiB.
        log: for all files of one reading together.
    """

    silence: float = 20.0
    file: float = 120.0
    log: float = 3600.0


class ForkError(FormatError):
    """The log is not the one that was remembered: it was changed, or two are shown."""


def open_log(place: str, key: NoteKey, patience: Patience = Patience()) -> tuple[TiledLog, bytes]:
    """Return a log with its checkpoint verified, and the checkpoint's note.

    Args:
        place: a folder, or a URL that begins with http:// or https://.
        key: of the log.
        patience: how long a server is waited for, from now on until the last entry is read.

    Raises:
        UsageError, UnreachableError: it cannot be read, or not in time.
        FormatError, SignatureError: it is not the log of that key, or its files do not fit together.
    """
    fetch = naming_fetch_from(place, patience)
    note = fetch(CHECKPOINT_PATH)
    checkpoint, _ = read_checkpoint(note, key)
    return TiledLog(checkpoint, fetch), note


def fetch_from(place: str, patience: Patience = Patience()) -> Fetch:
    """Return what reads files of a log in a folder or at a URL.

    Raises:
        UsageError: it is neither; a place that may hold a password is not quoted.
    """
    if "@" in place and not Path(place).is_dir():
        raise UsageError(
            "LOG: expected the folder of a log, or its URL without user and password, which would not be sent; an @ in a URL's "
            "path is written %40"
        )
    if place.startswith(("http://", "https://")):
        if "?" in place or "#" in place:
            raise UsageError("LOG: a log's files lie below its address; give it without ? and #")
        end = time.monotonic() + patience.log
        return lambda path: _download(place.rstrip("/"), path, patience, end)
    folder = Path(place)
    if not place or not folder.is_dir():
        raise UsageError(
            f"{place or 'LOG'}: expected the folder of a log, or its URL, which begins with http:// or https://"
        )
    if not (folder / CHECKPOINT_PATH).is_file():
        raise UsageError(
            f"{folder}: holds no log, which has a file named {CHECKPOINT_PATH}; in a coordinator's directory it is `log`"
        )
    return lambda path: _read(folder, path)


def naming_fetch_from(place: str, patience: Patience = Patience()) -> Fetch:
    """Return what `fetch_from` does; what cannot be read is said with the place, for a terminal and not for a report.

    Raises:
        UsageError: as `fetch_from`.
    """
    fetch = fetch_from(place, patience)

    def read(path: str) -> bytes:
        try:
            return fetch(path)
        except (UsageError, UnreachableError) as error:
            raise type(error)(f"{place}: {error}") from error

    return read


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


def _read(folder: Path, path: str) -> bytes:
    try:
        with (folder / path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: a file of the log cannot be read: {error.strerror}") from error
    return _bounded(data, path)


def _download(address: str, path: str, patience: Patience, end: float) -> bytes:
    alone = time.monotonic() + patience.file
    limit = (
        Limit(patience.silence, alone, f"it was not all there after {patience.file:g} seconds")
        if alone < end
        else Limit(patience.silence, end, f"reading the log took {patience.log:g} seconds and was not done")
    )
    try:
        return _bounded(download(f"{address}/{path}", MAX_FILE_BYTES + 1, limit), path)
    except urllib.error.HTTPError as error:
        raise UsageError(f"{path}: the server answers {_status(error.code)}; is this the log's address?") from error
    except (OSError, ValueError, HTTPException) as error:
        raise UnreachableError(
            f"{path}: cannot be reached ({_why(error)}); check the log's address and the network"
        ) from error


def _status(code: int) -> str:
    """Return an HTTP status in the standard's words, not in the server's."""
    return f"{code} {responses.get(code, '')}".rstrip()


def _why(error: Exception) -> str:  # noqa: PLR0911 - one for each kind
    """Return why nothing was read, without the words of errors that quote addresses, certificates or answers."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    match reason:
        case ssl.SSLCertVerificationError():
            return "certificate verify failed"
        case ssl.SSLError():
            return "TLS failed"
        case TimeoutError(strerror=None):  # by our own limits
            return str(reason)
        case OSError(strerror=str(words)):
            return words
        case OSError():
            return "no answer"
        case HTTPException() if not isinstance(reason, InvalidURL):
            return "its answer is not HTTP, or cut short"
    return "that is no address"


def _bounded(data: bytes, place: str) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise FormatError(f"{place}: larger than any file of a log, {MAX_FILE_BYTES} bytes")
    return data
