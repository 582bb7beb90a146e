"""The database: SQLite with one writer thread, durable commits, and the schema brought up to date at opening.

Promises that work handed to `run` is committed as a whole before it returns, in the order in which it was handed over, also
when the asking coroutine is cancelled meanwhile. Leaves tables to `schema.py`.

Source: SQLite documentation: WAL, PRAGMA synchronous (FULL: with NORMAL a power cut loses acknowledged commits).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from vdb_coordinator.store import schema
from vdb_shared.errors import StoreError

T = TypeVar("T")


class Database:
    """One SQLite file, opened by one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = _engine(path)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vdb-database")

    async def open(self) -> None:
        """Bring the schema up to date.

        Raises:
            StoreError: the file is no database, or newer than this program.
        """
        await self.run(_migrate)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, after its transaction is durable.

        The transaction goes on when the caller is cancelled: what the writer thread has begun, it finishes.

        Raises:
            StoreError: the database refuses; nothing of `work` was stored.
        """
        return await asyncio.wrap_future(self._writer.submit(self._transact, work))

    def run_now(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, after its transaction is durable; for programs without an event loop."""
        return self._writer.submit(self._transact, work).result()

    async def beat(self, at: datetime) -> None:
        """Write a time, to learn whether the database can be written.

        Raises:
            StoreError: it cannot.
        """
        moment = at.isoformat(timespec="seconds")
        statement = insert(schema.heartbeat).values(id=1, at=moment)
        statement = statement.on_conflict_do_update(index_elements=["id"], set_={"at": moment})
        await self.run(lambda connection: connection.execute(statement))

    def close(self) -> None:
        """Finish what was handed over and close the file."""
        self._writer.shutdown(wait=True)
        self._engine.dispose()

    def _transact(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise StoreError(f"{self._path}: {error.orig}; nothing was stored") from error


def create_database(path: Path, work: Callable[[Connection], None]) -> None:
    """Create a database with its schema and first rows.

    Raises:
        StoreError: it cannot be written.
    """
    database = Database(path)
    try:
        database.run_now(_migrate)
        database.run_now(work)
    finally:
        database.close()


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool,
        connect_args={"timeout": 10, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"the database cannot be brought up to date: {error}") from error
