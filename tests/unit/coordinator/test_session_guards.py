"""The reducer's guards that a well-behaved service never needs, since it checks before: they hold all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testkit.consortium import expect, signer
from testkit.session_story import Story, story
from testkit.statements import sign
from vdb_coordinator.events import SessionOpened, SessionSealed
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import Aggregating, Sealing, SessionState
from vdb_shared.bundle.statement import Seal, parse_statement
from vdb_shared.errors import SignatureError
from vdb_shared.wire import reasons


def test_who_left_in_a_round_sends_nothing_more_in_it() -> None:
    told = story(Story.share)
    told.leave(4)
    before = told.state
    with pytest.raises(RefusedError) as caught:
        told.share(4)
    assert caught.value.reason == reasons.TOO_LATE
    assert told.state is before


def test_a_second_join_of_a_seat_is_refused() -> None:
    told = Story()
    told.join(0)
    before = told.state
    with pytest.raises(RefusedError) as caught:
        told.join(0)
    assert caught.value.reason == reasons.CONFLICT
    assert told.state is before


def test_a_seal_that_the_coordinator_did_not_sign_seals_nothing() -> None:
    told = story(Story.advertise)
    state: SessionState = opened(expect(SessionOpened, told.events[0]))
    for event in told.events[1:]:
        if isinstance(event, SessionSealed):
            seal, _ = parse_statement(event.seal.payload, Seal)
            sealing = expect(Sealing, state)
            with pytest.raises(SignatureError):
                apply(sealing, replace(event, seal=sign(seal, signer(0, 1))))
            assert isinstance(apply(sealing, event), Aggregating)
            return
        state = apply(state, event)
    pytest.fail("no seal was told of")
