"""Ending a phase before its deadline, because several people signed that: when it can be ordered, and what the order binds.

Promises that an order ends one phase of one session, with exactly the institutions that it names, and that nobody can choose
by it whose input counts once inputs are there: only the waiting for joins and for the end of computing can be cut short, never
with fewer institutions than the phase needs at its deadline. Pure.

Source: protos/README.md §11.3, §11.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC

from vdb_coordinator.checks import misplaced
from vdb_coordinator.events import ClosedEarly, DeadlinePassed
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import CollectingKeys
from vdb_coordinator.states import Accepting, Aggregating, SessionState, phase_of
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase


@dataclass(frozen=True, slots=True)
class Closable:
    """What an order to end the present phase says: the phase, and who goes on, each in words."""

    phase: str
    institutions: str


def closable(state: SessionState) -> Closable:
    """Return what ending the present phase now would mean.

    Raises:
        RefusedError: it cannot be ended early, or too few institutions are in it.
    """
    match state:
        case Accepting():
            there, least = frozenset(state.joins), state.opening.spec.cohort.minimum
        case Aggregating(rounds=CollectingKeys() as rounds, restarts=()):
            there, least = frozenset(rounds.keys) - state.left, rounds.parameters.smallest_cohort
        case _ if phase_of(state).ended:
            raise misplaced(state, Phase.ADVERTISING_KEYS)
        case _:
            raise RefusedError(
                reasons.TOO_LATE,
                f"the session is {phase_of(state).words}; only joining and computing can be closed early: later ones would "
                "choose whose input counts, and last no longer than a round",
            )
    phase = phase_of(state).words
    if len(there) < least:
        raise RefusedError(
            reasons.NOT_YET, f"the session is {phase}: {len(there)} institutions are there, at least {least} must be"
        )
    return Closable(phase, ", ".join(sorted(state.opening.member(seat).institution for seat in there)))


def ended_phase(state: SessionState, event: DeadlinePassed | ClosedEarly) -> Phase:
    """Return the phase in which nobody is waited for any longer.

    Raises:
        RefusedError: it is ended by an order that too few have signed, or that is of something else than what is there now.
        FormatError: the order is none.
    """
    if isinstance(event, DeadlinePassed):
        return event.phase
    event.order.check()
    proposal, opening = event.order.proposal, state.opening
    found = (proposal.action, proposal.consortium, proposal.parameters.get("session"))
    if found != ("close_early", opening.roster.consortium, opening.session):
        raise RefusedError(reasons.INVALID, "this was signed for something else than closing a phase of this session")
    if f"{event.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" >= proposal.expires:
        raise RefusedError(reasons.TOO_LATE, f"the proposal expired on {proposal.expires}; propose it again")
    now = closable(state)
    signed = Closable(proposal.parameters.get("phase", ""), proposal.parameters.get("institutions", ""))
    if signed.phase != now.phase:
        raise RefusedError(reasons.TOO_LATE, f"{signed.phase} was to be closed; the session is {now.phase}")
    if signed != now:
        raise RefusedError(
            reasons.CONFLICT,
            f"it was signed for {signed.institutions}; now {now.institutions} are there: propose it again",
        )
    return phase_of(state)
