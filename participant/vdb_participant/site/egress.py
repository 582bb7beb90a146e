"""The egress journal: every message that leaves this site, on the disk before its first byte is offered to the network.

Promises that what `record` returned from is durable, so that after a crash the journal may name a message that never left and
never lacks one that did; that several processes of one site write one chain; and that nothing may leave where it cannot be
recorded. Leaves lines to `egress_format.py`, and making everything that leaves pass here to `network/`.

    DIR/egress.jsonl

Source: protos/README.md §12.6.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vdb_participant.site.egress_format import (
    GENESIS,
    Departure,
    Entry,
    Reading,
    decode_line,
    encode_line,
    read_egress,
    whole_lines,
)
from vdb_participant.site.storage import PRIVATE_FILE, make_folder, sync_folder
from vdb_shared.errors import FormatError, StoreError

_TAIL_BYTES: Final = 64 * 1024
"""How much of the end is read at first to find the last line."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class EgressJournal:
    """One site's journal of what left it.

    Attributes:
        path: of the file.
        clock: UTC.
    """

    path: Path
    clock: Callable[[], datetime] = _now
    _failed: bool = field(default=False, init=False)

    def record(self, departure: Departure) -> None:
        """Write down what is about to leave, and return once that is durable.

        Raises:
            StoreError: it cannot be written, or the journal's end is damaged; nothing may be sent.
        """
        with self._locked() as descriptor:
            if self._failed:  # looked at in our turn: in another thread's it only says that a write is under way
                raise StoreError(
                    f"{self.path}: an earlier write failed, so nothing more is sent; free some space and run again"
                )
            entry, position = self._following(descriptor, departure)
            self._failed = True  # after a failed fsync nobody can say what is on the disk, short of reading it again
            try:
                os.ftruncate(descriptor, position)
                _write(descriptor, encode_line(entry), position)
                os.fsync(descriptor)
            except OSError as error:
                raise self._refused(error) from error
            self._failed = False

    def read(self) -> Reading:
        """Return all entries, the chain checked.

        Raises:
            StoreError: the journal was changed or cannot be read.
        """
        try:
            return read_egress(self.path.read_bytes())
        except FileNotFoundError:
            return Reading((), 0)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read ({error.strerror})") from error

    def _following(self, descriptor: int, departure: Departure) -> tuple[Entry, int]:
        """Return the next entry and where it goes."""
        line, position = _last_line(descriptor)
        moment = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        if line is None:
            return Entry(0, GENESIS, moment, departure), 0
        try:
            last = decode_line(line)
        except FormatError as error:
            raise StoreError(
                f"{self.path}: its last line is damaged ({error}), so nothing is sent; restore it from a backup"
            ) from error
        return Entry(last.sequence + 1, last.digest, moment, departure), position

    @contextmanager
    def _locked(self) -> Iterator[int]:
        make_folder(self.path.parent)
        is_new = not self.path.exists()
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as error:
            raise self._refused(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_new:
                sync_folder(self.path.parent)
            yield descriptor
        finally:
            fcntl.flock(
                descriptor, fcntl.LOCK_UN
            )  # a child forked meanwhile holds the descriptor, and must not hold the lock
            os.close(descriptor)

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: what leaves cannot be recorded ({error.strerror}), so nothing is sent; free some space and run again"
        )


def _last_line(descriptor: int) -> tuple[bytes | None, int]:
    """Return the last whole line and where the next one goes; what lies beyond was cut short."""
    size = os.fstat(descriptor).st_size
    length = _TAIL_BYTES
    while True:
        start = max(0, size - length)
        tail = os.pread(descriptor, size - start, start)
        if start:
            _, _, tail = tail.partition(b"\n")  # the first line of the tail may have lost its beginning
        lines = whole_lines(tail)
        if lines or not start:
            break
        length *= 2
    if not lines:
        return None, 0
    cut_short = len(tail) - sum(len(line) + 1 for line in lines)
    return lines[-1], size - cut_short


def _write(descriptor: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written
