"""What can still happen to a session that is over: objections, a withdrawal, and that only its end is left of it. Pure.

Promises that nothing changes the result, that a member is heard a bounded number of times and never twice with the same words,
that a result is withdrawn once, and that a session which ended by the log before a restoration never ends otherwise. Leaves who
carries an objection to the service: its signature decides.

Source: protos/README.md §9.7, §11.3, §11.6.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vdb_coordinator.checks import misplaced
from vdb_coordinator.events import EndLost, ObjectionReceived, ResultWithdrawn
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.states import Ending, Lost, Published, SessionState, attempt_of, phase_of, stages_of
from vdb_shared.bundle.logged import AbortedRecord, PublishedRecord, parse_record
from vdb_shared.bundle.objections import (
    MOST_OBJECTIONS,
    Objection,
    check_about,
    read_objection,
    read_withdrawal,
)
from vdb_shared.bundle.statement import parse_statement
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

LOST_RESULT: Final = (
    "the log holds the session's result, and this coordinator lost it when it was restored from a backup; an institution whose "
    "agent had finished has the bundle, which verifies as before"
)


def afterwards(state: SessionState, event: ObjectionReceived | ResultWithdrawn | EndLost) -> Published | Lost:
    """Return a session after its end is found in the log alone, or after something more was said of its result.

    Raises:
        RefusedError: it has no result, or this was said before, or too much was; or it has ended otherwise.
        FormatError, IdentityError, SignatureError: it is not what it should be, or not of whom it should be.
    """
    if isinstance(event, EndLost):
        return _lost(state, event)
    if not isinstance(state, Published):
        raise misplaced(state, Phase.PUBLISHED)
    return _object(state, event) if isinstance(event, ObjectionReceived) else _withdraw(state, event)


def _lost(state: SessionState, event: EndLost) -> Lost:
    """Return a session that ended as the log says, of which that is all that is left.

    Raises:
        RefusedError: it has ended as far as we know, or the entry is of no end of it.
        FormatError: the entry is none.
    """
    record, session = parse_record(event.entry), state.opening.session
    if phase_of(state).ended and not isinstance(state, Ending):
        raise RefusedError(reasons.TOO_LATE, f"the session is {phase_of(state).words} already")
    if not isinstance(record, PublishedRecord | AbortedRecord) or record.session != session:
        raise RefusedError(reasons.INVALID, f"this entry of the log does not say how {session} ended")
    if isinstance(record, AbortedRecord):
        phase, reason = Phase.ABORTED, f"{record.stage}; the coordinator's statement of why was lost"
    else:
        phase, reason = Phase.PUBLISHED, LOST_RESULT
    return Lost(state.opening, event.at, phase, reason, stages_of(state), attempt_of(state))


def _object(state: Published, event: ObjectionReceived) -> Published:
    objection = read_objection(event.objection, state.opening.roster)
    check_about(objection, state.opening.session, state.result)
    if any(known.objection.payload == event.objection.payload for known in state.objections):
        raise RefusedError(reasons.CONFLICT, f"{objection.objector} has objected in these very words already")
    earlier = sum(_objection(known).objector == objection.objector for known in state.objections)
    if earlier >= MOST_OBJECTIONS:
        raise RefusedError(
            reasons.TOO_MUCH,
            f"{objection.objector} has objected {earlier} times to this result, and more is not taken; they stand in the log",
        )
    return replace(state, objections=(*state.objections, event))


def _withdraw(state: Published, event: ResultWithdrawn) -> Published:
    withdrawal = read_withdrawal(event.withdrawal, state.opening.roster)
    check_about(withdrawal, state.opening.session, state.result)
    if state.withdrawal is not None:
        raise RefusedError(reasons.CONFLICT, "the result is withdrawn already")
    if withdrawal.superseded_by == state.opening.session:
        raise RefusedError(reasons.INVALID, "no session replaces itself; name the one that does")
    return replace(state, withdrawal=event)


def _objection(event: ObjectionReceived) -> Objection:
    return parse_statement(event.objection.payload, Objection)[0]
