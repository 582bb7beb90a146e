"""A session that is over: objections of members are taken, a bounded number of them, and its result is withdrawn once."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from testkit.consortium import expect, signer
from testkit.session_story import Story, story
from testkit.statements import INSTITUTIONS, coordinator_key, sign
from vdb_coordinator.events import ObjectionReceived, ResultWithdrawn, decode_event, encode_event
from vdb_coordinator.logged import log_entry
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import Published, phase_of
from vdb_shared.bundle.logged import ObjectionRecord, WithdrawalRecord, parse_record
from vdb_shared.bundle.objections import MOST_OBJECTIONS, Objection, Withdrawal
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

AT = datetime(2026, 2, 2, 9, 0, 5, tzinfo=UTC)
SALT = b"\x5a" * 32
OTHER = "sha256:" + "7" * 64


@cache
def over() -> Story:
    """Return a session with a result; not to be changed."""
    return story()


@pytest.fixture
def told() -> Story:
    return copy.copy(over())


def published(told: Story) -> Published:
    return expect(Published, told.state)


def objection(told: Story, seat: int = 1, *, key: int | None = None, **changes: Any) -> ObjectionReceived:
    fields: dict[str, Any] = {
        "session": told.state.opening.session,
        "result": published(told).result,
        "objector": INSTITUTIONS[seat],
        "reason": "data",
        "text": "Our folder held last year's clips.",
        "objected": "2026-02-02T09:00:00Z",
    }
    return ObjectionReceived(AT, sign(Objection(**(fields | changes)), signer(0, seat if key is None else key)), SALT)


def withdrawal(told: Story, **changes: Any) -> ResultWithdrawn:
    fields: dict[str, Any] = {
        "session": told.state.opening.session,
        "result": published(told).result,
        "reason": "a site used other clips",
        "withdrawn": "2026-02-03T09:00:00Z",
    }
    return ResultWithdrawn(AT, sign(Withdrawal(**(fields | changes)), coordinator_key(0)), SALT)


def refused(told: Story, event: ObjectionReceived | ResultWithdrawn) -> str:
    with pytest.raises(RefusedError) as caught:
        apply(told.state, event)
    return caught.value.reason


def test_an_objection_is_kept_and_logged_and_the_result_stays(told: Story) -> None:
    event, before = objection(told), published(told)
    after = expect(Published, apply(before, event))
    assert after.objections == (event,)
    assert (after.archive, after.result, phase_of(after)) == (before.archive, before.result, Phase.PUBLISHED)
    assert parse_record(log_entry(event, after) or b"") == ObjectionRecord(
        session=before.opening.session,
        result=before.result,
        objector=INSTITUTIONS[1],
        objection=event.objection.payload_digest,
        received="2026-02-02T09:00:05Z",
        salt=SALT.hex(),
    )


def test_a_withdrawal_is_kept_and_logged_once(told: Story) -> None:
    event = told.coordinator.withdraw(published(told), "a site used other clips", None, AT, SALT)
    after = apply(told.state, event)
    assert expect(Published, after).withdrawal == event
    record = parse_record(log_entry(event, after) or b"")
    assert isinstance(record, WithdrawalRecord)
    assert (record.withdrawal, record.superseded_by) == (event.withdrawal.payload_digest, None)
    assert record.salt == SALT.hex()
    told.state = after
    assert refused(told, withdrawal(told)) == reasons.CONFLICT
    assert expect(Published, apply(after, objection(told))).objections


def test_the_same_words_count_once_and_a_member_is_heard_so_often(told: Story) -> None:
    for number in range(MOST_OBJECTIONS):
        told.state = apply(told.state, objection(told, text=f"point {number}"))
        assert refused(told, objection(told, text=f"point {number}")) == reasons.CONFLICT
    assert refused(told, objection(told, text="one more")) == reasons.TOO_MUCH
    assert expect(Published, apply(told.state, objection(told, 2))).objections[-1].objection.signatures


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"key": 2}, SignatureError),
        ({"objector": INSTITUTIONS[2]}, SignatureError),
        ({"objector": "zoo-zurich"}, IdentityError),
        ({"objector": "lead-geneva"}, IdentityError),
        ({"session": OTHER}, FormatError),
        ({"result": OTHER}, FormatError),
    ],
)
def test_an_objection_of_others_or_to_another_result_leaves_no_trace(
    told: Story, changes: dict[str, Any], error: type[Exception]
) -> None:
    before = told.state
    with pytest.raises(error):
        apply(told.state, objection(told, 1, **changes))
    assert told.state == before


def test_a_withdrawal_is_the_coordinators_alone(told: Story) -> None:
    statement = Withdrawal(
        session=told.state.opening.session,
        result=published(told).result,
        reason="we regret it",
        withdrawn="2026-02-03T09:00:00Z",
    )
    with pytest.raises(SignatureError):
        apply(told.state, ResultWithdrawn(AT, sign(statement, signer(0, 1)), SALT))
    for wrong in ({"session": OTHER}, {"result": OTHER}):
        with pytest.raises(FormatError):
            apply(told.state, withdrawal(told, **wrong))
    assert refused(told, withdrawal(told, superseded_by=told.state.opening.session)) == reasons.INVALID
    with pytest.raises(UsageError, match="reason: one paragraph"):
        told.coordinator.withdraw(published(told), "first\nsecond", None, AT, SALT)


def test_before_there_is_a_result_there_is_nothing_to_object_to(told: Story) -> None:
    early = story(Story.countersign)
    for event in (objection(told), withdrawal(told)):
        with pytest.raises(RefusedError) as caught:
            apply(early.state, event)
        assert caught.value.reason == reasons.NOT_YET


def test_events_are_read_back_as_they_were(told: Story) -> None:
    for event in (objection(told), withdrawal(told)):
        assert decode_event(encode_event(event), told.blobs.__getitem__) == event


def test_an_opening_that_replaces_nothing_has_the_bytes_that_it_always_had(told: Story) -> None:
    plain = told.coordinator.open_session(told.spec, told.state.opening.signed_roster, bytes(32), AT)
    assert b"supersedes" not in plain.open.payload
    chained = told.coordinator.open_session(told.spec, told.state.opening.signed_roster, bytes(32), AT, OTHER)
    state = opened(chained)
    assert state.opening.session != opened(plain).opening.session
    assert f'"supersedes":"{OTHER}"'.encode() in (log_entry(chained, state) or b"")
