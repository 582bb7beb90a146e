"""A session of which a restoration found nothing but its end in the log: it has ended, that way and no other."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from testkit.session_story import STEPS, Story, story
from testkit.statements import INSTITUTIONS
from vdb_coordinator.checks import misplaced
from vdb_coordinator.events import DeadlinePassed, EndLost, Event, SessionFailed
from vdb_coordinator.logged import log_entry
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.history import stored_phase
from vdb_coordinator.sessions import apply
from vdb_coordinator.states import (
    Lost,
    attempt_of,
    duty_of,
    phase_of,
    reason_of,
    seconds_allowed,
    stages_of,
    waited_for,
)
from vdb_shared.bundle.logged import AbortedRecord, OpenedRecord, PublishedRecord, Record, encode_record
from vdb_shared.errors import FormatError
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

AT = datetime(2026, 2, 2, 9, 0, 5, tzinfo=UTC)
DIGEST = "sha256:" + "7" * 64
MOMENT = "2026-02-02T09:00:00Z"


def end(record: Record) -> EndLost:
    return EndLost(AT, encode_record(record))


def published(session: str) -> EndLost:
    return end(
        PublishedRecord(
            session=session,
            result=DIGEST,
            published=MOMENT,
            survivors=INSTITUTIONS[:3],
            rho=None,
            delta=Decimal("0.00001"),
        )
    )


def aborted(session: str) -> EndLost:
    return end(AbortedRecord(session=session, abort=DIGEST, stage="masking input", aborted=MOMENT, salt="0" * 64))


@pytest.fixture(params=range(len(STEPS)), ids=[step.__name__ for step in STEPS])
def told(request: pytest.FixtureRequest) -> Story:
    """A session before each of its steps."""
    return story() if request.param == len(STEPS) else story(STEPS[request.param])


def test_it_ends_as_the_log_says_wherever_it_was(told: Story) -> None:
    session = told.state.opening.session
    for event, phase in ((published(session), Phase.PUBLISHED), (aborted(session), Phase.ABORTED)):
        state = apply(told.state, event)
        assert isinstance(state, Lost)
        assert phase_of(state) is stored_phase(state) is phase
        assert (duty_of(state), seconds_allowed(state), waited_for(state)) == (None, None, frozenset())
        assert stages_of(state) == stages_of(told.state)
        assert attempt_of(state) == attempt_of(told.state)
        assert "lost" in reason_of(state)
        assert log_entry(event, state) == event.entry
        expected = reasons.ABORTED if phase is Phase.ABORTED else reasons.TOO_LATE
        assert misplaced(state, Phase.PUBLISHED).reason == expected


def test_nothing_happens_to_it_afterwards(told: Story) -> None:
    session = told.state.opening.session
    state = apply(told.state, published(session))
    later: list[Event] = [
        aborted(session),
        published(session),
        SessionFailed(AT, "no"),
        DeadlinePassed(AT, Phase.PUBLISHED),
    ]
    for event in later:
        with pytest.raises(RefusedError) as refusal:
            apply(state, event)
        assert refusal.value.reason == reasons.TOO_LATE


def test_only_an_end_of_this_session_ends_it(told: Story) -> None:
    session = told.state.opening.session
    opened = OpenedRecord(session=session, spec=DIGEST, roster=DIGEST, opened=MOMENT, due=MOMENT)
    for event in (published(DIGEST), aborted(DIGEST), end(opened)):
        with pytest.raises(RefusedError, match="does not say how"):
            apply(told.state, event)
    with pytest.raises(FormatError):
        apply(told.state, EndLost(AT, b"nothing"))


def test_what_has_ended_does_not_end_again() -> None:
    whole = story()
    with pytest.raises(RefusedError, match="is published already"):
        apply(whole.state, aborted(whole.state.opening.session))
