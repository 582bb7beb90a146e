"""Durable storage: the log's chain, receipts, blobs, migrations."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, column, delete, func, insert, inspect, select, table, text, update

from testkit.session_story import EVERYBODY, STEPS, Story, story
from vdb_coordinator.events import KeysReceived
from vdb_coordinator.serving.history import SessionHistory, Submission
from vdb_coordinator.serving.live import Snapshot
from vdb_coordinator.sessions import apply
from vdb_coordinator.store import attempts, blobs, eventlog, schema
from vdb_coordinator.store.blobs import BlobStore, UploadStore, upload_prefix
from vdb_coordinator.store.database import Database, migrate
from vdb_coordinator.store.eventlog import Position
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared.canonical import canonical_json, sha256_digest
from vdb_shared.errors import StoreError
from vdb_shared.wire.status import Phase

SESSION = "sha256:" + "1" * 64
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")


@pytest.fixture
def database(target: Path | str) -> Iterator[Database]:
    """Return an open database."""
    database = Database(target)
    asyncio.run(database.open())
    yield database
    database.close()


def migrations(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(eventlog.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))


def test_migrations_make_the_schema_that_the_code_uses(database: Database) -> None:
    assert database.run_now(differences) == []


def test_there_is_a_story_for_every_revision(database: Database) -> None:
    scripts = database.run_now(lambda connection: ScriptDirectory.from_config(migrations(connection)))
    assert sorted(script.revision for script in scripts.walk_revisions()) == list(REVISIONS)


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_any_earlier_revision_is_brought_up_to_date_with_what_it_holds(
    target: Path | str, revision: str
) -> None:
    older = Database(target)
    older.run_now(lambda connection: command.upgrade(migrations(connection), revision))
    end = append_all(older, b"1", b"2")
    older.close()
    database = Database(target)
    asyncio.run(database.open())
    assert database.run_now(differences) == []
    assert database.run_now(lambda connection: eventlog.load(connection, SESSION)) == ([b"1", b"2"], end)
    database.close()


def test_results_that_were_withdrawn_before_they_were_listed_so_are(target: Path | str) -> None:
    older, bodies = Database(target), {"1": "session-published", "2": "result-withdrawn", "3": "not JSON"}
    older.run_now(lambda connection: command.upgrade(migrations(connection), "0009"))

    def keep(connection: Connection) -> None:
        for name, kind in bodies.items():
            session, body = f"sha256:{name * 64}", canonical_json({"event": kind}) if name != "3" else b"{damaged"
            eventlog.append(connection, session, Position(), body)
            row = {"session": session, "title": "a", "phase": int(Phase.PUBLISHED), "last_event": 1, "opened": "2026"}
            connection.execute(insert(table("sessions", *map(column, row))), row)

    older.run_now(keep)
    older.close()
    database = Database(target)
    asyncio.run(database.open())
    rows = database.run_now(lambda connection: connection.execute(select(schema.sessions)).all())
    assert {row.session[7]: row.withdrawn for row in rows} == {"1": 0, "2": 1, "3": 0}
    database.close()


def test_migrations_can_be_undone(target: Path | str) -> None:
    database = Database(target)
    database.run_now(migrate)

    def down(connection: Connection) -> list[str]:
        command.downgrade(migrations(connection), "base")
        return inspect(connection).get_table_names()

    assert database.run_now(down) == ["alembic_version"]
    database.close()


def test_commits_to_a_file_are_durable_and_serialised(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite")

    def pragma(connection: Connection, name: str) -> object:
        return connection.scalar(text(f"PRAGMA {name}"))

    names = ("journal_mode", "synchronous", "foreign_keys")
    settings = {name: database.run_now(partial(pragma, name=name)) for name in names}
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()


def test_a_failing_transaction_leaves_nothing(database: Database) -> None:
    def fail(connection: Connection) -> None:
        eventlog.append(connection, SESSION, Position(), b"1")
        raise StoreError("no")

    with pytest.raises(StoreError):
        database.run_now(fail)
    assert database.run_now(lambda connection: eventlog.load(connection, SESSION)) == ([], Position())


def test_a_cancelled_caller_does_not_stop_a_transaction(database: Database) -> None:
    began, go = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        began.set()
        go.wait(10)
        eventlog.append(connection, SESSION, Position(), b"1")

    async def cancel() -> None:
        task = asyncio.ensure_future(database.run(slow))
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert database.run_now(lambda connection: eventlog.load(connection, SESSION))[0] == [b"1"]


def append_all(database: Database, *bodies: bytes) -> Position:
    position = Position()
    for body in bodies:
        position = database.run_now(partial(eventlog.append, session=SESSION, last=position, body=body))
    return position


def test_events_read_back_in_order_with_the_end_of_the_chain(database: Database) -> None:
    end = append_all(database, b"1", b"2", b"3")
    assert database.run_now(lambda connection: eventlog.load(connection, SESSION)) == ([b"1", b"2", b"3"], end)


def test_two_events_cannot_follow_the_same_one(database: Database) -> None:
    append_all(database, b"1")
    with pytest.raises(StoreError, match="somebody else"):
        append_all(database, b"other")


@pytest.mark.parametrize(
    "loss",
    [
        delete(schema.events).where(schema.events.c.sequence == 2),
        delete(schema.events),
        update(schema.events).where(schema.events.c.sequence == 2).values(digest=bytes(32)),
    ],
    ids=["last", "all", "another"],
)
def test_nothing_follows_an_event_that_is_gone_and_nothing_is_stored_from_then_on(
    database: Database, loss: object
) -> None:
    """Rows are removed under the writer: its next event would have no predecessor, and what is read then no end."""
    end = append_all(database, b"1", b"2")
    database.run_now(lambda connection: connection.execute(loss))  # type: ignore[call-overload]  # statements of several kinds

    async def append() -> None:
        await database.run(lambda connection: eventlog.append(connection, SESSION, end, b"3"))

    with pytest.raises(FallenBackError, match=f"event 2 of session {SESSION} is not in it any more"):
        asyncio.run(append())
    assert database.fallen_back.is_set()
    with pytest.raises(FallenBackError, match="event 2 of session"):
        database.run_now(lambda connection: eventlog.append(connection, "another", Position(), b"1"))


@pytest.mark.parametrize(
    "change",
    [
        update(schema.events).where(schema.events.c.sequence == 2).values(body=b"x"),
        update(schema.events).where(schema.events.c.sequence == 3).values(digest=bytes(32)),
        delete(schema.events).where(schema.events.c.sequence == 2),
        delete(schema.events).where(schema.events.c.sequence == 1),
    ],
    ids=["body", "digest", "middle", "first"],
)
def test_a_log_that_was_changed_is_noticed(database: Database, change: object) -> None:
    append_all(database, b"1", b"2", b"3")
    database.run_now(lambda connection: connection.execute(change))  # type: ignore[call-overload]  # statements of several kinds
    with pytest.raises(StoreError, match="not the one that was written"):
        database.run_now(lambda connection: eventlog.load(connection, SESSION))


def test_a_second_receipt_of_a_kind_cannot_be_stored(database: Database) -> None:
    append_all(database, b"1", b"2")
    row = {"session": SESSION, "seat": 1, "kind": "Join", "digest": bytes(32), "sequence": 1}
    database.run_now(lambda connection: connection.execute(insert(schema.receipts), row))
    with pytest.raises(StoreError):
        database.run_now(lambda connection: connection.execute(insert(schema.receipts), {**row, "sequence": 2}))


def test_a_damaged_database_is_an_error_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"db\.sqlite"):
        Database(path).run_now(lambda connection: connection.execute(text("select 1")))


def test_refusals_of_one_caller_are_bounded(database: Database) -> None:
    at = Story().now()

    def flood(connection: Connection) -> int:
        for number in range(attempts.KEPT + 50):
            attempts.record_refusal(connection, at, "spiffe://a", "enrol", f"why {number}")
        attempts.record_refusal(connection, at, "spiffe://b", "enrol", "x" * 5000)
        attempts.record(connection, at, "spiffe://lead", "invite", "a\0b")
        return connection.execute(select(func.count()).select_from(schema.attempts)).scalar_one()

    assert database.run_now(flood) == attempts.KEPT + 2


def test_a_blob_is_there_under_its_digest_or_not_at_all(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    digest = store.put(b"content")
    assert digest == sha256_digest(b"content")
    assert store.put(b"content") == digest
    assert store.get(digest) == b"content"
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [digest.removeprefix("sha256:")]
    (tmp_path / "blobs" / digest.removeprefix("sha256:")).write_bytes(b"contenT")
    with pytest.raises(StoreError, match="damaged"):
        store.get(digest)
    with pytest.raises(StoreError, match="cannot be read"):
        store.get(sha256_digest(b"other"))


def test_a_disk_that_became_read_only_refuses_a_blob_as_storage_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux asks whether the file system may be written before it looks for the file that is to be removed."""
    blobs = BlobStore(tmp_path)

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr("os.open", refuse)
        broken.setattr("os.unlink", refuse)
        with pytest.raises(StoreError, match="Read-only file system"):
            blobs.put(b"content")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "exists", refuse)
        with pytest.raises(StoreError, match="Read-only file system"):
            blobs.put(b"content")
    assert blobs.get(blobs.put(b"content")) == b"content"


def test_blobs_without_rows_are_swept(tmp_path: Path, database: Database) -> None:
    store = BlobStore(tmp_path / "blobs")
    kept, stray = store.put(b"kept"), store.put(b"stray")
    (tmp_path / "blobs" / ".half.tmp").write_bytes(b"half")
    database.run_now(lambda connection: blobs.record(connection, kept, 4))
    assert store.sweep(database.run_now(blobs.recorded)) == 2
    assert store.get(kept) == b"kept"
    with pytest.raises(StoreError):
        store.get(stray)


def test_uploads_grow_at_their_end_only(tmp_path: Path) -> None:
    store = UploadStore(tmp_path / "uploads")
    prefix = upload_prefix(SESSION, 3)
    assert store.stored(prefix + "a") == 0
    assert store.extend(prefix + "a", 0, b"12") == 2
    with pytest.raises(ValueError, match="ends at 2"):
        store.extend(prefix + "a", 0, b"12")
    store.extend(prefix + "a", 2, b"34")
    assert store.content(prefix + "a") == b"1234"
    store.extend(prefix + "b", 0, b"x")
    store.extend(upload_prefix(SESSION, 31) + "c", 0, b"x")
    store.keep_only(prefix, prefix + "b")
    assert [store.stored(name) for name in (prefix + "a", prefix + "b", upload_prefix(SESSION, 31) + "c")] == [0, 1, 1]
    store.retain([SESSION])
    assert store.stored(prefix + "b") == 1
    store.retain([])
    assert store.stored(prefix + "b") == 0
    with pytest.raises(ValueError, match="no name"):
        store.stored("../escape")


def stored(history: SessionHistory, told: Story) -> Snapshot:
    """Store a told session and return the end of its log."""

    async def play() -> Snapshot:
        snapshot = await history.create(told.events[0])  # type: ignore[arg-type]  # any field, also a wrong one, is meant
        for event in told.events[1:]:
            state = apply(snapshot.state, event)
            submission = Submission(event.seat, "AdvertiseKeys", bytes(32)) if isinstance(event, KeysReceived) else None
            snapshot = await history.append(snapshot, event, state, submission)
        return snapshot

    return asyncio.run(play())


@pytest.mark.parametrize("step", [*STEPS, None], ids=lambda step: step.__name__ if step else "end")
def test_a_session_reads_back_as_it_was_after_any_step(tmp_path: Path, database: Database, step: object) -> None:
    told = story(step)  # type: ignore[arg-type]  # any field, also a wrong one, is meant
    history = SessionHistory(database, BlobStore(tmp_path / "blobs"))
    snapshot = stored(history, told)
    again = asyncio.run(history.load(told.state.opening.session))
    assert again.state == told.state
    assert again.position == snapshot.position
    assert again.receipts == snapshot.receipts
    assert len(again.receipts) == (len(EVERYBODY) if step not in STEPS[:2] else 0)
    (summary,) = asyncio.run(history.summaries())
    assert (summary.session, summary.title) == (told.state.opening.session, told.spec.title)


def test_a_session_whose_vector_is_gone_is_an_error(tmp_path: Path, database: Database) -> None:
    told = story(Story.agree)
    history = SessionHistory(database, BlobStore(tmp_path / "blobs"))
    stored(history, told)
    next(iter((tmp_path / "blobs").iterdir())).unlink()
    with pytest.raises(StoreError, match="blob"):
        asyncio.run(history.load(told.state.opening.session))


def test_only_refusals_count_to_the_refusals_that_are_kept(database: Database) -> None:
    """A lead who did much is recorded when something is refused to it, which is when it matters."""

    def did(connection: Connection) -> list[str]:
        for number in range(attempts.KEPT):
            attempts.record(connection, NOW, "spiffe://testbed/admin/" + "x" * 300, "approve proposal", f"{number}")
        for _ in range(attempts.KEPT + 5):
            attempts.record_refusal(
                connection, NOW, "spiffe://testbed/admin/" + "x" * 300, "approve proposal", "forged"
            )
        attempts.record_refusal(connection, NOW, "another", "approve proposal", "forged")
        return [entry.outcome for entry in attempts.load(connection)]

    found = database.run_now(did)
    assert found.count("refused: forged") == attempts.KEPT + 1
    assert len(found) == 2 * attempts.KEPT + 1


def test_a_session_is_folded_while_the_database_does_other_work(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folding an old session takes long, and whoever may read one can ask for it: the only writer goes on meanwhile."""
    told = story()
    history = SessionHistory(database, BlobStore(tmp_path / "blobs"))
    stored(history, told)
    folding, go_on, real = threading.Event(), threading.Event(), SessionHistory._replayed

    def slow(self: SessionHistory, session: str, bodies: list[bytes]) -> Iterator[object]:
        folding.set()
        assert go_on.wait(20)
        return real(self, session, bodies)

    monkeypatch.setattr(SessionHistory, "_replayed", slow)

    async def both() -> Snapshot:
        loading = asyncio.ensure_future(history.load(told.state.opening.session))
        assert await asyncio.to_thread(folding.wait, 20)
        async with asyncio.timeout(20):
            await database.run(lambda connection: connection.execute(select(schema.sessions)).all())
        go_on.set()
        return await loading

    assert asyncio.run(both()).state == told.state
