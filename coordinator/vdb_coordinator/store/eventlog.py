"""The event log: for each session an append-only, hash-chained list of events.

Promises that an event is stored only as the successor of the one its writer saw last, and that a log read back is the one
that was written. Leaves the meaning of events to `events.py`.

Source: protos/README.md §11.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from vdb_coordinator.store import schema
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.errors import StoreError

_GENESIS: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Position:
    """The end of a session's log: number of the last event and the digest that chains all of them."""

    sequence: int = 0
    digest: bytes = _GENESIS

    def after(self, session: str, body: bytes) -> Position:
        """Return the end of the log after one more event."""
        sequence = self.sequence + 1
        number = sequence.to_bytes(8, "little")
        return Position(sequence, labelled_hash(labels.HASH_EVENT, self.digest, session.encode(), number, body))


def append(connection: Connection, session: str, last: Position, body: bytes) -> Position:
    """Store an event as the successor of `last` and return the new end.

    Raises:
        StoreError: another writer was first.
        FallenBackError: `last` is not there any more.
    """
    check_kept(connection, session, last)
    position = last.after(session, body)
    row = {"session": session, "sequence": position.sequence, "body": body, "digest": position.digest}
    try:
        connection.execute(insert(schema.events), row)
    except IntegrityError as error:
        raise StoreError(f"event {position.sequence} of session {session} was written by somebody else") from error
    return position


def check_kept(connection: Connection, session: str, position: Position) -> None:
    """Check that a session's log still has the event with which it ended once.

    Raises:
        FallenBackError: it has not.
    """
    table = schema.events.c
    query = select(table.digest).where(table.session == session, table.sequence == position.sequence)
    if position.sequence and connection.scalar(query) != position.digest:
        raise FallenBackError(f"event {position.sequence} of session {session}")


def load(connection: Connection, session: str) -> tuple[list[bytes], Position]:
    """Return the bodies of a session's events in order, and the end of its log.

    Raises:
        StoreError: an event is missing or was changed.
    """
    query = (
        select(schema.events.c.sequence, schema.events.c.body, schema.events.c.digest)
        .where(schema.events.c.session == session)
        .order_by(schema.events.c.sequence)
    )
    position, bodies = Position(), []
    for sequence, body, digest in connection.execute(query):
        expected = position.after(session, body) if isinstance(body, bytes) else None
        if expected is None or (sequence, digest) != (expected.sequence, expected.digest):
            raise StoreError(f"event {position.sequence + 1} of session {session} is not the one that was written")
        position = expected
        bodies.append(body)
    return bodies, position
