"""The audit log: what leads and the coordinator did, and what was refused to whom; one chain of entries.

Promises that each entry has a digest over itself and all before it, so that none can be changed, moved or taken out without
another end, and a bound: of each caller and action only the first refusals are kept, so that nobody fills the disk by being
refused. Leaves who signs the end to `serving/auditing.py`, and what an export is to `audit_export.py`.

Source: protos/README.md §11.10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, insert, select

from vdb_coordinator.store import schema
from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.errors import StoreError

KEPT: Final = 200
"""Refusals of one caller and action."""

_LONGEST: Final = 1000
_LONGEST_WHO: Final = 256
_REFUSED: Final = "refused: "
"""Begins the outcome of what was refused; only such entries count to `KEPT`."""

_GENESIS: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class End:
    """The end of the chain, or of a part of it: how many entries, and the digest over all of them."""

    size: int = 0
    digest: bytes = _GENESIS

    def after(self, entry: Entry) -> End:
        """Return the end after one more entry."""
        number = (self.size + 1).to_bytes(8, "little")
        words = (entry.at, entry.who, entry.action, entry.outcome)
        digest = labelled_hash(labels.HASH_AUDIT, self.digest, number, *(word.encode() for word in words))
        return End(self.size + 1, digest)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        at: when, UTC, ISO 8601 to the second.
        who: SPIFFE id, or which of our own programs.
        action: in words.
        outcome: in words; begins with "refused: " if it was.
    """

    at: str
    who: str
    action: str
    outcome: str


def record(connection: Connection, at: datetime, who: str, action: str, outcome: str) -> None:
    """Store an entry."""
    said = outcome.replace("\0", "\N{REPLACEMENT CHARACTER}")  # which no text of PostgreSQL may hold
    entry = Entry(at.isoformat(timespec="seconds"), who[:_LONGEST_WHO], action, said[:_LONGEST])
    following = end(connection).after(entry)
    row = {"at": entry.at, "who": entry.who, "action": entry.action, "outcome": entry.outcome}
    connection.execute(insert(schema.attempts), {"id": following.size, "digest": following.digest, **row})


def record_list(connection: Connection, at: datetime, who: str, action: str, head: str, parts: Sequence[str]) -> None:
    """Store a list of words, in as many entries as hold it without cutting any; each of them begins with `head`."""
    line = head
    for part in parts:
        longer = f"{line}{'' if line == head else ', '}{part}"
        if len(longer) > _LONGEST and line != head:
            record(connection, at, who, action, line)
            longer = f"{head}{part}"
        line = longer
    record(connection, at, who, action, line)


def record_refusal(connection: Connection, at: datetime, who: str, action: str, why: str) -> None:
    """Store that something was refused, unless this caller has as many such entries as are kept."""
    table = schema.attempts.c
    same = (table.who == who[:_LONGEST_WHO], table.action == action, table.outcome.startswith(_REFUSED))
    found = connection.execute(select(func.count()).select_from(schema.attempts).where(*same)).scalar_one()
    if found < KEPT:
        record(connection, at, who, action, f"{_REFUSED}{why}")


def end(connection: Connection) -> End:
    """Return the end of the chain, as its last entry says."""
    table = schema.attempts.c
    row = connection.execute(select(table.id, table.digest).order_by(table.id.desc()).limit(1)).one_or_none()
    return End() if row is None else End(row.id, row.digest)


def load(connection: Connection) -> list[Entry]:
    """Return all entries, oldest first, the chain checked.

    Raises:
        StoreError: an entry is missing or was changed.
    """
    table, found, last = schema.attempts, list[Entry](), End()
    for row in connection.execute(select(table).order_by(table.c.id)):
        entry = Entry(row.at, row.who, row.action, row.outcome)
        last = last.after(entry)
        if (row.id, row.digest) != (last.size, last.digest):
            raise StoreError(f"entry {last.size} of the audit log is not the one that was written; restore a backup")
        found.append(entry)
    return found


def end_of(entries: list[Entry]) -> End:
    """Return the end of these entries."""
    last = End()
    for entry in entries:
        last = last.after(entry)
    return last
