"""The states of a session: one frozen value for each, holding only what it may hold.

`sessions.py` moves between them. Here also stands what can be read off a state: its phase, how long it may last, what the
coordinator itself must do next, and how far each institution is.

Source: protos/README.md §11.3.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from vdb_coordinator.events import ObjectionReceived, ResultWithdrawn
from vdb_coordinator.phases import recorded
from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
    Summed,
)
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.objections import Withdrawal
from vdb_shared.bundle.statement import parse_statement
from vdb_shared.roster import Member, Roster, SignedRoster
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.spec import Spec
from vdb_shared.transparency.proof import LogProof
from vdb_shared.wire.status import ROUND_STAGES, Phase


@dataclass(frozen=True, slots=True)
class Opening:
    """What was fixed when the session was opened.

    Attributes:
        session: its id, the digest of the opening statement.
        spec, spec_bytes: the spec, parsed and as bytes.
        roster, signed_roster: the roster that the session counts on, parsed and as bytes.
        open: the opening statement.
    """

    session: str
    spec: Spec
    spec_bytes: bytes = field(repr=False)
    roster: Roster = field(repr=False)
    signed_roster: SignedRoster = field(repr=False)
    open: Envelope = field(repr=False)
    _members: Mapping[Seat, Member] = field(init=False, repr=False, compare=False)
    _by_name: Mapping[str, Seat] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the participants once: they are looked up at every call, at every event and for every status."""
        members = {member.seat: member for member in self.roster.participants if member.seat is not None}
        object.__setattr__(self, "_members", members)
        object.__setattr__(self, "_by_name", {member.spiffe_id: seat for seat, member in members.items()})

    @property
    def seats(self) -> frozenset[Seat]:
        """Seats of all participants in the roster."""
        return frozenset(self._members)

    def member(self, seat: Seat) -> Member:
        """Return the participant in a seat.

        Raises:
            IdentityError: the seat is empty.
        """
        return self._members.get(seat) or self.roster.seated(seat)

    def seat_of(self, spiffe_id: str) -> Seat | None:
        """Return the seat of the participant with this SPIFFE id, or None."""
        return self._by_name.get(spiffe_id)


@dataclass(frozen=True, slots=True)
class Accepting:
    """Waiting for participants to agree; `left` said that they will not, or are `revoked`."""

    opening: Opening
    since: datetime
    joins: Mapping[Seat, Envelope] = field(default_factory=dict, repr=False)
    left: frozenset[Seat] = frozenset()
    revoked: frozenset[Seat] = frozenset()


@dataclass(frozen=True, slots=True)
class Sealing:
    """Enough have joined; the coordinator signs the seal once enough of them witnessed the opening in the log."""

    opening: Opening
    since: datetime
    joins: Mapping[Seat, Envelope] = field(repr=False)
    left: frozenset[Seat]
    revoked: frozenset[Seat] = frozenset()


Collecting: TypeAlias = (
    CollectingKeys | CollectingShares | CollectingMaskedInputs | CollectingConsistency | CollectingUnmasking
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """Who takes part, and what that fixed.

    Attributes:
        joins: join statement of each seat that takes part.
        seal: the coordinator's statement.
        open_proof: that the opening stands in the log, which the seal names.
        parameters: those of the rounds before any restart.
    """

    joins: Mapping[Seat, Envelope] = field(repr=False)
    seal: Envelope = field(repr=False)
    open_proof: LogProof = field(repr=False)
    parameters: Parameters = field(repr=False)


@dataclass(frozen=True, slots=True)
class Aggregating:
    """The five rounds. In `Summed` the draft is made next.

    Attributes:
        opening, since, sealed: what was fixed, and when the present phase began.
        rounds: those of the present attempt.
        contributions: of the seats whose masked input is here.
        left, revoked: who said that it will send nothing more, or may not; the latter because its membership was ended.
        restarts: why earlier attempts were given up, in order.
    """

    opening: Opening
    since: datetime
    sealed: Sealed
    rounds: Collecting | Summed
    contributions: Mapping[Seat, Envelope] = field(default_factory=dict, repr=False)
    left: frozenset[Seat] = frozenset()
    revoked: frozenset[Seat] = frozenset()
    restarts: tuple[Restart, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """The bundle that waits for countersignatures.

    Attributes:
        archive: its digest.
        result: payload of the result statement.
        survivors: who may countersign.
        needed: how many must.
        stages: how far each institution came in the rounds.
        entry: what the log will hold of it.
    """

    archive: str
    result: bytes = field(repr=False)
    entry: bytes = field(repr=False)
    survivors: frozenset[Seat]
    needed: int
    stages: Mapping[Seat, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finalising:
    """Survivors verify the draft and countersign."""

    opening: Opening
    since: datetime
    sealed: Sealed
    draft: Draft
    countersignatures: Mapping[Seat, Envelope] = field(default_factory=dict, repr=False)
    left: frozenset[Seat] = frozenset()
    revoked: frozenset[Seat] = frozenset()
    restarts: tuple[Restart, ...] = ()


@dataclass(frozen=True, slots=True)
class Publishing:
    """Enough countersigned, and the result is logged; the coordinator makes the final bundle once enough witnessed that.

    There is no way back from here, and no deadline: what stands in the log cannot be taken out of it.
    """

    opening: Opening
    since: datetime
    sealed: Sealed
    draft: Draft
    countersignatures: Mapping[Seat, Envelope] = field(repr=False)
    restarts: tuple[Restart, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """The session has a result: the digest of its bundle, that of the statement in it, and what was said of it since."""

    opening: Opening
    since: datetime
    sealed: Sealed
    archive: str
    result: str
    stages: Mapping[Seat, str] = field(repr=False)
    restarts: tuple[Restart, ...] = ()
    objections: tuple[ObjectionReceived, ...] = field(default=(), repr=False)
    withdrawal: ResultWithdrawn | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Ending:
    """The session has failed; the coordinator signs why next."""

    opening: Opening
    since: datetime
    stage: Phase
    reason: str
    stages: Mapping[Seat, str] = field(repr=False)
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Aborted:
    """The session ended without a result; `abort` is the coordinator's signed statement."""

    opening: Opening
    since: datetime
    reason: str
    abort: Envelope = field(repr=False)
    stages: Mapping[Seat, str] = field(repr=False)
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """The session ended as the log says, in `phase`; what led there was lost with what the coordinator kept (§11.6)."""

    opening: Opening
    since: datetime
    phase: Phase
    reason: str
    stages: Mapping[Seat, str] = field(repr=False)
    attempt: int = 0


Over: TypeAlias = Aborted | Lost
SessionState: TypeAlias = Accepting | Sealing | Aggregating | Finalising | Publishing | Published | Ending | Over


class Duty(enum.Enum):
    """What the coordinator itself must do before anything else can happen."""

    SEAL = "sign the seal"
    DRAFT = "make the draft"
    PUBLISH = "make the bundle"
    ABORT = "sign the abort"


_ROUND_PHASES: Final[Mapping[type[Collecting | Summed], Phase]] = {
    CollectingKeys: Phase.ADVERTISING_KEYS,
    CollectingShares: Phase.SHARING_KEYS,
    CollectingMaskedInputs: Phase.MASKING_INPUT,
    CollectingConsistency: Phase.CONSISTENCY,
    CollectingUnmasking: Phase.UNMASKING,
    Summed: Phase.UNMASKING,
}

_PHASES: Final[Mapping[type[Accepting | Sealing | Finalising | Publishing | Published | Ending | Aborted], Phase]] = {
    Accepting: Phase.ACCEPTING,
    Sealing: Phase.ACCEPTING,
    Finalising: Phase.FINALISING,
    Publishing: Phase.FINALISING,
    Published: Phase.PUBLISHED,
    Ending: Phase.ABORTED,
    Aborted: Phase.ABORTED,
}


def phase_of(state: SessionState) -> Phase:
    """Return the phase that others are told."""
    match state:
        case Aggregating():
            return _ROUND_PHASES[type(state.rounds)]
        case Lost():
            return state.phase
        case _:
            return _PHASES[type(state)]


def attempt_of(state: SessionState) -> int:
    """Return how often the rounds were restarted."""
    match state:
        case Aggregating() | Finalising() | Publishing() | Published():
            return len(state.restarts)
        case Ending() | Aborted() | Lost():
            return state.attempt
        case _:
            return 0


def duty_of(state: SessionState) -> Duty | None:
    """Return what the coordinator must do next, if it is its turn."""
    match state:
        case Sealing():
            return Duty.SEAL
        case Aggregating(rounds=Summed()):
            return Duty.DRAFT
        case Publishing():
            return Duty.PUBLISH
        case Ending():
            return Duty.ABORT
        case _:
            return None


def seconds_allowed(state: SessionState) -> int | None:
    """Return how long a state may last before DeadlinePassed, or None when nothing is waited for."""
    deadlines = state.opening.spec.deadlines
    match state:
        case Accepting():
            return 0 if state.left and len(waited_for(state)) < state.opening.spec.cohort.minimum else deadlines.joining
        case Sealing():
            return deadlines.round
        case Aggregating(rounds=CollectingKeys(), restarts=()):
            return deadlines.computing
        case Aggregating() if not isinstance(state.rounds, Summed):
            return deadlines.round
        case Finalising():
            return deadlines.countersigning
        case _:
            return None


def waited_for(state: SessionState) -> frozenset[Seat]:
    """Return the seats that may still do something in the session."""
    match state:
        case Accepting():
            return state.opening.seats - state.left
        case Sealing():
            return frozenset(state.joins)
        case Aggregating():
            return frozenset(state.sealed.joins) - state.left - {restart.dealer for restart in state.restarts}
        case Finalising():
            return frozenset(state.sealed.joins) - state.left
        case _:
            return frozenset()


def may_contribute(state: SessionState, seat: Seat) -> bool:
    """Return whether a seat that measures can be in the sum still, so that its work is not for nothing."""
    match state:
        case Aggregating(rounds=CollectingKeys()):
            return seat in waited_for(state)
        case Aggregating():
            return seat in waited_for(state) and seat in recorded(state.rounds)[0]
        case _:
            return seat in waited_for(state) and not isinstance(state, Finalising)


def reason_of(state: SessionState) -> str:
    """Return why a session was aborted, or its result withdrawn, or ""."""
    if isinstance(state, Published) and state.withdrawal is not None:
        statement, _ = parse_statement(state.withdrawal.withdrawal.payload, Withdrawal)
        return f"the result is withdrawn: {statement.reason}"
    return state.reason if isinstance(state, Ending | Aborted | Lost) else ""


def stages_of(state: SessionState) -> dict[Seat, str]:
    """Return how far each institution is, in words, by seat."""
    match state:
        case Accepting() | Sealing():
            words = dict.fromkeys(state.opening.seats, "has not joined")
            words |= dict.fromkeys(state.joins, "joined")
            return words | _gone(state)
        case Aggregating():
            return _round_stages(state)
        case Finalising() | Publishing():
            words = dict(state.draft.stages) | dict.fromkeys(state.countersignatures, "countersigned")
            return words | _gone(state) if isinstance(state, Finalising) else words
        case _:
            return dict(state.stages)


def _gone(state: Accepting | Sealing | Aggregating | Finalising) -> dict[Seat, str]:
    return dict.fromkeys(state.left, "left") | dict.fromkeys(state.revoked, "revoked")


def _round_stages(state: Aggregating) -> dict[Seat, str]:
    words = dict.fromkeys(state.opening.seats, "did not join")
    words |= dict.fromkeys(state.sealed.joins, "joined")
    for seats, stage in zip(recorded(state.rounds), ROUND_STAGES, strict=False):
        words |= dict.fromkeys(seats, stage)
    words |= _gone(state)
    return words | {restart.dealer: "left out" for restart in state.restarts}
