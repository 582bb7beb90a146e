"""Witnesses' signatures of the log's checkpoints: one of each witness's key for each size."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, insert, select

from vdb_coordinator.store import schema
from vdb_shared.transparency.note import NoteSignature


def store(connection: Connection, size: int, cosignature: NoteSignature) -> None:
    """Store a signature, unless there is one of the same key for the same size."""
    row = {"size": size, "name": cosignature.name, "key": cosignature.id, "value": cosignature.value}
    table = schema.cosignatures
    same = select(table.c.size).where(*(table.c[name] == row[name] for name in ("size", "name", "key")))
    if connection.execute(same).first() is None:
        connection.execute(insert(table), row)


def load(connection: Connection) -> Iterator[tuple[int, NoteSignature]]:
    """Yield all signatures with the sizes that they are for."""
    for row in connection.execute(select(schema.cosignatures)):
        yield row.size, NoteSignature(row.name, row.key, row.value)
