"""Copies of a whole database, row by row: from SQLite or PostgreSQL, running or not, to either.

Promises that a copy holds what the database held at one moment, whoever writes meanwhile, and that the numbers which a copy
hands out itself go on after those that it holds. Leaves an empty target with the schema to `database.py`.

Source: SQLite documentation: Isolation in SQLite (WAL readers); PostgreSQL documentation: §13.2.2 (repeatable read), §9.17.
"""

from __future__ import annotations

from typing import Final

from alembic.migration import MigrationContext
from sqlalchemy import Connection, Table, func, insert, select

from vdb_coordinator.store import schema
from vdb_coordinator.store.database import newest_revision
from vdb_shared.errors import UsageError

_ROWS: Final = 500
"""Rows that are in memory at once."""


def begin_snapshot(connection: Connection) -> None:
    """Let everything that is read on a connection from now on be of one moment.

    Args:
        connection: fresh, of a reader.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")  # its driver begins a transaction at writes only
    else:
        connection.execution_options(isolation_level="REPEATABLE READ")


def check_current(connection: Connection) -> None:
    """Check that a database has the schema of this program.

    Raises:
        UsageError: it has another one.
    """
    found, wanted = MigrationContext.configure(connection).get_current_revision(), newest_revision()
    if found != wanted:
        raise UsageError(
            f"the database has revision {found} of the schema, this program writes {wanted}: start `serve` once with this "
            "program, or use the one that served last"
        )


def copy_rows(source: Connection, target: Connection) -> None:
    """Copy all rows into a database with the same schema and no rows."""
    for table in schema.metadata.sorted_tables:
        _copy_table(source, target, table)
    if target.dialect.name == "postgresql":
        number = schema.attempts.c.id
        last = select(func.coalesce(func.max(number), 0)).scalar_subquery()
        target.execute(select(func.setval(func.pg_get_serial_sequence("attempts", "id"), last + 1, False)))


def _copy_table(source: Connection, target: Connection, table: Table) -> None:
    rows = source.execute(select(table).order_by(*table.primary_key).execution_options(yield_per=_ROWS))
    for some in rows.partitions():
        target.execute(insert(table), [row._asdict() for row in some])
