"""What watchers of a session are told, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

import pytest

from testkit.session_story import Story, story
from vdb_coordinator.events import SessionFailed
from vdb_coordinator.serving.live import LiveSession, Snapshot
from vdb_coordinator.store.eventlog import Position
from vdb_shared.wire.status import Phase, SessionStatus


def live_of(told: Story, lull: float = 0.1) -> LiveSession:
    return LiveSession(snapshot_of(told), 0.0, lull)


def snapshot_of(told: Story) -> Snapshot:
    return Snapshot(told.state, Position(len(told.events), bytes(32)), {})


async def following(statuses: AsyncIterator[SessionStatus]) -> SessionStatus:
    async with asyncio.timeout(20):
        return await anext(statuses)


def test_many_changes_that_call_for_no_action_are_told_together() -> None:
    async def watched() -> None:
        live = live_of(story(Story.advertise))
        statuses = live.watch()
        await following(statuses)
        news = asyncio.ensure_future(following(statuses))
        for step in range(100):
            live.report(0, "generating", step, 100)
            await asyncio.sleep(0)
        assert (await news).sites[0].stage == "joined, says: generating 99/100"

    asyncio.run(watched())


def test_a_new_phase_is_told_at_once_also_during_a_lull() -> None:
    async def watched() -> None:
        told = story(Story.advertise)
        live = live_of(told, lull=3600)
        statuses = live.watch()
        await following(statuses)
        news = asyncio.ensure_future(following(statuses))
        live.report(0, "generating", 1, 100)
        await asyncio.sleep(0)
        told.advertise(*range(5))
        live.advance(snapshot_of(told), time.monotonic())
        assert (await news).phase is Phase.SHARING_KEYS

    asyncio.run(watched())


def test_all_watchers_are_given_the_same_object_until_something_changes() -> None:
    async def watched() -> None:
        live = live_of(story(Story.advertise))
        first, second = live.watch(), live.watch()
        shown = await following(first)
        assert await following(second) is shown
        live.report(1, "measuring", 1, 2)
        assert live.status() is not shown
        kept = live.status()
        live.report(1, "measuring", 1, 2)
        assert live.status() is kept

    asyncio.run(watched())


def test_a_clock_that_is_set_back_sets_no_session_back() -> None:
    told = story(Story.advertise)
    live, since = live_of(told), told.state.since
    assert live.moment(since + timedelta(hours=1)) == since + timedelta(hours=1)
    for now in (since, since - timedelta(hours=1), since - timedelta(days=400)):
        assert live.moment(now) == since + timedelta.resolution


def ended() -> LiveSession:
    told = story(Story.advertise)
    told.add(SessionFailed(told.now(), "aborted by the lead: wrong prompts"))
    return live_of(told)


async def told_the_end(live: LiveSession) -> AsyncGenerator[SessionStatus]:
    """Return a watch of which its watcher took that the session has ended."""
    statuses = live.watch()
    assert (await following(statuses)).phase.ended
    return statuses


async def a_while() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def test_no_watch_ends_before_everybody_who_watches_was_told_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdb_coordinator.serving.live.END_SECONDS", 3600)

    async def watched() -> None:
        live = ended()
        one, other = await told_the_end(live), await told_the_end(live)
        end = asyncio.ensure_future(anext(one, None))
        await a_while()
        assert not end.done()
        assert await anext(other, None) is None
        assert await end is None
        assert await anext(await told_the_end(live), None) is None  # who comes later waits for nobody

    asyncio.run(watched())


def test_who_hangs_up_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdb_coordinator.serving.live.END_SECONDS", 3600)

    async def watched() -> None:
        live = ended()
        one, other = await told_the_end(live), await told_the_end(live)
        end = asyncio.ensure_future(anext(one, None))
        await a_while()
        await other.aclose()
        assert await end is None

    asyncio.run(watched())


def test_who_takes_nothing_holds_up_ends_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdb_coordinator.serving.live.END_SECONDS", 0.01)

    async def watched() -> None:
        live = ended()
        one, silent = await told_the_end(live), await told_the_end(live)
        assert await anext(one, None) is None
        await silent.aclose()

    asyncio.run(watched())
