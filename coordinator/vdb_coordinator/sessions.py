"""The life of a session as a pure reducer: `apply(state, event)`.

Promises that a state follows from its events alone, that states only move forward, by attempt and then by phase, and that an
event which breaks a rule leaves no trace. Time is an event. Leaves durability, clocks and signing to `conductor.py`.

Source: protos/README.md §11.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from vdb_coordinator.afterwards import afterwards
from vdb_coordinator.checks import check_contribution, check_stays, check_view, expect, misplaced, predicate
from vdb_coordinator.early import ended_phase
from vdb_coordinator.events import (
    ClosedEarly,
    ComplaintReceived,
    ConsistencyReceived,
    Countersigned,
    DeadlinePassed,
    DraftMade,
    EndLost,
    Event,
    InputReceived,
    Joined,
    KeysReceived,
    MemberAborted,
    MemberRevoked,
    ObjectionReceived,
    ResultWithdrawn,
    SessionAborted,
    SessionFailed,
    SessionOpened,
    SessionPublished,
    SessionSealed,
    SharesReceived,
    UnmaskingReceived,
)
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import (
    CollectingKeys,
    CollectingMaskedInputs,
    Complained,
    ConsistencySigned,
    Failed,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Message,
    SharesRevealed,
    Summed,
    expire,
    receive,
    restart_by,
)
from vdb_coordinator.rounds import Phase as RoundPhase
from vdb_coordinator.states import (
    Aborted,
    Accepting,
    Aggregating,
    Draft,
    Ending,
    Finalising,
    Opening,
    Published,
    Publishing,
    Sealed,
    Sealing,
    SessionState,
    attempt_of,
    phase_of,
    stages_of,
    waited_for,
)
from vdb_shared import labels
from vdb_shared.bundle import record
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.logged import published_entry
from vdb_shared.bundle.restarts import encode_restarts
from vdb_shared.bundle.statement import Abort, Join, Seal, parse_statement
from vdb_shared.canonical import digest_bytes, sha256_digest
from vdb_shared.errors import ProtocolError
from vdb_shared.roster import parse_roster
from vdb_shared.seal import MAX_JSON_BYTES
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.transcript import Stage, seat_peer
from vdb_shared.spec import parse_spec_json
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase
from vdb_shared.wording import counted

RoundEvent = KeysReceived | SharesReceived | InputReceived | ConsistencyReceived | UnmaskingReceived

_ROUND_OF: Final[Mapping[type[RoundEvent], Phase]] = {
    KeysReceived: Phase.ADVERTISING_KEYS,
    SharesReceived: Phase.SHARING_KEYS,
    InputReceived: Phase.MASKING_INPUT,
    ConsistencyReceived: Phase.CONSISTENCY,
    UnmaskingReceived: Phase.UNMASKING,
}


def opened(event: SessionOpened) -> Accepting:
    """Return the first state of a session.

    Raises:
        SpecError, FormatError: spec or roster are malformed.
    """
    spec, roster = parse_spec_json(event.spec), parse_roster(event.roster.roster)
    opening = Opening(event.open.payload_digest, spec, event.spec, roster, event.roster, event.open)
    return Accepting(opening, event.at)


def apply(state: SessionState, event: Event) -> SessionState:
    """Return the state after an event.

    Raises:
        RefusedError: the event does not belong into this state.
        FormatError, SignatureError, ProtocolError: a participant's message breaks a rule. The state stands.
    """
    match event:
        case SessionOpened():
            raise RefusedError(reasons.TOO_LATE, "the session is open already")
        case Joined() | Countersigned() | MemberAborted() | MemberRevoked():
            return _by_member(state, event)
        case KeysReceived() | SharesReceived() | InputReceived() | ConsistencyReceived() | UnmaskingReceived():
            return _message(state, event)
        case ComplaintReceived():
            return _complain(state, event)
        case DeadlinePassed() | ClosedEarly():
            return _deadline(state, event)
        case SessionSealed() | DraftMade() | SessionPublished() | SessionFailed() | SessionAborted():
            return _by_coordinator(state, event)
        case ObjectionReceived() | ResultWithdrawn() | EndLost():
            return afterwards(state, event)
        case _:
            assert_never(event)


def _by_member(state: SessionState, event: Joined | Countersigned | MemberAborted | MemberRevoked) -> SessionState:
    match state, event:
        case _, MemberRevoked():
            return _revoked(state, event)
        case Accepting(), Joined():
            return _join(state, event)
        case Finalising(), Countersigned():
            return _countersign(state, event)
        case ((Accepting() | Aggregating() | Finalising()), MemberAborted()):
            return _leave(state, event)
        case _:
            raise misplaced(state, Phase.ACCEPTING if isinstance(event, Joined) else Phase.FINALISING)


def _by_coordinator(
    state: SessionState, event: SessionSealed | DraftMade | SessionPublished | SessionFailed | SessionAborted
) -> SessionState:
    match state, event:
        case Sealing(), SessionSealed():
            return _seal(state, event)
        case Aggregating(rounds=Summed() as summed), DraftMade():
            return _draft(state, summed, event)
        case Publishing(), SessionPublished():
            archive = sha256_digest(event.archive)
            result = sha256_digest(state.draft.result)
            return Published(state.opening, event.at, state.sealed, archive, result, stages_of(state), state.restarts)
        case Ending(), SessionAborted():
            return Aborted(state.opening, event.at, state.reason, event.abort, state.stages, state.attempt)
        case ((Accepting() | Sealing() | Aggregating() | Finalising()), SessionFailed()):
            return _ending(state, event.at, event.reason)
        case Publishing(), SessionFailed():
            raise RefusedError(
                reasons.TOO_LATE,
                "the session's result is countersigned and stands in the public log; it is published once enough institutions "
                "have witnessed that, and cannot be aborted",
            )
        case _:
            raise RefusedError(reasons.TOO_LATE, f"the session is {phase_of(state).words} already")


def _ending(state: SessionState, at: datetime, reason: str) -> Ending:
    return Ending(state.opening, at, phase_of(state), reason, stages_of(state), attempt_of(state))


# Joining.


def _join(state: Accepting, event: Joined) -> SessionState:
    opening, seat = state.opening, event.seat
    check_stays(state.left, seat)
    join = predicate(opening, seat, event.join, Join)
    expect(seat, "session in its join", opening.session, join.session)
    expect(seat, "spec in its join", opening.spec.digest, join.spec)
    expect(seat, "roster in its join", opening.roster.digest, join.roster)
    expect(seat, "institution in its join", opening.member(seat).institution, join.institution)
    expect(seat, "seat in its join", seat, join.seat)
    if seat in state.joins:
        raise RefusedError(reasons.CONFLICT, f"seat {seat} has joined already")
    return _advance_joining(replace(state, joins={**state.joins, seat: event.join}), event.at, late=False)


def _advance_joining(state: Accepting, at: datetime, *, late: bool) -> SessionState:
    if not late and state.opening.seats - state.joins.keys() - state.left:
        return state
    minimum = state.opening.spec.cohort.minimum
    if len(state.joins) < minimum:
        return _ending(
            state, at, f"{counted(len(state.joins), 'institution')} joined, the spec asks for at least {minimum}"
        )
    return Sealing(state.opening, at, state.joins, state.left, state.revoked)


def _seal(state: Sealing, event: SessionSealed) -> Aggregating:
    opening = state.opening
    payload = event.seal.verify(labels.TYPE_STATEMENT, [opening.roster.coordinator.public_key])
    seal, _ = parse_statement(payload, Seal)
    parameters = Parameters(
        session=digest_bytes(event.seal.payload_digest),
        roster={seat: opening.member(seat).public_key for seat in sorted(state.joins)},
        collusion=opening.spec.cohort.collusion,
        smallest_cohort=seal.smallest_cohort,
        lanes=seal.lanes,
    )
    sealed = Sealed(state.joins, event.seal, event.open_proof, parameters)
    return Aggregating(opening, event.at, sealed, CollectingKeys(parameters), left=state.left, revoked=state.revoked)


# The rounds.


def _message(state: SessionState, event: RoundEvent) -> SessionState:
    state = _awaiting(state, _ROUND_OF[type(event)], event.seat)
    contributions = dict(state.contributions)
    if isinstance(event, InputReceived):
        check_contribution(state, event.seat, event.header.body, event.contribution)
        contributions[event.seat] = event.contribution
    moved = receive(state.rounds, _round_message(state, event))
    return _advance(replace(state, contributions=contributions), moved, event.at)


def _awaiting(state: SessionState, wanted: Phase, seat: Seat) -> Aggregating:
    """Return the state if it is in this phase of the rounds and the seat takes part in them."""
    if not isinstance(state, Aggregating) or phase_of(state) != wanted:
        raise misplaced(state, wanted)
    check_stays(state.left, seat)
    if seat not in state.sealed.joins:
        raise RefusedError(reasons.NOT_A_MEMBER, f"seat {seat} did not join this session")
    if any(seat == restart.dealer for restart in state.restarts):
        raise RefusedError(reasons.TOO_LATE, f"seat {seat} was left out after a complaint and cannot come back")
    return state


def _complain(state: SessionState, event: ComplaintReceived) -> SessionState:
    """Begin the rounds again without a dealer, unless too few are left then."""
    state = _awaiting(state, Phase.MASKING_INPUT, event.seat)
    rounds = state.rounds
    if not isinstance(rounds, CollectingMaskedInputs):
        raise misplaced(state, Phase.MASKING_INPUT)
    complained = Complained(event.seat, event.complaint)
    moved, restart = receive(rounds, complained), restart_by(rounds, complained)
    known = rounds.parameters
    remaining = len(known.seats - state.left - {restart.dealer})
    if not isinstance(moved, CollectingKeys) or remaining < known.smallest_cohort:
        complainer, dealer = (state.opening.member(seat).institution for seat in (event.seat, restart.dealer))
        reason = (
            f"round {Stage.MASKED_INPUT}: {complainer} cannot open what {dealer} sealed for it, and without {dealer} "
            f"only {remaining} of at least {known.smallest_cohort} participants are left"
        )
        return _ending(state, event.at, reason)
    restarts = (*state.restarts, restart)
    if len(encode_restarts(restarts)) > MAX_JSON_BYTES:
        return _ending(state, event.at, f"restarted {len(restarts)} times: no bundle could hold the records of more")
    return _advance(replace(state, contributions={}, restarts=restarts), moved, event.at)


def _round_message(state: Aggregating, event: RoundEvent) -> Message:
    match event:
        case KeysReceived():
            return KeysAdvertised(event.seat, event.keys)
        case SharesReceived():
            return KeysShared(event.seat, event.header, event.sealed)
        case InputReceived():
            return InputMasked(event.seat, event.header, event.masked)
        case ConsistencyReceived():
            check_view(state, event)
            return ConsistencySigned(event.seat, event.statement.signature)
        case UnmaskingReceived():
            return SharesRevealed(event.seat, event.shares)
        case _:
            assert_never(event)


def _advance(state: Aggregating, rounds: RoundPhase, at: datetime) -> SessionState:
    """Return the state in another phase of the rounds, past those in which only seats that left are waited for."""
    while not isinstance(rounds, Summed | Failed) and rounds.missing and rounds.missing <= state.left:
        rounds = expire(rounds)
    if isinstance(rounds, Failed):
        return _ending(state, at, f"round {rounds.stage}: {rounds.reason}")
    since = state.since if type(rounds) is type(state.rounds) else at
    return replace(state, rounds=rounds, since=since)


# The result.


def _draft(state: Aggregating, summed: Summed, event: DraftMade) -> Finalising:
    members = read_archive(event.archive)
    result = record.read_envelope(members, record.RESULT)
    draft = Draft(
        archive=sha256_digest(event.archive),
        result=result.verify(labels.TYPE_STATEMENT, [state.opening.roster.coordinator.public_key]),
        survivors=summed.survivors,
        needed=summed.transcript.parameters.quorum,
        stages=stages_of(state),
        entry=published_entry(result.payload, members[record.ACCOUNTING], state.opening.spec.privacy.delta),
    )
    return Finalising(state.opening, event.at, state.sealed, draft, {}, state.left, state.revoked, state.restarts)


def _countersign(state: Finalising, event: Countersigned) -> SessionState:
    seat, draft = event.seat, state.draft
    check_stays(state.left, seat)
    if seat not in draft.survivors:
        raise RefusedError(reasons.NOT_A_MEMBER, f"seat {seat} is not among the survivors, who alone countersign")
    payload = event.countersignature.verify(labels.TYPE_STATEMENT, [state.opening.member(seat).public_key])
    if payload != draft.result:
        raise ProtocolError("countersigns another result than the draft's", peer=seat_peer(seat))
    if seat in state.countersignatures:
        raise RefusedError(reasons.CONFLICT, f"seat {seat} has countersigned already")
    signatures = {**state.countersignatures, seat: event.countersignature}
    return _advance_countersigning(replace(state, countersignatures=signatures), event.at, late=False)


def _advance_countersigning(state: Finalising, at: datetime, *, late: bool) -> SessionState:
    if not late and state.draft.survivors - state.countersignatures.keys() - state.left:
        return state
    found, needed = len(state.countersignatures), state.draft.needed
    if found < needed:
        return _ending(state, at, f"{counted(found, 'institution')} countersigned the result, {needed} are needed")
    return Publishing(state.opening, at, state.sealed, state.draft, state.countersignatures, state.restarts)


# Leaving and waiting no longer.


def _leave(state: Accepting | Aggregating | Finalising, event: MemberAborted) -> SessionState:
    seat = event.seat
    check_stays(state.left, seat)
    abort = predicate(state.opening, seat, event.abort, Abort)
    expect(seat, "session in its abort", state.opening.session, abort.session)
    expect(seat, "institution in its abort", state.opening.member(seat).institution, abort.institution)
    return _without(state, seat, event.at)


def _without(state: Accepting | Aggregating | Finalising, seat: Seat, at: datetime) -> SessionState:
    left = state.left | {seat}
    match state:
        case Accepting():
            joins = {other: join for other, join in state.joins.items() if other != seat}
            return _advance_joining(replace(state, joins=joins, left=left), at, late=False)
        case Aggregating():
            moved = replace(state, left=left)
            return _advance(moved, state.rounds, at)
        case Finalising():
            return _advance_countersigning(replace(state, left=left), at, late=False)
        case _:
            assert_never(state)


def _revoked(state: SessionState, event: MemberRevoked) -> SessionState:
    """Go on without a seat whose key was revoked: as if it had left, but also between the joins and the seal."""
    if event.seat not in waited_for(state):
        raise RefusedError(reasons.TOO_LATE, f"seat {event.seat} has no part in what is left of the session")
    match state:
        case Sealing():
            joins = {other: join for other, join in state.joins.items() if other != event.seat}
            gone = state.left | {event.seat}, state.revoked | {event.seat}
            return _advance_joining(Accepting(state.opening, state.since, joins, *gone), event.at, late=True)
        case Accepting() | Aggregating() | Finalising():
            return _without(replace(state, revoked=state.revoked | {event.seat}), event.seat, event.at)
        case _:
            raise misplaced(state, Phase.ACCEPTING)


def _deadline(state: SessionState, event: DeadlinePassed | ClosedEarly) -> SessionState:
    phase = ended_phase(state, event)
    if phase != phase_of(state):
        raise RefusedError(reasons.TOO_LATE, f"{phase.words} is over already")
    match state:
        case Accepting():
            return _advance_joining(state, event.at, late=True)
        case Aggregating() if not isinstance(state.rounds, Summed):
            return _advance(state, expire(state.rounds), event.at)
        case Finalising():
            return _advance_countersigning(state, event.at, late=True)
        case _:
            raise RefusedError(reasons.TOO_LATE, "nobody is waited for")
