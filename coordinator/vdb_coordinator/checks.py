"""What must hold of a message before the reducer takes it, besides the rules of the rounds.

Promises that every refusal names its reason and blames the seat that sent. Leaves what a message does to `sessions.py`.

Source: protos/README.md §11.3.
"""

from __future__ import annotations

from typing import TypeVar

from vdb_coordinator.events import ConsistencyReceived
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import CollectingConsistency
from vdb_coordinator.states import Aborted, Aggregating, Ending, Lost, Opening, SessionState, attempt_of, phase_of
from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Contribution, Predicate, parse_statement
from vdb_shared.canonical import digest_bytes, digest_string
from vdb_shared.errors import ProtocolError, UsageError
from vdb_shared.privacy.accountant import account
from vdb_shared.roster import SignedRoster, parse_roster
from vdb_shared.seal import seal_terms
from vdb_shared.secagg.messages import MaskedInputHeader
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import seat_peer
from vdb_shared.spec import Spec
from vdb_shared.wire import reasons
from vdb_shared.wire.spoken import doing, ended
from vdb_shared.wire.status import Phase, SiteStatus

P = TypeVar("P", bound=Predicate)


def misplaced(state: SessionState, wanted: Phase) -> RefusedError:
    """Return why something that belongs into one phase cannot be taken in another."""
    found = phase_of(state)
    if isinstance(state, Ending | Aborted) or (isinstance(state, Lost) and found is Phase.ABORTED):
        sites = [
            SiteStatus(state.opening.member(seat).institution, seat, state.stages[seat])
            for seat in sorted(state.stages)
        ]
        return RefusedError(reasons.ABORTED, f"the session was aborted: {ended(state.reason, sites)}")
    if isinstance(state, Lost):
        return RefusedError(reasons.TOO_LATE, state.reason)
    if found < wanted:
        return RefusedError(reasons.NOT_YET, f"not yet: now {doing(found)}, and only later {doing(wanted)}")
    return RefusedError(reasons.TOO_LATE, f"too late: now {doing(found)}")


def check_attempt(state: SessionState, attempt: int) -> None:
    """Check that what belongs to an attempt at the rounds belongs to the present one.

    Raises:
        RefusedError: it does not.
    """
    present = attempt_of(state)
    if attempt != present and not isinstance(state, Ending | Aborted | Lost):
        raise RefusedError(
            reasons.RESTARTED,
            f"this is for attempt {attempt} at the rounds, which are in attempt {present}; ask for the restarts",
        )


def check_stays(left: frozenset[Seat], seat: Seat) -> None:
    """Check that a seat did not leave.

    Raises:
        RefusedError: it did.
    """
    if seat in left:
        raise RefusedError(reasons.TOO_LATE, f"seat {seat} left this session and cannot come back")


def predicate(opening: Opening, seat: Seat, envelope: Envelope, kind: type[P]) -> P:
    """Return what a participant alone signed about this session.

    Raises:
        SignatureError: not signed by the participant, and only by it.
        FormatError: not such a statement.
    """
    payload = envelope.verify(labels.TYPE_STATEMENT, [opening.member(seat).public_key])
    return parse_statement(payload, kind)[0]


def expect(seat: Seat, what: str, expected: object, found: object) -> None:
    """Check one thing that a seat stated.

    Raises:
        ProtocolError: peer "seat n": it stated something else.
    """
    if expected != found:
        raise ProtocolError(f"{what} is {found}, expected {expected}", peer=seat_peer(seat))


def check_view(state: Aggregating, event: ConsistencyReceived) -> None:
    """Check that a signature is over the one statement that all survivors sign.

    Raises:
        ProtocolError: it is over another one.
    """
    rounds = state.rounds
    expected = rounds.transcript.masked.statement.encode() if isinstance(rounds, CollectingConsistency) else None
    if event.statement.body != expected:
        raise ProtocolError("signs another view of the rounds than the coordinator's", peer=seat_peer(event.seat))


def check_contribution(state: Aggregating, seat: Seat, body: bytes, envelope: Envelope) -> None:
    """Check that the contribution is the one that the header names, and is about this masked input.

    Raises:
        SignatureError, FormatError, ProtocolError: it is not.
    """
    header, contribution = MaskedInputHeader.decode(body), predicate(state.opening, seat, envelope, Contribution)
    member = state.opening.member(seat)
    digest = digest_bytes(envelope.payload_digest)
    expect(seat, "contribution in its header", header.contribution.hex(), digest.hex())
    expect(seat, "masked input in its contribution", digest_string(header.masked_digest), contribution.masked_input)
    expect(seat, "session in its contribution", state.opening.session, contribution.session)
    expect(seat, "seal in its contribution", state.sealed.seal.payload_digest, contribution.seal)
    expect(seat, "institution in its contribution", member.institution, contribution.institution)
    expect(seat, "seat in its contribution", seat, contribution.seat)


def check_keepable(spec: Spec, roster: SignedRoster) -> None:
    """Check that the spec's promises can be kept whoever joins of the roster.

    Raises:
        UsageError, SpecError, PrivacyError: they cannot.
    """
    seats = sorted(member.seat for member in parse_roster(roster.roster).participants if member.seat is not None)
    minimum = spec.cohort.minimum
    if len(seats) < minimum:
        raise UsageError(
            f"cohort.minimum: {minimum} institutions must join, but only {len(seats)} are members; invite and approve more"
        )
    for joined in {minimum, len(seats)}:
        account(seal_terms(spec, seats[:joined]).calibration)
