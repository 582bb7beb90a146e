"""A phase that ends before its deadline: only when several people signed it, and for exactly who is there.

Never with fewer than n_min, and never where it would choose whose input counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from testkit.consortium import expect
from testkit.orders import KEYS, PEOPLE, order_to_close, proposal_to_close, signed_by, with_body
from testkit.session_story import EVERYBODY, STEPS, Story, story
from testkit.statements import INSTITUTIONS
from vdb_coordinator.approvals import SignedOrder, sign_proposal
from vdb_coordinator.early import closable
from vdb_coordinator.events import ClosedEarly, decode_event, encode_event
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import CollectingShares
from vdb_coordinator.states import Aggregating, Published, phase_of, stages_of
from vdb_shared.errors import StoreError
from vdb_shared.identity import StatementKey
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

NOTHING: Mapping[str, bytes] = {}
"""Blobs of an event that has none."""

FOUR, LATE = EVERYBODY[:4], 4
SOME = ", ".join(INSTITUTIONS[seat] for seat in FOUR)


def joining() -> Story:
    """Return a session that four of five have joined; at least four must."""
    told = Story()
    told.join(*FOUR)
    return told


def computing() -> Story:
    """Return a session that all have joined, in which four of five have computed."""
    told = story(Story.advertise)
    told.advertise(*FOUR)
    return told


def refused(told: Story, order: SignedOrder) -> tuple[str, str]:
    """Return why an order is refused, which must leave no trace."""
    before = told.state
    with pytest.raises(RefusedError) as caught:
        told.add(ClosedEarly(told.now(), order))
    assert told.state is before
    return caught.value.reason, str(caught.value)


def test_joining_ends_with_those_who_are_there() -> None:
    told = joining()
    told.add(ClosedEarly(told.now(), order_to_close(told)))
    assert phase_of(told.state) is Phase.ADVERTISING_KEYS
    sealed = expect(Aggregating, told.state).sealed
    assert sorted(sealed.joins) == list(FOUR)
    assert stages_of(told.state)[LATE] == "did not join"
    with pytest.raises(RefusedError) as caught:
        told.join(LATE)
    assert caught.value.reason == reasons.TOO_LATE


def test_computing_ends_with_those_who_have_computed_and_the_session_reaches_a_result() -> None:
    told = computing()
    told.add(ClosedEarly(told.now(), order_to_close(told)))
    assert phase_of(told.state) is Phase.SHARING_KEYS
    with pytest.raises(RefusedError) as caught:
        told.advertise(LATE)
    assert caught.value.reason == reasons.TOO_LATE
    for step in STEPS[2:]:
        step(told, *FOUR)
    assert isinstance(told.state, Published)


@pytest.mark.parametrize("there", [joining, computing])
def test_one_person_closes_nothing(there: Callable[[], Story]) -> None:
    """Nor one under two names, with somebody else's key, with a signature of something else, or under a policy of one."""
    told, stranger = there(), StatementKey.generate()
    good = order_to_close(told)
    alone = replace(good, signatures={"anna": good.signatures["anna"]})
    assert refused(told, alone) == (reasons.NEEDS_APPROVAL, "2 people must sign this, 1 have")
    twice = dict.fromkeys(("anna", "ann"), good.signatures["anna"])
    other_type = {name: PEOPLE[name].sign("text/plain", good.body) for name in ("anna", "ben")}
    attacks = [
        replace(good, signatures={}),
        replace(good, signatures={"anna": good.signatures["anna"], "carla": good.signatures["anna"]}),
        replace(alone, signatures={**alone.signatures, "mallory": sign_proposal(good.body, stranger)}),
        replace(alone, signatures={**alone.signatures, "ben": sign_proposal(good.body, stranger)}),
        replace(alone, needed=1),
        replace(alone, needed=0),
        replace(alone, keys={"anna": KEYS["anna"], "ann": KEYS["anna"]}, signatures=twice),
        replace(good, signatures=other_type),
    ]
    for attack in attacks:
        assert refused(told, attack)[0] == reasons.NEEDS_APPROVAL
    told.add(ClosedEarly(told.now(), good))


def test_the_attack_without_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the signatures hold off: a lead alone shuts an institution out that was about to join."""
    told = joining()
    order = replace(order_to_close(told), signatures={})
    assert refused(told, order)[0] == reasons.NEEDS_APPROVAL
    monkeypatch.setattr(SignedOrder, "check", lambda self: None)
    told.add(ClosedEarly(told.now(), order))
    assert LATE not in expect(Aggregating, told.state).sealed.joins


@pytest.mark.parametrize("there", [joining, computing])
def test_who_goes_on_is_what_was_signed(there: Callable[[], Story]) -> None:
    """The same signatures under other words, and signed words that leave one out who is there."""
    told = there()
    good, fewer = order_to_close(told), ", ".join(INSTITUTIONS[seat] for seat in EVERYBODY[:3])
    changed = with_body(good, proposal_to_close(told, institutions=fewer))
    assert refused(told, changed)[0] == reasons.NEEDS_APPROVAL
    reason, words = refused(told, order_to_close(told, institutions=fewer))
    assert (reason, words) == (
        reasons.CONFLICT,
        f"it was signed for {fewer}; now {SOME} are there: propose it again",
    )


def test_an_order_that_was_overtaken_closes_nothing() -> None:
    """Signed for four; then one of them leaves, and another comes."""
    told = Story()
    told.join(0, 1, 2, LATE)
    order = order_to_close(told)
    told.leave(LATE)
    assert refused(told, order) == (
        reasons.NOT_YET,
        "the session is accepting: 3 institutions are there, at least 4 must be",
    )
    told.join(3)
    assert phase_of(told.state) is Phase.ADVERTISING_KEYS, "nobody else is waited for"
    assert refused(told, order)[0] == reasons.NOT_YET


def test_who_computed_and_left_does_not_count() -> None:
    told = computing()
    told.leave(3)
    with pytest.raises(RefusedError, match="3 institutions are there, at least 4 must be"):
        closable(told.state)
    told.advertise(LATE)
    assert isinstance(expect(Aggregating, told.state).rounds, CollectingShares)


@pytest.mark.parametrize(("step", "phase"), [(Story.join, "accepting"), (Story.advertise, "advertising keys")])
def test_never_with_fewer_than_at_the_deadline(step: Callable[..., None], phase: str) -> None:
    told = story(step)
    step(told, *EVERYBODY[:3])
    three = ", ".join(INSTITUTIONS[seat] for seat in EVERYBODY[:3])
    with pytest.raises(RefusedError, match="at least 4 must be") as caught:
        closable(told.state)
    assert caught.value.reason == reasons.NOT_YET
    assert refused(told, order_to_close(told, phase=phase, institutions=three))[0] == reasons.NOT_YET


@pytest.mark.parametrize("step", [*STEPS[2:], None], ids=lambda step: step.__name__ if step else "end")
def test_once_keys_are_fixed_nobody_chooses_who_is_counted(step: Callable[..., None] | None) -> None:
    """In every later phase, with four of five there, and after the end."""
    told = story(step)
    if step is not None:
        step(told, *EVERYBODY[:2])
    orders = [order_to_close(told, phase=phase_of(told.state).words, institutions=SOME)]
    orders.append(order_to_close(told, phase="advertising keys", institutions=SOME))
    for order in orders:
        reason, words = refused(told, order)
        assert reason == reasons.TOO_LATE
        assert step is None or "would choose whose input counts" in words


def test_the_rounds_that_begin_again_are_not_closed() -> None:
    told = story(Story.share)
    told.share(*FOUR)
    told.share_spoiled(LATE, (0,))
    told.mask(2, 3)
    told.add(told.complaint(0, LATE))
    assert phase_of(told.state) is Phase.ADVERTISING_KEYS
    told.advertise(0, 1, 2)
    assert refused(told, order_to_close(told, phase="advertising keys", institutions=SOME))[0] == reasons.TOO_LATE


def test_an_order_is_of_one_session_one_phase_and_one_time() -> None:
    told = joining()
    others = [
        proposal_to_close(told, session="sha256:" + "1" * 64),
        proposal_to_close(told).model_copy(update={"consortium": "elsewhere"}),
        proposal_to_close(told).model_copy(update={"action": "abort_session"}),
    ]
    for other in others:
        assert refused(told, signed_by(other, "anna", "ben"))[0] == reasons.INVALID
    early = order_to_close(told, phase="advertising keys", institutions=SOME)
    assert refused(told, early)[0] == reasons.TOO_LATE
    order = order_to_close(told)
    before = told.state
    with pytest.raises(RefusedError, match="expired"):
        told.add(ClosedEarly(told.now() + timedelta(hours=2), order))
    assert told.state is before
    told.add(ClosedEarly(told.now(), order))
    told.advertise(*FOUR[:3])
    assert refused(told, order) == (reasons.TOO_LATE, "accepting was to be closed; the session is advertising keys")


def test_the_event_says_who_signed_and_is_checked_again_when_it_is_read() -> None:
    told = joining()
    event = ClosedEarly(told.now(), order_to_close(told))
    body = encode_event(event)
    assert decode_event(body, NOTHING.__getitem__) == event
    for wrong in (b'"needed":2', b'"keys":{'):
        with pytest.raises(StoreError):
            decode_event(body.replace(wrong, b'"extra":0,' + wrong), NOTHING.__getitem__)
    weaker = decode_event(body.replace(b'"needed":2', b'"needed":3'), NOTHING.__getitem__)
    assert refused(told, expect(ClosedEarly, weaker).order)[0] == reasons.NEEDS_APPROVAL
