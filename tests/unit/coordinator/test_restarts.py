"""The reducer and complaints: who is left out, what begins again, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testkit.consortium import expect
from testkit.session_story import EVERYBODY, STEPS, Story, forged, story
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS
from vdb_coordinator import sessions
from vdb_coordinator.events import ComplaintReceived, KeysReceived, SessionOpened
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import CollectingKeys
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import (
    Aborted,
    Aggregating,
    Finalising,
    Published,
    SessionState,
    attempt_of,
    phase_of,
    reason_of,
    seconds_allowed,
    stages_of,
)
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.restarts import encode_restarts
from vdb_shared.errors import ProtocolError
from vdb_shared.secagg.restarts import verify_restart
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

DEALER = 4
OTHERS = EVERYBODY[:DEALER]


def spoilt(*holders: int) -> Story:
    """Return a session in which one dealer sealed garbage for some, and masked inputs are awaited."""
    told = story(Story.share)
    told.share(*OTHERS)
    told.share_spoiled(DEALER, holders or (0,))
    return told


def restarted() -> Story:
    """Return a session in which two sent masked inputs and seat 0 complained."""
    told = spoilt()
    told.mask(2, 3)
    told.add(told.complaint(0, DEALER))
    return told


def refused(told: Story, event: ComplaintReceived | KeysReceived) -> str:
    """Return the reason for which an event is refused that must leave no trace."""
    before = told.state
    with pytest.raises(RefusedError) as caught:
        told.add(event)
    assert told.state is before
    return caught.value.reason


def test_the_rounds_begin_again_without_the_dealer_and_reach_a_result() -> None:
    told = restarted()
    state = expect(Aggregating, told.state)
    assert (attempt_of(state), phase_of(state)) == (1, Phase.ADVERTISING_KEYS)
    assert state.contributions == {}
    assert stages_of(state) == {**dict.fromkeys(OTHERS, "joined"), DEALER: "left out"}
    assert expect(CollectingKeys, state.rounds).missing == frozenset(OTHERS)
    for step in STEPS[1:]:
        step(told, *OTHERS)
        if isinstance(told.state, Finalising):
            assert told.state.draft.needed == 4
            assert told.state.draft.survivors == frozenset(OTHERS)
    published = expect(Published, told.state)
    assert attempt_of(published) == 1
    assert stages_of(published) == {**dict.fromkeys(OTHERS, "countersigned"), DEALER: "left out"}
    report = verify(told.blobs[published.archive], root=told.state.opening.signed_roster.root_fingerprint)
    assert not [line for line in report.lines if line.status.value == "FAIL" and line.id != "V34"]


def test_the_record_holds_for_whoever_knows_the_seal() -> None:
    state = expect(Aggregating, restarted().state)
    following = verify_restart(state.sealed.parameters, state.restarts[0], "coordinator")
    assert following == expect(CollectingKeys, state.rounds).parameters
    assert following.left_out == {DEALER}


def test_records_of_restarts_are_kept_in_their_order() -> None:
    """Each is verified under what the one before it gives; five institutions have but one, so an earlier one is put there."""
    earlier = expect(Aggregating, restarted().state).restarts[0]
    told = story(Story.share)
    told.share(0, 1, 2, DEALER)
    told.share_spoiled(3, [1])
    before = replace(expect(Aggregating, told.state), restarts=(earlier,))
    after = expect(Aggregating, apply(before, told.complaint(1, 3)))
    assert [(restart.dealer, restart.complainer) for restart in after.restarts] == [(DEALER, 0), (3, 1)]


def test_states_follow_from_events_alone_and_move_forward_by_attempt_and_phase() -> None:
    told = restarted()
    for step in STEPS[1:]:
        step(told, *OTHERS)
    state: SessionState = opened(expect(SessionOpened, told.events[0]))
    order = [(attempt_of(state), phase_of(state))]
    for event in told.events[1:]:
        state = apply(state, event)
        order.append((attempt_of(state), phase_of(state)))
    assert state == told.state
    assert order == sorted(order)


def test_what_begins_again_has_been_computed_already() -> None:
    told = Story(small_spec(deadlines="{ joining = 1, computing = 2, round = 3, countersigning = 4 }"))
    told.join(*EVERYBODY)
    assert seconds_allowed(told.state) == 2
    told.advertise(*EVERYBODY)
    told.share(*OTHERS)
    told.share_spoiled(DEALER, [1])
    told.add(told.complaint(1, DEALER))
    assert phase_of(told.state) is Phase.ADVERTISING_KEYS
    assert seconds_allowed(told.state) == 3
    assert told.state.since == told.events[-1].at


def test_a_complaint_is_taken_whether_or_not_it_is_true_since_nobody_can_tell() -> None:
    told = spoilt()
    told.add(told.complaint(1, 2))
    state = expect(Aggregating, told.state)
    assert [(restart.complainer, restart.dealer) for restart in state.restarts] == [(1, 2)]


def test_complaints_that_break_a_rule_change_nothing() -> None:
    told = spoilt()
    before, good = told.state, told.complaint(0, DEALER)
    for wrong in (
        told.complaint(0, 0),
        replace(good, seat=1),
        replace(good, complaint=forged(good.complaint)),
    ):
        with pytest.raises(ProtocolError) as caught:
            told.add(wrong)
        assert caught.value.peer == f"seat {wrong.seat}"
    assert told.state is before


def test_nobody_complains_about_somebody_who_shared_no_keys() -> None:
    told = story(Story.share)
    told.share(*OTHERS)
    told.expire()
    before = told.state
    with pytest.raises(ProtocolError, match="shared no keys"):
        told.add(told.complaint(0, DEALER))
    assert told.state is before


def test_a_second_complaint_of_a_seat_changes_nothing_in_any_attempt() -> None:
    told = Story()
    for step in STEPS[:3]:
        step(told, *EVERYBODY)
    told.add(told.complaint(0, DEALER))
    told.advertise(*OTHERS)
    told.share(*OTHERS)
    before = told.state
    with pytest.raises(ProtocolError, match="a second time"):
        told.add(told.complaint(0, 3))
    assert told.state is before
    for step in STEPS[3:]:
        step(told, *OTHERS)
    assert attempt_of(expect(Published, told.state)) == 1


def test_a_restart_whose_record_no_bundle_can_hold_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encode_restarts(expect(Aggregating, restarted().state).restarts))
    monkeypatch.setattr(sessions, "MAX_JSON_BYTES", size)
    assert isinstance(restarted().state, Aggregating)
    monkeypatch.setattr(sessions, "MAX_JSON_BYTES", size - 1)
    told = spoilt()
    told.add(told.complaint(0, DEALER))
    assert expect(Aborted, told.state).reason == "restarted 1 times: no bundle could hold the records of more"


def test_nobody_complains_after_its_masked_input() -> None:
    told = spoilt()
    complaint = told.complaint(2, DEALER)
    told.mask(2)
    before = told.state
    with pytest.raises(ProtocolError, match="after its masked input"):
        told.add(complaint)
    assert told.state is before


def test_complaints_are_taken_while_masked_inputs_are_awaited_and_never_else() -> None:
    whole = spoilt()
    complaint = whole.complaint(0, DEALER)
    for until in STEPS:
        if until is not Story.mask:
            early = STEPS.index(until) < STEPS.index(Story.mask)
            assert refused(story(until), complaint) == (reasons.NOT_YET if early else reasons.TOO_LATE)
    assert refused(story(), complaint) == reasons.TOO_LATE


def test_one_attempt_is_given_up_for_one_complaint() -> None:
    told = spoilt(0, 1)
    first, second = told.complaint(0, DEALER), told.complaint(1, DEALER)
    told.add(first)
    for complaint in (first, second):
        assert refused(told, complaint) == reasons.NOT_YET
    told.advertise(*OTHERS)
    told.share(*OTHERS)
    before = told.state
    for complaint in (first, second):
        with pytest.raises(ProtocolError, match="T1"):
            told.add(complaint)
    assert told.state is before
    assert attempt_of(told.state) == 1


def test_messages_of_the_attempt_that_was_given_up_do_not_count_in_the_next() -> None:
    told = restarted()
    keys = next(event for event in told.events if isinstance(event, KeysReceived))
    before = told.state
    with pytest.raises(ProtocolError, match="session"):
        told.add(keys)
    assert told.state is before


def test_who_was_left_out_stays_out() -> None:
    told = restarted()
    keys = next(event for event in told.events if isinstance(event, KeysReceived) and event.seat == DEALER)
    assert refused(told, keys) == reasons.TOO_LATE
    told.advertise(*OTHERS)
    told.share(*OTHERS)
    assert refused(told, replace(told.complaint(0, 1), seat=DEALER)) == reasons.TOO_LATE


def test_too_few_without_the_dealer_abort_the_session_in_its_name() -> None:
    told = restarted()
    told.advertise(*OTHERS)
    told.share(0, 1, 2)
    told.share_spoiled(3, [1])
    told.add(told.complaint(1, 3))
    aborted = expect(Aborted, told.state)
    names = f"{INSTITUTIONS[1]} cannot open what {INSTITUTIONS[3]} sealed for it"
    assert aborted.reason.startswith(f"round masked-input: {names}, and without {INSTITUTIONS[3]} only 3 of at least 4")
    assert attempt_of(aborted) == 1


def test_who_left_is_not_counted_on_for_the_next_attempt() -> None:
    told = spoilt()
    told.leave(1)
    assert attempt_of(told.state) == 0
    told.add(told.complaint(0, DEALER))
    expect(Aborted, told.state)
    assert f"without {INSTITUTIONS[DEALER]} only 3 of at least 4" in reason_of(told.state)
