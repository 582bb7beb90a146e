"""The reducer: what each event does to a session, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from testkit.consortium import expect, signer
from testkit.session_story import BEGIN, EVERYBODY, STEPS, Story, forged, story
from testkit.small_specs import small_spec
from testkit.statements import make_join, make_roster, sign
from vdb_coordinator.events import (
    ConsistencyReceived,
    Countersigned,
    DeadlinePassed,
    Event,
    Joined,
    KeysReceived,
    MemberAborted,
    SessionFailed,
    SessionOpened,
)
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import CollectingShares
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import (
    Aborted,
    Accepting,
    Aggregating,
    Finalising,
    Published,
    SessionState,
    may_contribute,
    phase_of,
    reason_of,
    seconds_allowed,
    stages_of,
)
from vdb_shared import labels
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import sign_envelope
from vdb_shared.bundle.statement import Abort, Join, parse_statement
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, ProtocolError, SignatureError, VdbError
from vdb_shared.secagg.messages import Signed
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

DRAFTED = Story.countersign


def refusal(told: Story, act: Callable[[Story], None]) -> RefusedError:
    """Return why something is refused that must leave no trace."""
    before = told.state
    with pytest.raises(RefusedError) as caught:
        act(told)
    assert told.state is before
    return caught.value


def refused(told: Story, event: Event) -> str:
    """Return the reason for which an event is refused."""
    return refusal(told, lambda it: it.add(event)).reason


def aborted(told: Story) -> Aborted:
    state = expect(Aborted, told.state)
    abort, _ = parse_statement(state.abort.payload, Abort)
    assert abort.reason == state.reason
    return state


def test_a_whole_session_is_published_and_its_bundle_verifies() -> None:
    told = story()
    published = expect(Published, told.state)
    report = verify(told.blobs[published.archive], root=told.state.opening.signed_roster.root_fingerprint)
    failed = [line for line in report.lines if line.status.value == "FAIL" and line.id != "V34"]
    assert not failed
    assert set(stages_of(told.state).values()) == {"countersigned"}


def test_states_follow_from_events_alone() -> None:
    told = story()
    state: SessionState = opened(expect(SessionOpened, told.events[0]))
    phases = [phase_of(state)]
    for event in told.events[1:]:
        state = apply(state, event)
        phases.append(phase_of(state))
    assert state == told.state
    assert phases == sorted(phases)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_message_is_refused_before_and_after_its_phase(step: Callable[..., None]) -> None:
    whole = story()
    early, late = story(step), story(STEPS[STEPS.index(step) + 1] if step is not STEPS[-1] else None)
    own = late.events[len(early.events) : len(early.events) + len(EVERYBODY)]
    following = whole.events[len(late.events) :]
    for event in own:
        assert refused(late, event) == reasons.TOO_LATE
    for event in following:
        if not isinstance(event, SessionFailed):
            assert refused(early, event) in (reasons.NOT_YET, reasons.TOO_LATE)


def test_too_few_joins_at_the_deadline_abort() -> None:
    told = Story()
    told.join(0, 1, 2)
    told.expire()
    assert "3 institutions joined" in aborted(told).reason
    assert phase_of(told.state) is Phase.ABORTED


def test_enough_joins_at_the_deadline_go_on_without_the_others() -> None:
    told = Story()
    told.join(0, 1, 3, 4)
    told.expire()
    assert set(expect(Aggregating, told.state).sealed.joins) == {0, 1, 3, 4}
    assert stages_of(told.state)[2] == "did not join"
    told.advertise(0)
    stranger = replace(expect(KeysReceived, told.events[-1]), seat=2)
    assert refused(told, stranger) == reasons.NOT_A_MEMBER


@pytest.mark.parametrize(
    "change",
    [
        {"session": "sha256:" + "0" * 64},
        {"spec": "sha256:" + "0" * 64},
        {"roster": "sha256:" + "0" * 64},
        {"institution": "film-studio"},
        {"seat": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_joins_must_be_about_this_session_and_their_signer(change: dict[str, object]) -> None:
    told = Story()
    good = make_join(told.state.opening.open, told.spec, make_roster(), 0, 0)
    predicate, _ = parse_statement(good.payload, Join)
    wrong = sign(predicate.model_copy(update=change), signer(0, 0))
    with pytest.raises(ProtocolError, match=f"{next(iter(change))} in its join") as caught:
        told.add(Joined(told.now(), 0, wrong))
    assert caught.value.peer == "seat 0"


def test_joins_need_the_signature_of_their_seat_alone() -> None:
    told = Story()
    good = make_join(told.state.opening.open, told.spec, make_roster(), 0, 0)
    for keys in ([signer(0, 1)], [signer(0, 0), signer(0, 1)]):
        with pytest.raises(SignatureError):
            told.add(Joined(told.now(), 0, sign_envelope(labels.TYPE_STATEMENT, good.payload, *keys)))


def test_a_statement_of_another_kind_is_no_join() -> None:
    told = Story()
    told.leave(4)
    abort = expect(MemberAborted, told.events[-1]).abort
    told = Story()
    with pytest.raises(FormatError, match="join"):
        told.add(Joined(told.now(), 4, abort))


def test_who_leaves_while_joining_is_not_waited_for_and_cannot_come_back() -> None:
    told = Story()
    told.join(0)
    told.leave(0)
    told.leave(1, reason="no data")
    assert refusal(told, lambda again: again.join(0)).reason == reasons.TOO_LATE
    told.join(2, 3)
    told.join(4)
    assert "3 institutions joined" in aborted(told).reason


def test_once_too_few_are_left_to_join_nobody_is_waited_for() -> None:
    """Another event of the log, not another meaning of those that are there: logs that were written before read as they did."""
    told = Story()
    told.join(0)
    told.leave(0)
    assert seconds_allowed(told.state) == told.state.opening.spec.deadlines.joining
    told.leave(1, reason="no data")
    assert seconds_allowed(told.state) == 0
    told.expire()
    assert "0 institutions joined, the spec asks for at least 4" in aborted(told).reason


def test_who_leaves_in_a_round_is_not_waited_for() -> None:
    told = story(Story.share)
    told.share(0, 1, 2, 3)
    assert isinstance(told.rounds(CollectingShares), CollectingShares)
    told.leave(4)
    assert phase_of(told.state) is Phase.MASKING_INPUT
    assert stages_of(told.state)[4] == "left"
    told.mask(0, 1, 2, 3)
    assert phase_of(told.state) is Phase.CONSISTENCY


def test_an_abort_must_be_about_this_session() -> None:
    told = story(Story.advertise)
    with pytest.raises(ProtocolError, match="session in its abort"):
        told.leave(0, session="sha256:" + "0" * 64)
    with pytest.raises(ProtocolError, match="institution in its abort"):
        told.leave(0, institution="film-studio")


@pytest.mark.parametrize("step", STEPS[1:6], ids=lambda step: step.__name__)
def test_one_dropout_in_a_round_is_tolerated(step: Callable[..., None]) -> None:
    told = story(step)
    there = EVERYBODY
    for following in STEPS[STEPS.index(step) :]:
        if following is step:
            there = EVERYBODY[:-1]
            following(told, *there)
            if following is not Story.reveal:
                told.expire()
        else:
            following(told, *there)
            if isinstance(told.state, Finalising) and following is Story.countersign:
                told.expire()
    assert isinstance(told.state, Published)


@pytest.mark.parametrize("step", STEPS[1:6], ids=lambda step: step.__name__)
def test_too_many_dropouts_abort_with_the_round_in_the_reason(step: Callable[..., None]) -> None:
    told = story(step)
    step(told, 0, 1)
    told.expire()
    assert "round " in aborted(told).reason


def test_masked_inputs_are_refused_unless_their_contribution_is_about_them() -> None:
    told = story(Story.mask)
    for field, value in (
        ("session", "sha256:" + "0" * 64),
        ("seal", "sha256:" + "0" * 64),
        ("institution", "film-studio"),
        ("seat", 3),
        ("masked_input", "sha256:" + "0" * 64),
    ):
        with pytest.raises(ProtocolError, match="in its contribution"):
            told.add(told.masked(0, **{field: value}))
    good, other = told.masked(0), told.masked(1)
    with pytest.raises(SignatureError):
        told.add(replace(good, contribution=other.contribution))
    with pytest.raises(VdbError):
        told.add(replace(good, masked=other.masked))


def test_a_contribution_other_than_the_headers_is_refused() -> None:
    """Even if all it says is true of this session, seat and vector: one statement is signed with each masked input."""
    told = story(Story.mask)
    good, other = told.masked(0), told.masked(0, ledger_entry="sha256:" + "1" * 64)
    assert good.masked == other.masked
    with pytest.raises(ProtocolError, match="seat 0: contribution in its header is"):
        told.add(replace(good, contribution=other.contribution))
    told.add(good)


def test_forged_round_messages_leave_no_trace() -> None:
    told = story(Story.advertise)
    told.advertise(0)
    event = expect(KeysReceived, told.events[-1])
    told = story(Story.advertise)
    before = told.state
    with pytest.raises(ProtocolError):
        told.add(replace(event, keys=forged(event.keys)))
    assert told.state is before


def test_a_signature_over_another_view_is_refused() -> None:
    told = story(Story.agree)
    other = sign_envelope(labels.TYPE_CONSISTENCY, b"other", signer(0, 0))
    signed = Signed(b"other", other.signatures[0].signature)
    with pytest.raises(ProtocolError, match="another view"):
        told.add(ConsistencyReceived(told.now(), 0, signed))


def test_only_survivors_countersign_and_only_this_result() -> None:
    told = story(Story.mask)
    told.mask(0, 1, 2, 3)
    told.expire()
    told.agree(0, 1, 2, 3)
    told.reveal(0, 1, 2, 3)
    assert refusal(told, lambda it: it.countersign(4)).reason == reasons.NOT_A_MEMBER
    other = sign_envelope(labels.TYPE_STATEMENT, told.state.opening.open.payload, signer(0, 0))
    with pytest.raises(ProtocolError, match="another result"):
        told.add(Countersigned(told.now(), 0, other))
    told.countersign(0)
    assert refusal(told, lambda it: it.countersign(0)).reason == reasons.CONFLICT


def test_countersignatures_of_a_quorum_publish_at_the_deadline() -> None:
    told = story(DRAFTED)
    told.countersign(0, 1, 2)
    assert isinstance(told.state, Finalising)
    told.countersign(3)
    told.expire()
    assert isinstance(told.state, Published)


def test_too_few_countersignatures_abort() -> None:
    told = story(DRAFTED)
    told.countersign(0, 1, 2)
    told.expire()
    assert "3 institutions countersigned the result, 4 are needed" in aborted(told).reason


def test_the_lead_can_abort_until_the_end_and_not_after() -> None:
    for step in STEPS:
        told = story(step)
        told.add(SessionFailed(told.now(), "aborted by the lead: wrong prompts"))
        assert aborted(told).reason == "aborted by the lead: wrong prompts"
        refused = refusal(told, lambda it: it.add(SessionFailed(it.now(), "again")))
        assert refused.reason == reasons.TOO_LATE
    refusal(story(), lambda it: it.add(SessionFailed(it.now(), "too late")))


def test_after_an_abort_everything_is_refused_with_its_reason() -> None:
    told = story(Story.share)
    told.add(SessionFailed(told.now(), "because"))
    whole = story()
    for event in whole.events[1:]:
        assert refused(told, event) in (reasons.ABORTED, reasons.TOO_LATE)
    assert reason_of(told.state) == "because"


def test_a_deadline_of_a_phase_that_is_over_changes_nothing() -> None:
    told = story(Story.share)
    refused = refusal(told, lambda it: it.add(DeadlinePassed(it.now(), Phase.ADVERTISING_KEYS)))
    assert refused.reason == reasons.TOO_LATE


def test_each_phase_has_the_deadline_of_the_spec_counted_from_its_beginning() -> None:
    spec = small_spec(deadlines="{ joining = 1, computing = 2, round = 3, countersigning = 4 }")
    told = Story(spec)
    found = [(seconds_allowed(told.state), told.state.since - BEGIN)]
    for step in STEPS:
        step(told, *EVERYBODY)
        found.append((seconds_allowed(told.state), told.state.since - BEGIN))
    allowed, since = zip(*found, strict=True)
    assert allowed == (1, 2, 3, 3, 3, 3, 4, None)
    assert list(since) == sorted(set(since))
    assert since[0] == timedelta(0)


def test_the_draft_names_its_survivors_and_quorum() -> None:
    told = story(DRAFTED)
    draft = expect(Finalising, told.state).draft
    assert draft.survivors == frozenset(EVERYBODY)
    assert draft.needed == 4
    assert sha256_digest(told.blobs[draft.archive]) == draft.archive


def test_a_new_session_waits_for_all_participants_of_its_roster() -> None:
    state = expect(Accepting, Story().state)
    assert state.opening.seats == frozenset(EVERYBODY)
    assert set(stages_of(state).values()) == {"has not joined"}


def test_shares_of_a_quorum_are_enough_for_the_draft() -> None:
    told = story(Story.reveal)
    told.reveal(0, 1, 2)
    assert phase_of(told.state) is Phase.UNMASKING
    told.reveal(3)
    assert isinstance(told.state, Finalising)


def test_who_measures_is_told_when_nothing_of_it_can_be_in_the_sum_any_more() -> None:
    """Who measures has not advertised keys; once the others went on without it, its hours of work are for nothing."""
    told = story(Story.advertise)
    assert all(may_contribute(told.state, seat) for seat in EVERYBODY)
    told.advertise(1, 2, 3, 4)
    assert may_contribute(told.state, 0)
    told.expire()
    assert [may_contribute(told.state, seat) for seat in EVERYBODY] == [False, True, True, True, True]
    ended = story()
    assert not any(may_contribute(ended.state, seat) for seat in EVERYBODY)
