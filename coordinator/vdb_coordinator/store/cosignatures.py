"""Witnesses' signatures of the log's checkpoints: one of each witness for each size."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, delete, insert, select

from vdb_coordinator.store import schema
from vdb_shared.transparency.note import NoteSignature


def store(connection: Connection, size: int, cosignature: NoteSignature) -> None:
    """Store a signature, in place of an earlier one of the same witness for the same size."""
    table = schema.cosignatures
    connection.execute(delete(table).where(table.c.size == size, table.c.name == cosignature.name))
    connection.execute(
        insert(table), {"size": size, "name": cosignature.name, "key": cosignature.id, "value": cosignature.value}
    )


def load(connection: Connection) -> Iterator[tuple[int, NoteSignature]]:
    """Yield all signatures with the sizes that they are for."""
    for row in connection.execute(select(schema.cosignatures)):
        yield row.size, NoteSignature(row.name, row.key, row.value)
