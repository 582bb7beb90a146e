"""The database: one writer thread, durable commits, and the schema brought up to date at opening.

Promises that work handed to `run` is committed as a whole before it returns, in the order in which it was handed over, also
when the asking coroutine is cancelled meanwhile; that who lost the database for a while writes on only if nobody else was its
coordinator in between and it holds the last commit; and that nothing is read or written any more once anything committed is
found missing. Leaves tables to `schema.py`, what SQLite and PostgreSQL need to `engines.py`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, event, inspect, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from vdb_coordinator.store import schema
from vdb_coordinator.store.engines import ServedElsewhereError, backend_of
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_coordinator.store.rows import write_row
from vdb_shared.errors import StoreError, UsageError

T = TypeVar("T")

TAKE_OVER_SECONDS: Final = 1.0
"""Pause between two looks whether another coordinator still serves the database."""

_REPETITIONS: Final = 10
"""How often a transaction is run that conflicts with others."""

_WRITES: Final = ("INSERT", "UPDATE", "DELETE")
_NAME_BYTES: Final = 16


class Database:
    """One database, written by one process at a time.

    Attributes:
        fallen_back: is set once anything committed was found missing; from then on `run` raises FallenBackError.
    """

    def __init__(self, target: Path | str) -> None:
        """Name a database; nothing is opened yet.

        Args:
            target: an SQLite file, or the URL of a PostgreSQL database.

        Raises:
            UsageError: the URL is none, or carries a password.
        """
        self._backend = backend_of(target)
        self._engine = self._backend.engine(self._check_epoch)
        event.listen(self._engine, "before_cursor_execute", self._look_for_writes)
        self._epoch: int | None = None
        self._wrote = False
        self._last = self._begun = b""
        self._missing: str | None = None
        self.fallen_back = asyncio.Event()
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
                self._last = self._begun = secrets.token_bytes(_NAME_BYTES)
                self._epoch = await self.run(lambda connection: _begin_epoch(connection, self._last))
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
            FallenBackError: it lacks what was committed before, as `work` or a new connection found, now or earlier.
        """
        try:
            return await asyncio.wrap_future(self._writer.submit(self._transact, work))
        except FallenBackError:
            self.fallen_back.set()
            raise

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
        if self._missing is not None:
            raise FallenBackError(self._missing)
        for left in reversed(range(_REPETITIONS)):
            try:
                return self._commit(work)
            except FallenBackError as error:
                self._missing = error.missing
                raise
            except DBAPIError as error:
                if left and self._backend.is_worth_repeating(error):
                    continue
                raise StoreError(f"{self._backend.name}: {_first_line(error)}; nothing was stored") from error
        raise AssertionError("the last repetition raises")

    def _commit(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction; one that writes leaves a name, by which it is known after the connection was lost."""
        self._wrote = False
        with self._engine.begin() as connection:
            result = work(connection)
            if self._wrote and self._epoch is not None:
                self._begun = secrets.token_bytes(_NAME_BYTES)
                connection.execute(update(schema.epochs).values(last_write=self._begun))
        if self._wrote:
            self._last = self._begun
        return result

    def _look_for_writes(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        self._wrote = self._wrote or statement.lstrip().startswith(_WRITES)

    def _check_epoch(self, connection: DBAPIConnection) -> None:
        """Check that nobody else was coordinator while we had no connection, and that the last commit is there.

        The last one is that which was acknowledged, or a later one whose answer was lost.
        """
        if self._epoch is None:
            return
        cursor = connection.cursor()
        cursor.execute("SELECT number, last_write FROM epochs")
        number, last = cursor.fetchone() or (0, None)
        cursor.close()
        connection.rollback()
        if number == self._epoch and last in (self._last, self._begun):
            self._last = last
            return
        if number > self._epoch:
            raise StoreError(
                f"{self._backend.name}: another coordinator served this database while we could not reach it; start this one "
                "again"
            )
        raise FallenBackError("the last transaction of this coordinator")


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


def _begin_epoch(connection: Connection, name: bytes) -> int:
    migrate(connection)
    last: int | None = connection.execute(select(schema.epochs.c.number)).scalar()
    write_row(connection, schema.epochs, {"id": 1}, {"number": (last or 0) + 1, "last_write": name})
    return (last or 0) + 1


def count_epoch(connection: Connection) -> None:
    """Begin an epoch without serving: a coordinator that could not reach the database meanwhile does not write on."""
    if inspect(connection).has_table(schema.epochs.name):
        connection.execute(update(schema.epochs).values(number=schema.epochs.c.number + 1))


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
