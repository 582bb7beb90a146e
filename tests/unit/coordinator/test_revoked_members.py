"""What becomes of a session when a participant of it is a member no more: in each state, as the reducer sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from testkit.session_story import EVERYBODY, STEPS, Story, story
from vdb_coordinator.events import Joined, MemberRevoked
from vdb_coordinator.logged import witnesses_for
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.sessions import apply
from vdb_coordinator.states import Accepting, Ending, Published, Sealing, phase_of, stages_of, waited_for
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

REVOKED = 4
OTHERS = EVERYBODY[:REVOKED]


def revoked(told: Story, seat: int = REVOKED) -> MemberRevoked:
    return MemberRevoked(told.now(), seat)


def test_before_it_has_joined_it_is_not_waited_for() -> None:
    told = Story()
    told.join(*OTHERS)
    assert isinstance(told.state, Accepting)
    told.add(revoked(told))
    assert phase_of(told.state) is Phase.ADVERTISING_KEYS
    assert stages_of(told.state)[REVOKED] == "revoked"


def test_its_join_is_void() -> None:
    told = Story()
    told.join(REVOKED, 0)
    told.add(revoked(told))
    assert REVOKED not in waited_for(told.state)
    with pytest.raises(RefusedError) as caught:
        told.join(REVOKED)
    assert caught.value.reason == reasons.TOO_LATE
    told.join(1, 2, 3)
    assert phase_of(told.state) is Phase.ADVERTISING_KEYS


def sealing() -> tuple[Story, Sealing]:
    """Return a session in which all have joined and the coordinator waits for witnesses."""
    told = Story()
    told.join(*OTHERS)
    other = Story()
    other.join(REVOKED)
    join = next(event for event in other.events if isinstance(event, Joined))
    state = apply(told.state, replace(join, at=told.now()))
    assert isinstance(state, Sealing)
    return told, state


def test_between_the_joins_and_the_seal_it_is_taken_out_of_the_seal_and_of_its_witnesses() -> None:
    told, state = sealing()
    without = apply(state, revoked(told))
    assert isinstance(without, Sealing)
    assert sorted(without.joins) == list(OTHERS)
    assert witnesses_for(without)[1] == frozenset(OTHERS)
    ended = apply(without, revoked(told, 3))
    assert isinstance(ended, Ending), "too few are left for a seal"
    assert "3 institutions joined" in ended.reason


@pytest.mark.parametrize("step", STEPS[1:7], ids=lambda step: step.__name__)
def test_after_the_seal_it_is_lost_like_one_that_left(step: Callable[..., None]) -> None:
    told = story(step)
    told.add(revoked(told))
    for following in STEPS[STEPS.index(step) :]:
        following(told, *OTHERS)
    assert isinstance(told.state, Published)


@pytest.mark.parametrize("step", STEPS[1:7], ids=lambda step: step.__name__)
def test_nothing_of_it_is_taken_any_more(step: Callable[..., None]) -> None:
    told = story(step)
    told.add(revoked(told))
    with pytest.raises(RefusedError):
        step(told, REVOKED)


def test_a_second_time_or_after_the_end_it_changes_nothing() -> None:
    told = Story()
    told.add(revoked(told))
    for there in (told, published()):
        with pytest.raises(RefusedError):
            there.add(revoked(there))


def published() -> Story:
    told = story(STEPS[-1])
    STEPS[-1](told, *EVERYBODY)
    assert isinstance(told.state, Published)
    return told
