"""Running sessions without gRPC: cancelled callers, racing resends, overtaken deadlines."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete

from testkit.conducting import LEAD, SPEC, TurnedClock, conducting, join, witness
from testkit.statements import make_roster
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.states import Aborted, Accepting, Ending
from vdb_coordinator.store import schema
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared.errors import StoreError
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.note import parse_note
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase


def test_a_session_is_not_taken_back_to_what_a_database_has_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error the log is read again, since the event may be there: not for going back behind a receipt."""

    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, database):
            await join(conductor, live, 0)
            before = live.snapshot

            def lose(connection: Connection) -> None:
                connection.execute(delete(schema.receipts))
                connection.execute(delete(schema.events).where(schema.events.c.sequence == before.position.sequence))

            async def full(*_: object) -> None:
                raise StoreError("the disk is full")

            await database.run(lose)
            with monkeypatch.context() as patch:
                patch.setattr(SessionHistory, "append", full)
                with pytest.raises(StoreError, match="the disk is full"):
                    await join(conductor, live, 1)
            assert live.snapshot is before
            with pytest.raises(FallenBackError, match=f"event {before.position.sequence} of session"):
                await join(conductor, live, 0)

    asyncio.run(play())


def test_what_a_cancelled_caller_began_is_finished(tmp_path: Path) -> None:
    began, go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        began.set()
        go.wait(10)

    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, database):
            await witness(conductor, live, 0)
            holding = asyncio.ensure_future(database.run(hold))
            await asyncio.to_thread(began.wait, 10)
            news = live.news()
            caller = asyncio.ensure_future(join(conductor, live, 0))
            while not live.lock.locked():
                await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            go.set()
            await holding
            await asyncio.wait_for(news.wait(), 10)
            assert isinstance(live.state, Accepting)
            assert set(live.state.joins) == {0}
            assert await join(conductor, live, 0) == live.snapshot.receipts[0, "Join"]

    asyncio.run(play())


def test_racing_submissions_of_one_seat_leave_one_event(tmp_path: Path) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, _):
            same = await asyncio.gather(*(join(conductor, live, 1) for _ in range(10)))
            assert len(set(same)) == 1
            assert live.snapshot.position.sequence == 2
            with pytest.raises(RefusedError) as caught:
                await join(conductor, live, 1, digest=b"\x01" * 32)
            assert caught.value.reason == reasons.CONFLICT
            assert live.snapshot.position.sequence == 2

    asyncio.run(play())


def test_all_seats_at_once_all_get_their_receipts(tmp_path: Path) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, _):
            receipts = await asyncio.gather(*(join(conductor, live, seat) for seat in range(5)))
            assert sorted(receipt.event for receipt in receipts) == [2, 3, 4, 5, 6]
            async for status in live.watch():
                if status.phase is Phase.ADVERTISING_KEYS:
                    break

    asyncio.run(play())


def test_it_stops_also_when_news_comes_at_that_moment(tmp_path: Path) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (_, live, _):
            await asyncio.sleep(0)
            live.report(0, "generating", 1, 2)

    asyncio.run(asyncio.wait_for(play(), 20))


def test_a_deadline_that_was_overtaken_changes_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, _):
            for seat in range(4):
                await join(conductor, live, seat)
            first, second = (conductor.expire(live, Phase.ACCEPTING) for _ in range(2))
            await asyncio.gather(first, second)
            async for status in live.watch():
                if status.phase is not Phase.ACCEPTING:
                    assert status.phase is Phase.ADVERTISING_KEYS
                    break
            late = live.snapshot.position
            await conductor.expire(live, Phase.ACCEPTING)  # fires while the phase after it begins
            assert live.snapshot.position == late
            await conductor.expire(live, Phase.ADVERTISING_KEYS)
            assert live.snapshot.position != late

    asyncio.run(play())


def test_after_a_restart_a_phase_lasts_at_least_one_round_longer(tmp_path: Path) -> None:
    clock = TurnedClock()

    async def play(seconds: int) -> Phase:
        async with conducting(tmp_path, clock) as (_, live, _):
            clock.moment += timedelta(seconds=seconds)
            news = live.news()
            live.report(0, "", 0, 0)
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert news.is_set()
            return live.status().phase

    assert asyncio.run(play(0)) is Phase.ACCEPTING
    clock.moment += timedelta(hours=20)
    assert asyncio.run(play(0)) is Phase.ACCEPTING
    assert asyncio.run(play(3599)) is Phase.ACCEPTING
    assert asyncio.run(play(3601)) is Phase.ABORTED


def test_progress_is_shown_cleaned_while_computing_only(tmp_path: Path) -> None:
    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, _):
            live.report(0, "generating\x1b[31m" + "x" * 500, 1, 2)
            assert live.status().sites[0].stage == "has not joined"
            await asyncio.gather(*(join(conductor, live, seat) for seat in range(5)))
            async for status in live.watch():
                if status.phase is Phase.ADVERTISING_KEYS:
                    break
            stage = live.status().sites[0].stage
            assert stage.startswith("joined, says: generating[31mx")
            assert stage.endswith(" 1/2")
            assert len(stage) < 85

    asyncio.run(play())


def test_a_session_that_was_failing_when_the_process_died_ends_after_the_restart(tmp_path: Path) -> None:
    """The abort is signed and logged by the next life: monitors must not wait for ever for an honest coordinator."""

    async def die(path: Path) -> str:
        async with conducting(path) as (conductor, live, _):
            await conductor._drivers.stop()  # the process dies before its driver signs the abort
            await conductor.abort(live, "the lead thought better of it", LEAD)
            assert isinstance(live.state, Ending)
            return live.id

    async def live_again(path: Path) -> None:
        async with conducting(path) as (conductor, live, _):
            while not isinstance(live.state, Aborted):
                await live.news().wait()
            assert [item.phase for item in await conductor.summaries()] == [Phase.ABORTED]

    session = asyncio.run(die(tmp_path))
    assert session
    asyncio.run(asyncio.wait_for(live_again(tmp_path), 20))


def test_what_members_are_shown_of_the_log_is_of_one_moment(tmp_path: Path) -> None:
    """While the files of a longer log are written, the shorter one is shown whole."""

    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, _):
            log = conductor._services.transparency
            write, shown = log._publish, []

            def slow(entries: list[bytes]) -> None:
                write(entries)
                shown.append(conductor.log_view(live, 0).checkpoint)

            log._publish = slow  # type: ignore[method-assign] # looks at the log from within its writing
            await conductor.create(SPEC, make_roster(), LEAD)
            sizes = [
                parse_checkpoint(parse_note(note).text).size
                for note in (*shown, conductor.log_view(live, 0).checkpoint)
            ]
            assert sizes == [1, 2]

    asyncio.run(play())


def test_the_log_says_an_end_at_once_and_is_not_looked_up_before_every_step(tmp_path: Path) -> None:
    """Nobody looks after the log here but the session's own driver; each look of it is one more turn of the database."""

    async def play() -> None:
        async with conducting(tmp_path) as (conductor, live, _):
            log = conductor._services.transparency
            look, looks = log._unpublished, []

            def counted(connection: Connection) -> list[bytes] | None:
                looks.append(log.size)
                return look(connection)

            log._unpublished = counted  # type: ignore[method-assign] # looks as before, and is counted
            await join(conductor, live, 0)
            for done in range(20):
                live.report(0, "generating", done, 20)
                await asyncio.sleep(0)
            assert (log.size, looks) == (1, [])
            await conductor.abort(live, "the lead thought better of it", LEAD)
            while live.id in conductor._drivers:
                await asyncio.sleep(0.001)
            assert (log.size, looks) == (2, [1])

    asyncio.run(asyncio.wait_for(play(), 20))
