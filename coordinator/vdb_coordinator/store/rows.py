"""Rows that may be there already, written the same way to every database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, insert, update

_NOTHING: Mapping[str, Any] = {}


def write_row(
    connection: Connection,
    table: Table,
    key: Mapping[str, Any],
    changing: Mapping[str, Any],
    fixed: Mapping[str, Any] = _NOTHING,
) -> None:
    """Write the row with a key: change it, or insert it where there is none.

    Args:
        connection: in a transaction that nobody else writes beside.
        table: has the row.
        key: columns by which it is found.
        changing: columns that are written in both cases.
        fixed: columns that are written when the row is inserted.
    """
    chosen = update(table).where(*(table.c[name] == value for name, value in key.items()))
    if connection.execute(chosen.values(**changing)).rowcount == 0:
        connection.execute(insert(table), {**key, **fixed, **changing})
