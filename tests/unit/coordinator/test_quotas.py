"""What one caller may take at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.quotas import MAX_CALLS, TURNS, Quotas
from vdb_shared.wire import reasons


def test_one_call_too_many_is_refused_and_another_caller_is_not() -> None:
    async def story() -> None:
        quotas = Quotas()
        async with AsyncExitStack() as calls:
            for _ in range(MAX_CALLS):
                await calls.enter_async_context(quotas.call("greedy"))
            with pytest.raises(RefusedError) as caught:
                await calls.enter_async_context(quotas.call("greedy"))
            assert caught.value.reason == reasons.TOO_MUCH
            async with quotas.call("modest"):
                pass
        async with quotas.call("greedy"):
            pass

    asyncio.run(story())


def test_calls_of_one_caller_share_its_turns_and_no_others() -> None:
    async def story() -> None:
        quotas = Quotas()
        async with quotas.call("one") as first, quotas.call("one") as second, quotas.call("other") as other:
            assert first is second
            assert first is not other
            for _ in range(TURNS):
                await first.acquire()
            assert second.locked()
            assert not other.locked()

    asyncio.run(story())


def test_nothing_is_kept_of_callers_that_went() -> None:
    async def story() -> None:
        quotas = Quotas()
        for number in range(100):
            with pytest.raises(ZeroDivisionError):
                async with quotas.call(f"caller-{number}"):
                    raise ZeroDivisionError
        assert not quotas._shares

    asyncio.run(story())
