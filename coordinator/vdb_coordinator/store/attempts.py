"""The audit log: what leads did, and what was refused to whom.

Promises a bound: of each caller and action only the first refusals are kept, so that nobody fills the disk by being refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, insert, select

from vdb_coordinator.store import schema

KEPT: Final = 200
"""Refusals of one caller and action."""

_LONGEST: Final = 1000


def record(connection: Connection, at: datetime, who: str, action: str, outcome: str) -> None:
    """Store an entry."""
    moment = at.isoformat(timespec="seconds")
    said = outcome.replace("\0", "\N{REPLACEMENT CHARACTER}")  # which no text of PostgreSQL may hold
    entry = {"at": moment, "who": who[:256], "action": action, "outcome": said[:_LONGEST]}
    connection.execute(insert(schema.attempts), entry)


def record_refusal(connection: Connection, at: datetime, who: str, action: str, why: str) -> None:
    """Store that something was refused, unless this caller has as many such entries as are kept."""
    same = (schema.attempts.c.who == who, schema.attempts.c.action == action)
    found = connection.execute(select(func.count()).select_from(schema.attempts).where(*same)).scalar_one()
    if found < KEPT:
        record(connection, at, who, action, f"refused: {why}")
