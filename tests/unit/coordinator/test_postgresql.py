"""PostgreSQL: one coordinator at a time writes, also when connections break, and errors say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, event, insert, text

from testkit.coordinator import CONSORTIUM
from testkit.postgres import PostgresServer
from testkit.session_story import Story
from vdb_coordinator.backups.making import make_backup
from vdb_coordinator.commands import root_files
from vdb_coordinator.commands.terminal import Common
from vdb_coordinator.commands.upkeep import held
from vdb_coordinator.config import Home
from vdb_coordinator.identity.founding import found, new_config
from vdb_coordinator.store import eventlog, schema
from vdb_coordinator.store.database import Database, read_database
from vdb_coordinator.store.engines import LOCK, ServedElsewhereError, backend_of
from vdb_coordinator.store.eventlog import Position
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared.errors import StoreError, UsageError

SESSION = "sha256:" + "1" * 64


@pytest.fixture
def database(postgresql: str) -> Iterator[Database]:
    database = Database(postgresql)
    asyncio.run(database.open())
    yield database
    database.close()


def name_of(url: str) -> str:
    return url.split("@/")[1].split("?", maxsplit=1)[0]


def opened(url: str) -> Database:
    database = Database(url)
    asyncio.run(database.open())
    return database


def test_transactions_are_serialisable_and_commits_durable(database: Database) -> None:
    def shown(connection: Connection) -> list[object]:
        names = ("transaction_isolation", "synchronous_commit")
        return [connection.scalar(text(f"SHOW {name}")) for name in names]

    assert database.run_now(shown) == ["serializable", "on"]


def test_a_second_coordinator_is_refused_while_the_first_serves(database: Database, postgresql: str) -> None:
    second = Database(postgresql)
    with pytest.raises(ServedElsewhereError, match="another coordinator serves this database"):
        asyncio.run(second.open())
    database.close()
    asyncio.run(second.open())
    second.close()


def test_a_second_coordinator_takes_over_when_the_first_has_gone(database: Database, postgresql: str) -> None:
    second, told = Database(postgresql), list[str]()

    async def wait() -> None:
        waiting = asyncio.ensure_future(second.open(lambda: told.append("waiting")))
        while not told:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(database.close)
        await waiting

    asyncio.run(wait())
    assert told == ["waiting"]
    second.run_now(lambda connection: eventlog.append(connection, SESSION, Position(), b"1"))
    second.close()


def test_the_lock_is_free_before_the_connection_ends(postgresql: str) -> None:
    """The server notices the end of a connection a moment later, and would refuse who comes right after."""
    engine = backend_of(postgresql).engine(lambda _: None)
    free = []

    def look(*_: object) -> None:
        with psycopg.connect(postgresql, autocommit=True) as another:
            free.append(another.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone())

    event.listen(engine, "close", look)
    with engine.connect():
        look()
    engine.dispose()
    assert free == [(False,), (True,)]


def test_a_lost_connection_is_opened_again(postgres: PostgresServer, database: Database, postgresql: str) -> None:
    first = database.run_now(lambda connection: eventlog.append(connection, SESSION, Position(), b"1"))
    postgres.drop_connections(name_of(postgresql))
    database.run_now(lambda connection: eventlog.append(connection, SESSION, first, b"2"))
    assert database.run_now(lambda connection: eventlog.load(connection, SESSION))[0] == [b"1", b"2"]


def test_who_was_cut_off_does_not_write_beside_its_successor(
    postgres: PostgresServer, database: Database, postgresql: str
) -> None:
    """The attack: it comes back, believes that it still is the coordinator, and goes on from what it remembers."""
    postgres.drop_connections(name_of(postgresql))
    successor = opened(postgresql)
    with pytest.raises(ServedElsewhereError):
        asyncio.run(database.beat(Story().now()))
    successor.close()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"another coordinator served this database .* start this one again"):
            asyncio.run(database.beat(Story().now()))


@pytest.mark.parametrize("doing", ["fsck", "root install", "backup"])
def test_who_was_cut_off_while_a_command_had_the_database_does_not_write_on(
    postgres: PostgresServer, postgresql: str, tmp_path: Path, doing: str
) -> None:
    """The attack: it loses the lock for the length of a command that believes that nobody serves."""
    home, now = Home(tmp_path / "home"), Story().now()
    found(home, new_config("testbed", "localhost:7443", "localhost:7443", postgresql), None, now)
    database = opened(postgresql)
    postgres.drop_connections(name_of(postgresql))
    common = Common(home.path, None)
    match doing:
        case "fsck":
            with held(home):
                pass
        case "root install":
            draft = tmp_path / "root.json"
            root_files.change(common, root_files.Wish((), (), None, False), draft)
            root_files.sign(common, draft, None, yes=True)
            root_files.install(common, [draft], None)
        case "backup":
            assert make_backup(home, tmp_path / "backup", now, with_keys=False).manifest.stopped
    with pytest.raises(StoreError, match="another coordinator served this database"):
        asyncio.run(database.beat(now))
    database.close()


def test_a_database_without_the_last_commit_is_written_no_more(
    postgres: PostgresServer, database: Database, postgresql: str
) -> None:
    """The attack on a coordinator that goes on: a replica that lagged takes the place of its database, and nobody served it."""
    name = name_of(postgresql)
    first = database.run_now(lambda connection: eventlog.append(connection, SESSION, Position(), b"1"))
    postgres.copy(name, f"{name}-replica")
    database.run_now(lambda connection: connection.execute(insert(schema.blobs), {"digest": "d", "size": 1}))
    postgres.fail_over(name, f"{name}-replica")
    for _ in range(2):
        with pytest.raises(FallenBackError, match=r"gone back: the last transaction .* Stop this coordinator; then"):
            database.run_now(lambda connection: eventlog.append(connection, SESSION, first, b"2"))
    assert read_database(postgresql, lambda connection: eventlog.load(connection, SESSION))[0] == [b"1"]


def test_an_older_database_that_somebody_else_served_since_is_not_ours(
    postgres: PostgresServer, database: Database, postgresql: str
) -> None:
    """Both coordinators have the same epoch: only the names of their transactions differ."""
    name = name_of(postgresql)
    database.close()
    postgres.copy(name, f"{name}-replica")
    ours = opened(postgresql)
    postgres.fail_over(name, f"{name}-replica")
    opened(postgresql).close()
    with pytest.raises(FallenBackError):
        asyncio.run(ours.beat(Story().now()))
    ours.close()


def test_a_replica_that_does_not_lag_is_served_on(
    postgres: PostgresServer, database: Database, postgresql: str
) -> None:
    name = name_of(postgresql)
    first = database.run_now(lambda connection: eventlog.append(connection, SESSION, Position(), b"1"))

    def refuse(_: Connection) -> None:
        raise StoreError("refused at the commit")

    event.listen(database._engine, "commit", refuse)
    with pytest.raises(StoreError, match="refused at the commit"):
        database.run_now(lambda connection: eventlog.append(connection, SESSION, first, b"other"))
    event.remove(database._engine, "commit", refuse)
    database.run_now(lambda connection: eventlog.load(connection, SESSION))
    postgres.copy(name, f"{name}-replica")
    postgres.fail_over(name, f"{name}-replica")
    database.run_now(lambda connection: eventlog.append(connection, SESSION, first, b"2"))
    assert database.run_now(lambda connection: eventlog.load(connection, SESSION))[0] == [b"1", b"2"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_commit_whose_answer_was_lost_may_be_there_or_not(database: Database, postgresql: str, kept: bool) -> None:
    first = database.run_now(lambda connection: eventlog.append(connection, SESSION, Position(), b"1"))

    def lose(connection: Connection) -> None:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        if kept:
            raw.commit()
        raw.close()

    event.listen(database._engine, "commit", lose)
    with pytest.raises(StoreError, match=r"nothing was stored"):
        database.run_now(lambda connection: eventlog.append(connection, SESSION, first, b"2"))
    event.remove(database._engine, "commit", lose)
    found = database.run_now(lambda connection: eventlog.load(connection, SESSION))
    assert found[0] == [b"1", b"2"][: 1 + kept]
    database.run_now(lambda connection: eventlog.append(connection, SESSION, found[1], b"3"))


def test_a_transaction_that_conflicts_is_run_again_and_leaves_nothing_before(database: Database) -> None:
    runs = []

    def conflicting(connection: Connection) -> None:
        runs.append(eventlog.append(connection, SESSION, Position(), b"1"))
        if len(runs) < 3:
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$"))

    database.run_now(conflicting)
    assert len(runs) == 3
    assert database.run_now(lambda connection: eventlog.load(connection, SESSION))[0] == [b"1"]


def test_another_error_is_told_in_one_line_and_not_repeated(database: Database, postgresql: str) -> None:
    runs = []

    def wrong(connection: Connection) -> None:
        runs.append(1)
        connection.execute(text("SELECT nothing\nFROM nowhere"))

    with pytest.raises(StoreError, match='relation "nowhere" does not exist') as caught:
        database.run_now(wrong)
    assert len(runs) == 1
    assert "\n" not in str(caught.value)
    assert name_of(postgresql) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://vdb:secret@db.example/vdb", "carries a password"),
        ("postgresql://vdb@db.example/vdb?password=secret", "carries a password"),
        ("mysql://vdb@db.example/vdb", "expected a database as postgresql://"),
        ("postgresql://vdb@db.example", "expected a database as postgresql://"),
        ("vdb", "expected a database as postgresql://"),
        ("", "expected a database as postgresql://"),
    ],
)
def test_a_wrong_address_is_told_and_a_password_never(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_a_consortium_is_founded_in_an_empty_database_only(postgresql: str, tmp_path: Path) -> None:
    config = new_config(CONSORTIUM, "127.0.0.1:0", "127.0.0.1:0", postgresql)
    first, second = Home(tmp_path / "first"), Home(tmp_path / "second")
    found(first, config, None, Story().now())
    assert first.read_config().database == postgresql
    assert not first.sqlite.exists()
    with pytest.raises(UsageError, match="holds a consortium already"):
        found(second, config, None, Story().now())
    assert not second.path.exists()


def test_a_database_that_cannot_be_reached_leaves_no_directory(tmp_path: Path) -> None:
    config = new_config(CONSORTIUM, "127.0.0.1:0", "127.0.0.1:0", f"postgresql://vdb@/vdb?host={tmp_path}")
    home = Home(tmp_path / "consortium")
    with pytest.raises(StoreError, match="No such file or directory; nothing was stored"):
        found(home, config, None, Story().now())
    assert not home.path.exists()


def test_it_is_read_beside_who_writes_and_cannot_be_changed(database: Database, postgresql: str) -> None:
    database.run_now(lambda connection: eventlog.append(connection, SESSION, Position(), b"1"))
    assert read_database(postgresql, lambda connection: eventlog.load(connection, SESSION))[0] == [b"1"]
    with pytest.raises(StoreError, match="read-only transaction"):
        read_database(postgresql, lambda connection: eventlog.append(connection, SESSION, Position(), b"2"))
