"""Entries of the transparency log, in their order: written in the transaction of the event that they tell of."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select

from vdb_coordinator.store import schema


def size(connection: Connection) -> int:
    """Return the number of entries."""
    last: int | None = connection.execute(select(func.max(schema.log_entries.c.position))).scalar_one()
    return 0 if last is None else last + 1


def append(connection: Connection, entry: bytes) -> None:
    """Store the next entry."""
    connection.execute(insert(schema.log_entries), {"position": size(connection), "entry": entry})


def holds(connection: Connection, entry: bytes) -> bool:
    """Return whether an entry is stored."""
    found = select(schema.log_entries.c.position).where(schema.log_entries.c.entry == entry).limit(1)
    return connection.execute(found).first() is not None


def load(connection: Connection, start: int) -> list[bytes]:
    """Return all entries from a position on."""
    query = (
        select(schema.log_entries.c.entry)
        .where(schema.log_entries.c.position >= start)
        .order_by(schema.log_entries.c.position)
    )
    return [row.entry for row in connection.execute(query)]
