"""The newest checkpoint that anybody has of a log, and the entries that a backup lacks of it.

Promises that the backup and all checkpoints that are given are of one log, that what is returned has the root of the newest
one, and that no entry is taken which does not lead to that root. Leaves knowing where the newest one is to who asks: a log
cannot tell that it was longer.

Source: protos/README.md §11.6; RFC 6962 §2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vdb_coordinator.files import read_file
from vdb_shared.audit.log_files import Patience, naming_fetch_from
from vdb_shared.errors import FormatError, SignatureError, UsageError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.merkle import leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, Fetch, TiledLog


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint that somebody has.

    Attributes:
        place: where it was found, for errors.
        checkpoint: it, its signature verified.
        note: its bytes.
        fetch: reads the files of the log up to it; None where there are none.
    """

    place: str
    checkpoint: Checkpoint
    note: bytes = field(repr=False)
    fetch: Fetch | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Newest:
    """The log from which a coordinator goes on: the newest checkpoint, or None if there never was one, and all entries."""

    seen: Seen | None
    entries: tuple[bytes, ...] = field(repr=False)


def read_seen(place: str, key: NoteKey) -> Seen:
    """Return what is found at a place.

    Args:
        place: a checkpoint's file; or a log's folder or URL; or the folder `log` of an institution's state.
        key: of the log.

    Raises:
        UsageError, UnreachableError: it cannot be read.
        FormatError, SignatureError: it is not of this log.
    """
    path, fetch = Path(place), None
    if path.is_file():
        note = read_file(path)
    else:
        reader = naming_fetch_from(place, Patience())
        note = reader(CHECKPOINT_PATH)
        fetch = None if path.is_dir() and not (path / "tile").is_dir() else reader
    return seen_at(place, note, key, fetch)


def seen_at(place: str, note: bytes, key: NoteKey, fetch: Fetch | None = None) -> Seen:
    """Return a checkpoint that was found at a place, its signature verified.

    Raises:
        FormatError, SignatureError: it is not of this log.
    """
    try:
        return Seen(place, read_checkpoint(note, key)[0], note, fetch)
    except (FormatError, SignatureError) as error:
        raise type(error)(f"{place}: {error}") from error


def newest_log(own: Sequence[bytes], seen: Sequence[Seen]) -> Newest:
    """Return the newest log that contains the backup's and all that anybody has seen.

    Args:
        own: entries in the backup.
        seen: all checkpoints that are known, the backup's among them.

    Raises:
        UsageError: the log is longer than the backup, and its files are not among what was given.
        FormatError: two checkpoints are of different logs, or the backup is of another one, or files are damaged.
    """
    if not seen:
        return Newest(None, tuple(own))
    newest = max(seen, key=lambda item: (item.checkpoint.size, item.fetch is not None))
    entries = tuple(own) if newest.checkpoint.size <= len(own) else _published(newest)
    if entries[: len(own)] != tuple(own):
        raise FormatError(
            f"{newest.place}: the log of {len(entries)} entries there does not begin with the {len(own)} of this backup: two "
            "logs were signed with one key, or the backup is forged; restore nothing, and keep both"
        )
    leaves = [leaf_hash(entry) for entry in entries]
    complete = of_leaves(leaves)
    for item in seen:
        if tree_root(item.checkpoint.size, complete) != item.checkpoint.root:
            raise FormatError(
                f"{item.place}: the checkpoint of {item.checkpoint.size} entries there is of another log than {newest.place}: "
                "two were signed with one key; restore nothing, and keep both"
            )
    return Newest(newest, entries)


def _published(newest: Seen) -> tuple[bytes, ...]:
    if newest.fetch is None:
        raise UsageError(
            f"{newest.place}: the log has had {newest.checkpoint.size} entries, more than the backup; give --log its files "
            "too: the published log's URL, or a copy of its folder"
        )
    return tuple(TiledLog(newest.checkpoint, newest.fetch).entries())
