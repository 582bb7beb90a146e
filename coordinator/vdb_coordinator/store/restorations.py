"""What a database remembers of the backups that it was restored from: epochs, entries without events, sessions that were lost.

Promises that a restoration begins an epoch which no coordinator of the same consortium has had. Leaves what is lost to
`backups/losses.py`.

Source: protos/README.md §11.6.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, insert, select

from vdb_coordinator.store import schema
from vdb_coordinator.store.rows import write_row

STRIDE: Final = 2**16
"""Epochs jump by at least so much, and by chance by more: beyond those that a coordinator may have used since the backup."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """One restoration.

    Attributes:
        epoch: that it began.
        at: when, UTC, as statements write it.
        made: when the backup was made.
        complete: whether the operator said that nothing had happened since.
        kept: entries of the log that the backup had.
        size: entries that the log had afterwards.
        checkpoint: note of the newest checkpoint that was known.
    """

    epoch: int
    at: str
    made: str
    complete: bool
    kept: int
    size: int
    checkpoint: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LostSession:
    """A session of which the log's entries alone are left.

    Attributes:
        session: its id.
        reason: what to tell who asks for it.
        abort: the coordinator's statement that it is over, an envelope; None if the log said so before.
    """

    session: str
    reason: str
    abort: bytes | None = field(default=None, repr=False)


def later_epoch(connection: Connection) -> int:
    """Begin an epoch that is none of this database's or of its copies', and return it."""
    last: int = connection.execute(select(schema.epochs.c.number)).scalar() or 0
    epoch = last + STRIDE + secrets.randbelow(STRIDE)
    write_row(connection, schema.epochs, {"id": 1}, {"number": epoch})
    return epoch


def store(connection: Connection, restoration: Restoration, lost: list[LostSession]) -> None:
    """Store a restoration with the sessions that were lost by it."""
    fields = {name: getattr(restoration, name) for name in restoration.__dataclass_fields__}
    connection.execute(insert(schema.restorations), {**fields, "complete": int(restoration.complete)})
    for session in lost:
        row = {"session": session.session, "reason": session.reason, "abort": session.abort}
        connection.execute(insert(schema.lost_sessions), {**row, "epoch": restoration.epoch})


def load(connection: Connection) -> list[Restoration]:
    """Return all restorations, oldest first."""
    rows = connection.execute(select(schema.restorations).order_by(schema.restorations.c.epoch))
    return [Restoration(**{**row._asdict(), "complete": bool(row.complete)}) for row in rows]


def lost_session(connection: Connection, prefix: str) -> LostSession | None:
    """Return the one lost session whose id begins so."""
    table = schema.lost_sessions
    rows = connection.execute(select(table.c.session, table.c.reason, table.c.abort)).all()
    found = [row for row in rows if row.session.startswith(prefix)]
    return LostSession(*found[0]) if len(found) == 1 else None


def entries_without_events(connection: Connection) -> Iterator[bytes]:
    """Yield the entries that came with a restoration: what they tell of may be lost."""
    positions = schema.log_entries.c.position
    for restoration in load(connection):
        query = select(schema.log_entries.c.entry).where(positions >= restoration.kept, positions < restoration.size)
        yield from connection.scalars(query)
