"""The database: one writer thread, durable commits, and the schema brought up to date at opening.

Promises that work handed to `run` is committed as a whole before it returns, in the order in which it was handed over, also
when the asking coroutine is cancelled meanwhile; and that who lost the database for a while writes on only if nobody else was
its coordinator in between. Leaves tables to `schema.py`, what SQLite and PostgreSQL need to `engines.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from vdb_coordinator.store import schema
from vdb_coordinator.store.engines import ServedElsewhereError, backend_of
from vdb_coordinator.store.rows import write_row
from vdb_shared.errors import StoreError, UsageError

T = TypeVar("T")

TAKE_OVER_SECONDS: Final = 1.0
"""Pause between two looks whether another coordinator still serves the database."""

_REPETITIONS: Final = 10
"""How often a transaction is run that conflicts with others."""


class Database:
    """One database, written by one process at a time."""

    def __init__(self, target: Path | str) -> None:
        """Name a database; nothing is opened yet.

        Args:
            target: an SQLite file, or the URL of a PostgreSQL database.

        Raises:
            UsageError: the URL is none, or carries a password.
        """
        self._backend = backend_of(target)
        self._engine = self._backend.engine(self._check_epoch)
        self._epoch: int | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vdb-database")

    async def open(self, waiting: Callable[[], None] | None = None) -> None:
        """Bring the schema up to date and begin an epoch, once no other coordinator serves this database.

        Args:
            waiting: called when another does, before waiting for its end; without it that is an error.

        Raises:
            StoreError: it is no database, or newer than this program.
            ServedElsewhereError: another coordinator serves it.
        """
        told = False
        while True:
            try:
                self._epoch = await self.run(_begin_epoch)
            except ServedElsewhereError:
                if waiting is None:
                    raise
            else:
                return
            if not told:
                waiting()
                told = True
            await asyncio.sleep(TAKE_OVER_SECONDS)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, after its transaction is durable.

        The transaction goes on when the caller is cancelled: what the writer thread has begun, it finishes. Work that
        conflicts with another transaction is run again, so it does nothing but look at the database and write to it.

        Raises:
            StoreError: the database refuses. Nothing of `work` was stored, unless it was the commit whose answer was lost.
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
        await self.run(lambda connection: write_row(connection, schema.heartbeat, {"id": 1}, {"at": moment}))

    def close(self) -> None:
        """Finish what was handed over and let go of the database."""
        self._writer.shutdown(wait=True)
        self._engine.dispose()

    def _transact(self, work: Callable[[Connection], T]) -> T:
        for left in reversed(range(_REPETITIONS)):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if left and self._backend.is_worth_repeating(error):
                    continue
                raise StoreError(f"{self._backend.name}: {_first_line(error)}; nothing was stored") from error
        raise AssertionError("the last repetition raises")

    def _check_epoch(self, connection: DBAPIConnection) -> None:
        """Check that nobody else was coordinator while we had no connection."""
        if self._epoch is None:
            return
        cursor = connection.cursor()
        cursor.execute("SELECT number FROM epochs")
        row = cursor.fetchone()
        cursor.close()
        connection.rollback()
        if row is None or row[0] != self._epoch:
            raise StoreError(
                f"{self._backend.name}: another coordinator served this database while we could not reach it; start this one "
                "again"
            )


def create_database(target: Path | str, work: Callable[[Connection], None]) -> None:
    """Create the schema and first rows in an empty database.

    Raises:
        UsageError: it holds a consortium already.
        StoreError: it cannot be written.
    """
    database = Database(target)

    def create(connection: Connection) -> None:
        migrate(connection)
        if connection.execute(select(schema.rosters.c.version)).first() is not None:
            raise UsageError("that database holds a consortium already; name an empty one")
        work(connection)

    try:
        database.run_now(create)
    finally:
        database.close()


def read_database(target: Path | str, work: Callable[[Connection], T]) -> T:
    """Return what `work` reads in a database that another process may be writing; nothing in it is changed.

    Raises:
        UsageError: the URL is none, or carries a password.
        StoreError: it cannot be read.
    """
    backend = backend_of(target)
    engine = backend.reader()
    try:
        with engine.connect() as connection:
            return work(connection)
    except DBAPIError as error:
        raise StoreError(f"{backend.name}: cannot be read: {_first_line(error)}") from error
    finally:
        engine.dispose()


def _begin_epoch(connection: Connection) -> int:
    migrate(connection)
    last: int | None = connection.execute(select(schema.epochs.c.number)).scalar()
    write_row(connection, schema.epochs, {"id": 1}, {"number": (last or 0) + 1})
    return (last or 0) + 1


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().split("\n", maxsplit=1)[0]


def newest_revision() -> str | None:
    """Return the revision of the schema that this program writes."""
    return ScriptDirectory.from_config(_migrations()).get_current_head()


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(connection: Connection) -> None:
    """Bring the schema of a database up to date.

    Raises:
        StoreError: it is newer than this program.
    """
    config = _migrations()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"the database cannot be brought up to date: {error}") from error
