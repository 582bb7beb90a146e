"""What one caller may take at once."""

from __future__ import annotations

import asyncio

import pytest

from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.quotas import COMMON_CALLS, INVITED_CALLS, MAX_CALLS, OWN_CALLS, TURNS, Quotas
from vdb_coordinator.serving import limits
from vdb_shared.wire import reasons


def refused(quotas: Quotas, caller: str, most: int = MAX_CALLS) -> bool:
    """Return whether a caller gets no further call."""
    try:
        quotas.begin(caller, most)
    except RefusedError as error:
        return error.reason == reasons.TOO_MUCH
    quotas.end(caller)
    return False


@pytest.mark.parametrize("most", [MAX_CALLS, INVITED_CALLS])
def test_one_call_too_many_is_refused_and_another_caller_is_not(most: int) -> None:
    quotas = Quotas()
    for _ in range(most):
        assert not refused(quotas, "greedy", most)
        quotas.begin("greedy", most)
    assert refused(quotas, "greedy", most)
    assert not refused(quotas, "modest", most)
    quotas.end("greedy")
    assert not refused(quotas, "greedy", most)


def test_a_few_callers_that_take_all_they_get_leave_everybody_calls_of_its_own() -> None:
    quotas, greedy = Quotas(), [f"greedy-{number}" for number in range(50)]
    taken = 0
    for caller in greedy:
        while not refused(quotas, caller):
            quotas.begin(caller)
            taken += 1
    assert taken < COMMON_CALLS + len(greedy) * OWN_CALLS < limits.MAX_CALLS, "the transport's limit is not reached"
    for _ in range(OWN_CALLS):
        assert not refused(quotas, "modest")
        quotas.begin("modest")
    assert refused(quotas, "modest")
    for caller in greedy[:3]:
        for _ in range(MAX_CALLS):
            quotas.end(caller)
    assert not refused(quotas, "modest"), "it gets more again"


def test_calls_of_one_caller_share_its_turns_and_no_others() -> None:
    async def story() -> None:
        quotas = Quotas()
        first, second, other = quotas.begin("one"), quotas.begin("one"), quotas.begin("other")
        assert first is second
        assert first is not other
        for _ in range(TURNS):
            await first.acquire()
        assert second.locked()
        assert not other.locked()

    asyncio.run(story())


def test_nothing_is_kept_of_callers_that_went() -> None:
    quotas = Quotas()
    for number in range(100):
        quotas.begin(f"caller-{number}")
        assert refused(quotas, f"caller-{number}", 1)
        quotas.end(f"caller-{number}")
        assert refused(quotas, f"caller-{number}", 0)
    assert not quotas._shares
    assert not quotas._calls
