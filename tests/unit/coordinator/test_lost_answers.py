"""What leads order happens as a whole, with its entry in the audit log, also when answers are lost or callers go away."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from testkit.conducting import LEAD, SPEC, Lossy, TurnedClock, conducting, join
from testkit.orders import order_to_close
from testkit.session_story import EVERYBODY, Story, story
from testkit.statements import make_roster
from vdb_coordinator.duties import Coordinator
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.objections import Objections
from vdb_coordinator.store import attempts, log_entries
from vdb_coordinator.store.blobs import upload_prefix
from vdb_coordinator.store.database import Database
from vdb_shared.errors import StoreError
from vdb_shared.wire.status import Phase


async def entries(database: Database) -> list[tuple[str, str]]:
    """Return actions and outcomes of the audit log."""
    return [(entry.action, entry.outcome) for entry in await database.run(attempts.load)]


async def reaches(live: LiveSession, phase: Phase) -> None:
    """Return when a session is in a phase."""
    async for status in live.watch():
        if status.phase is phase:
            return
    raise AssertionError(f"it ended before {phase}")


async def others(conductor: Conductor, live: LiveSession) -> list[str]:
    """Return the sessions beside one."""
    return [item.session for item in await conductor.summaries() if item.session != live.id]


async def is_driven(conductor: Conductor, session: str) -> None:
    """Check that a session goes on by itself when all have joined: its seal is the coordinator's."""
    live = await conductor.find(session)
    await conductor._services.transparency.publish()  # as its driver does first
    for seat in EVERYBODY:
        await join(conductor, live, seat)
    await asyncio.wait_for(reaches(live, Phase.ADVERTISING_KEYS), 20)


def test_an_opening_whose_commits_answer_was_lost_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, database):
            Lossy(database, monkeypatch, 1)
            session = await conductor.create(SPEC, make_roster(), LEAD)
            assert await others(conductor, live) == [session]
            assert (await entries(database)).count(("create session", session)) == 1
            await is_driven(conductor, session)

    asyncio.run(play())


def test_one_that_could_not_be_looked_at_either_is_driven_from_the_next_look_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, database):
            Lossy(database, monkeypatch, 2)
            with pytest.raises(StoreError, match="lost after the commit"):
                await conductor.create(SPEC, make_roster(), LEAD)
            (session,) = await others(conductor, live)
            await conductor.drive_all()
            await conductor.drive_all()
            await is_driven(conductor, session)

    asyncio.run(play())


def test_an_opening_that_was_not_stored_is_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, database):
            before = await entries(database)

            def refuse(*_: object) -> None:
                raise StoreError("the disk is full")

            with monkeypatch.context() as patch:
                patch.setattr(SessionHistory, "write", refuse)
                with pytest.raises(StoreError, match="the disk is full"):
                    await conductor.create(SPEC, make_roster(), LEAD)
            assert await others(conductor, live) == []
            assert await entries(database) == before

    asyncio.run(play())


def test_a_session_whose_driver_died_is_driven_again_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, perform = io.StringIO(), Coordinator.perform

    def deaths() -> int:
        return said.getvalue().count("session stands still")

    def fail(*_: object) -> None:
        raise RuntimeError("nobody thought of this")

    async def dies(conductor: Conductor, live: LiveSession) -> None:
        while live.id in conductor._drivers:
            await asyncio.sleep(0.01)

    async def play() -> None:
        async with conducting(tmp_path, said=said) as (conductor, live, _):
            upload = tmp_path / "uploads" / f"{upload_prefix(live.id, 0)}begun"
            conductor._services.uploads.extend(upload.name, 0, b"half of it")
            monkeypatch.setattr(Coordinator, "perform", fail)
            for seat in EVERYBODY:
                await join(conductor, live, seat)
            await asyncio.wait_for(dies(conductor, live), 20)
            assert deaths() == 1  # and no more of itself: the next look is the server's
            await conductor.drive_all()
            await asyncio.wait_for(dies(conductor, live), 20)
            assert deaths() == 2
            monkeypatch.setattr(Coordinator, "perform", perform)
            ended = await conductor.find(await conductor.create(SPEC, make_roster(), LEAD))
            await conductor.abort(ended, "wrong prompts", LEAD)
            await asyncio.wait_for(dies(conductor, ended), 20)
            assert upload.exists()
            await conductor.drive_all()
            await asyncio.wait_for(reaches(live, Phase.ADVERTISING_KEYS), 20)

    asyncio.run(play())


def joining() -> Story:
    """Return a session that four of five have joined; at least four must."""
    told = Story()
    told.join(*EVERYBODY[:4])
    return told


Order = Callable[[Conductor, LiveSession, Story], Awaitable[None]]


async def create(conductor: Conductor, _live: LiveSession, _told: Story) -> None:
    await conductor.create(SPEC, make_roster(), LEAD)


async def abort(conductor: Conductor, live: LiveSession, _told: Story) -> None:
    await conductor.abort(live, "wrong prompts", LEAD)


async def close_early(conductor: Conductor, live: LiveSession, told: Story) -> None:
    await conductor.close_early(live, order_to_close(told), LEAD)


async def withdraw(conductor: Conductor, live: LiveSession, _told: Story) -> None:
    await Objections(conductor, conductor._services).withdraw(live, "wrong clips", "", LEAD)


ORDERS = [
    (create, joining, "create session"),
    (abort, joining, "abort session"),
    (close_early, joining, "close early"),
    (withdraw, story, "withdraw result"),
]


async def events(conductor: Conductor, live: LiveSession) -> tuple[int, int]:
    """Return how many events the session has, and how many sessions there are."""
    snapshot = await conductor._services.history.load(live.id)
    return snapshot.position.sequence, len(await conductor.summaries())


@pytest.mark.parametrize(("order", "there", "action"), ORDERS, ids=[action for *_, action in ORDERS])
def test_what_a_lead_ordered_and_did_not_wait_for_stands_in_the_audit_log(
    tmp_path: Path, order: Order, there: Callable[[], Story], action: str
) -> None:
    """The attack: a lead calls and goes away at once, so that the session ends and nothing says who did it."""
    began, go = threading.Event(), threading.Event()

    async def play() -> None:
        told = there()
        async with conducting(tmp_path, TurnedClock(told.now()), told=told) as (conductor, live, database):
            await conductor._drivers.stop()  # so that whatever happens is what was ordered
            before = await events(conductor, live)
            write = SessionHistory.write

            def held(self: SessionHistory, connection: Connection, *rest: Any) -> Any:
                began.set()
                assert go.wait(20)
                return write(self, connection, *rest)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(SessionHistory, "write", held)
                calling = asyncio.ensure_future(order(conductor, live, told))
                assert await asyncio.to_thread(began.wait, 20)
                calling.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await calling
                go.set()
                await conductor.stop()
            log = conductor._services.transparency
            assert log.size == await database.run(log_entries.size)  # nobody waits for its publication either
            assert sum(await events(conductor, live)) == sum(before) + 1
            assert [found for found, _ in await entries(database)].count(action) == 1

    asyncio.run(play())


@pytest.mark.parametrize(("order", "there", "action"), ORDERS, ids=[action for *_, action in ORDERS])
def test_it_happens_together_with_its_entry_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Order, there: Callable[[], Story], action: str
) -> None:
    async def play() -> None:
        told = there()
        async with conducting(tmp_path, TurnedClock(told.now()), told=told) as (conductor, live, database):
            await conductor._drivers.stop()
            before = await events(conductor, live)

            def refuse(*_: object, **__: object) -> None:
                raise StoreError("the disk is full")

            with monkeypatch.context() as patch:
                patch.setattr(attempts, "end", refuse)
                with pytest.raises(StoreError, match="the disk is full"):
                    await order(conductor, live, told)
            assert await events(conductor, live) == before
            assert action not in [found for found, _ in await entries(database)]
            await order(conductor, live, told)
            assert sum(await events(conductor, live)) == sum(before) + 1
            assert [found for found, _ in await entries(database)].count(action) == 1

    asyncio.run(play())
