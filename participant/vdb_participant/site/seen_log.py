"""The newest checkpoint of the consortium's log that this site has seen: it never goes back behind it.

Promises that what `remember` returned from is durable, that two processes of one site never see past each other, and that
two logs which contradict each other are kept as evidence. Leaves what a checkpoint says to `session/witnessing.py`.

    DIR/log/checkpoint  DIR/log/fork-<number>.txt

Source: C2SP tlog-witness (a witness persists before it responds); protos/README.md §9.8.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vdb_participant.site.storage import PRIVATE_FILE, make_folder, write_durably
from vdb_shared.errors import FormatError, StoreError
from vdb_shared.transparency.checkpoint import Checkpoint, parse_checkpoint
from vdb_shared.transparency.note import parse_note

_CHECKPOINT: Final = "checkpoint"
_EMPTY: Final = b""


@dataclass(frozen=True, slots=True)
class SeenLog:
    """What a site has seen of its consortium's log.

    Attributes:
        folder: where it is kept.
    """

    folder: Path

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Keep other processes of this site away for the length of a block, and give what was seen last.

        Raises:
            StoreError: the file is damaged, or cannot be read or locked.
        """
        make_folder(self.folder)
        lock = self.folder / "lock"
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as error:
            raise StoreError(f"{lock}: cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Held(self.folder / _CHECKPOINT, _read(self.folder / _CHECKPOINT))
        finally:
            os.close(descriptor)

    def keep_evidence(self, notes: Sequence[bytes]) -> Path:
        """Keep signed notes that contradict each other, and return where."""
        there = [item.stem.removeprefix("fork-") for item in self.folder.glob("fork-*.txt")]
        number = 1 + max((int(name) for name in there if name.isdecimal()), default=0)
        path = self.folder / f"fork-{number}.txt"
        write_durably(path, b"\n".join(notes))
        return path


@dataclass(frozen=True, slots=True)
class Held:
    """What was seen last, while nobody else of this site looks.

    Attributes:
        path: of the file.
        note: the checkpoint as it was signed; empty before the first.
    """

    path: Path
    note: bytes

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What it says."""
        return parse_checkpoint(parse_note(self.note).text) if self.note else None

    def remember(self, note: bytes) -> None:
        """Take the place of what was seen last, durably.

        Raises:
            StoreError: it cannot be written.
        """
        write_durably(self.path, note)


def _read(path: Path) -> bytes:
    try:
        note = path.read_bytes()
    except FileNotFoundError:
        return _EMPTY
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        parse_checkpoint(parse_note(note).text)
    except FormatError as error:
        raise StoreError(
            f"{path}: is no checkpoint of a log ({error}); restore it from a backup: without it this site cannot tell whether "
            "the log was rewritten"
        ) from error
    return note
