"""What can still happen to a session that is over: members object to its result, and the coordinator withdraws it. Pure.

Promises that neither changes the result, that a member is heard a bounded number of times and never twice with the same words,
and that a result is withdrawn once. Leaves who carries an objection to the service: its signature decides.

Source: protos/README.md §9.7, §11.3.
"""

from __future__ import annotations

from dataclasses import replace

from vdb_coordinator.checks import misplaced
from vdb_coordinator.events import ObjectionReceived, ResultWithdrawn
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.states import Published, SessionState
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


def said_afterwards(state: SessionState, event: ObjectionReceived | ResultWithdrawn) -> Published:
    """Return a published session after something more was said of its result.

    Raises:
        RefusedError: it has no result, or this was said before, or too much was.
        FormatError, IdentityError, SignatureError: it is not what it should be, or not of whom it should be.
    """
    if not isinstance(state, Published):
        raise misplaced(state, Phase.PUBLISHED)
    return _object(state, event) if isinstance(event, ObjectionReceived) else _withdraw(state, event)


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
