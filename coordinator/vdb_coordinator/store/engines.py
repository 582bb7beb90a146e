"""The two databases that a coordinator runs on: an SQLite file, or one database of a PostgreSQL server.

Promises that a commit is durable when it returns, that transactions are serialisable, and that one process at a time writes:
SQLite's by the lock on the coordinator's directory, PostgreSQL's by an advisory lock that the one connection holds for as long
as it lives. Leaves transactions to `database.py`.

Source: SQLite documentation: WAL, PRAGMA synchronous (FULL: with NORMAL a power cut loses acknowledged commits); PostgreSQL
documentation: §13.2.3 (serializable), §13.3.5 (advisory locks), libpq connection parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from vdb_shared.errors import StoreError, UsageError

OnConnect = Callable[[DBAPIConnection], None]
"""Called with every new connection, before its first transaction."""

LOCK: Final = int.from_bytes(b"vdb-lock", "big")
"""The advisory lock's number, the same for all coordinators; each database has locks of its own."""

_SERIALISATION: Final = frozenset({"40001", "40P01"})
"""SQLSTATE of a transaction that may succeed when it is run again."""


class ServedElsewhereError(StoreError):
    """Another coordinator serves the database."""


class Backend(Protocol):
    """A kind of database, at some place."""

    @property
    def name(self) -> str:
        """Where it is, for errors; without secrets."""
        ...

    def engine(self, on_connect: OnConnect) -> Engine:
        """Return an engine with one connection, which is opened when it is first needed, and again when it was lost."""
        ...

    def reader(self) -> Engine:
        """Return an engine that can change nothing, and may be used beside the process that writes."""
        ...

    def is_worth_repeating(self, error: DBAPIError) -> bool:
        """Return whether a transaction that failed like this may succeed at once."""
        ...


def backend_of(target: Path | str) -> Backend:
    """Return the database that is meant.

    Args:
        target: an SQLite file, or the URL of a PostgreSQL database.

    Raises:
        UsageError: the URL is none, or carries a password.
    """
    return SqliteFile(target) if isinstance(target, Path) else PostgresqlDatabase(postgresql_url(target))


def postgresql_url(text: str) -> URL:
    """Return the URL of a PostgreSQL database.

    Raises:
        UsageError: it is none, or carries a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"{text!r}: expected a database as postgresql://USER@HOST:PORT/NAME") from error
    if url.get_backend_name() != "postgresql" or not url.database:
        raise UsageError(f"{text!r}: expected a database as postgresql://USER@HOST:PORT/NAME")
    if url.password is not None or "password" in url.query:
        raise UsageError(
            "the database's URL carries a password, which would stand in configuration and errors; put it into ~/.pgpass "
            "(or PGPASSFILE), with mode 0600"
        )
    return url.set(drivername="postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """One SQLite file, opened by one process; implements Backend."""

    path: Path

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    def engine(self, on_connect: OnConnect) -> Engine:
        """Return an engine in WAL mode that syncs at every commit."""
        engine = create_engine(
            f"sqlite:///{self.path}",
            poolclass=StaticPool,
            connect_args={"timeout": 10, "check_same_thread": False, "isolation_level": None},
        )

        @event.listens_for(engine, "connect")
        def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
            on_connect(connection)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        return engine

    def reader(self) -> Engine:
        """Return an engine that opens the file for reading."""
        return create_engine(f"sqlite:///file:{quote(str(self.path.absolute()))}?mode=ro&uri=true")

    def is_worth_repeating(self, error: DBAPIError) -> bool:
        """Return False: there is one writer, which waits for locks."""
        del error
        return False


@dataclass(frozen=True, slots=True)
class PostgresqlDatabase:
    """One database of a PostgreSQL server, for one coordinator at a time; implements Backend."""

    url: URL

    @property
    def name(self) -> str:
        """The URL."""
        return self.url.set(drivername="postgresql").render_as_string()

    def engine(self, on_connect: OnConnect) -> Engine:
        """Return an engine whose connection holds the lock, and whose loss both sides notice within ten seconds."""
        session = {
            "synchronous_commit": "on",
            "tcp_keepalives_idle": "3",
            "tcp_keepalives_interval": "2",
            "tcp_keepalives_count": "2",
        }
        engine = create_engine(
            self.url,
            poolclass=StaticPool,
            pool_pre_ping=True,
            isolation_level="SERIALIZABLE",
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": 3,
                "keepalives_interval": 2,
                "keepalives_count": 2,
                "tcp_user_timeout": 7000,
                "application_name": "vdb-coordinator",
                "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
            },
        )

        @event.listens_for(engine, "connect")
        def _hold(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            try:
                self._lock(connection)
                on_connect(connection)
            except BaseException:
                connection.close()
                raise

        @event.listens_for(engine, "close")
        def _release(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            """Let go of the lock before the connection ends, which the server notices later than whoever comes next."""
            with suppress(engine.dialect.loaded_dbapi.Error):
                connection.cursor().execute("SELECT pg_advisory_unlock_all()")
                connection.commit()

        return engine

    def reader(self) -> Engine:
        """Return an engine whose transactions are read-only, and which asks for no lock."""
        return create_engine(
            self.url,
            isolation_level="SERIALIZABLE",
            connect_args={"connect_timeout": 5, "options": "-c default_transaction_read_only=on"},
        )

    def is_worth_repeating(self, error: DBAPIError) -> bool:
        """Return whether it was a conflict with another transaction."""
        return getattr(error.orig, "sqlstate", None) in _SERIALISATION

    def _lock(self, connection: DBAPIConnection) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
        row = cursor.fetchone()
        cursor.close()
        connection.commit()
        if row is None or row[0] is not True:
            raise ServedElsewhereError(f"{self.name}: another coordinator serves this database")
