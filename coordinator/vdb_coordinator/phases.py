"""The phases of the aggregation rounds as the coordinator sees them, and the messages it receives.

Promises that each phase holds what it may hold and nothing that is set later. `rounds.py` moves between them.

Source: protos/README.md §4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from vdb_shared.secagg.commitments import Points
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.messages import AdvertisedKeys, MaskedInputHeader, SharedKeysHeader, Signed, UnmaskingShares
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.transcript import AdvertisedRound, SharedRound, Stage, Transcript
from vdb_shared.secagg.unmasking import LeftOutShare
from vdb_shared.secagg.vectors import Vector


@dataclass(frozen=True, slots=True)
class CollectingKeys:
    """Round 0: waiting for keys from all who joined.

    Attributes:
        parameters: the sealed facts.
        messages: accepted so far.
        keys: what they say.
    """

    parameters: Parameters
    messages: Mapping[Seat, Signed] = field(default_factory=dict, repr=False)
    keys: Mapping[Seat, AdvertisedKeys] = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> frozenset[Seat]:
        """Seats that have not sent yet."""
        return self.parameters.seats - self.keys.keys()


@dataclass(frozen=True, slots=True)
class CollectingShares:
    """Round 1: waiting for sealed shares from U1, who are sent `advertised.messages`.

    Attributes:
        parameters: the sealed facts.
        advertised: round 0.
        messages: headers accepted so far.
        headers: what they say.
        sealed: sealed pairs by sender, then recipient.
    """

    parameters: Parameters
    advertised: AdvertisedRound
    messages: Mapping[Seat, Signed] = field(default_factory=dict, repr=False)
    headers: Mapping[Seat, SharedKeysHeader] = field(default_factory=dict, repr=False)
    sealed: Mapping[Seat, Mapping[Seat, bytes]] = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> frozenset[Seat]:
        """Seats that have not sent yet."""
        return self.advertised.seats - self.headers.keys()


@dataclass(frozen=True, slots=True)
class CollectingMaskedInputs:
    """Round 2: waiting for masked inputs from U2, who are sent `shared.messages` and `sealed_for` them.

    Attributes:
        parameters: the sealed facts.
        advertised, shared: rounds 0 and 1.
        sealed: sealed pairs by sender, then recipient.
        messages: headers accepted so far.
        headers: what they say.
        total: sum of the masked inputs accepted so far.
        committed: sums of their commitments.
    """

    parameters: Parameters
    advertised: AdvertisedRound
    shared: SharedRound
    sealed: Mapping[Seat, Mapping[Seat, bytes]] = field(repr=False)
    total: Vector = field(repr=False, compare=False)
    committed: Points = field(repr=False, compare=False)
    messages: Mapping[Seat, Signed] = field(default_factory=dict, repr=False)
    headers: Mapping[Seat, MaskedInputHeader] = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> frozenset[Seat]:
        """Seats that have not sent yet."""
        return self.shared.seats - self.headers.keys()

    def sealed_for(self, seat: Seat) -> Mapping[Seat, bytes]:
        """Return what the others in U2 sealed for this seat, by sender."""
        return {sender: self.sealed[sender][seat] for sender in sorted(self.shared.seats - {seat})}


@dataclass(frozen=True, slots=True)
class CollectingConsistency:
    """Round 3: waiting for signatures of T3 from U3, who are sent `transcript.masked.messages`.

    Attributes:
        transcript: rounds 0 to 2.
        total: sum of all masked inputs of U3.
        committed: sums of their commitments.
        signatures: accepted so far, over `transcript.masked.statement`.
    """

    transcript: Transcript
    total: Vector = field(repr=False, compare=False)
    committed: Points = field(repr=False, compare=False)
    signatures: Mapping[Seat, bytes] = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> frozenset[Seat]:
        """Seats that have not sent yet."""
        return self.transcript.survivors - self.signatures.keys()


@dataclass(frozen=True, slots=True)
class CollectingUnmasking:
    """Round 4: waiting for shares from those who signed T3, who are sent `signatures`.

    Attributes:
        transcript: rounds 0 to 2.
        total: sum of all masked inputs of U3.
        committed: sums of their commitments.
        signatures: at least q, over `transcript.masked.statement`.
        messages: accepted so far.
        shares: what they say.
    """

    transcript: Transcript
    total: Vector = field(repr=False, compare=False)
    committed: Points = field(repr=False, compare=False)
    signatures: Mapping[Seat, bytes] = field(repr=False)
    messages: Mapping[Seat, Signed] = field(default_factory=dict, repr=False)
    shares: Mapping[Seat, UnmaskingShares] = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> frozenset[Seat]:
        """Seats that have not sent yet."""
        return frozenset(self.signatures.keys() - self.shares.keys())


@dataclass(frozen=True, slots=True)
class Summed:
    """The sum is known.

    Attributes:
        transcript: rounds 0 to 2, with every signed header.
        totals: sum of the survivors' lanes without offsets, (lanes,), int64.
        blinders: sums of the survivors' blinders mod r, one for each block.
        signatures: at least q, over `transcript.masked.statement`.
        revealed: the round-4 messages used; for the full profile of a bundle only.
        left_out: shares that did not fit and were worked around.
    """

    transcript: Transcript
    totals: Lanes = field(repr=False, compare=False)
    blinders: tuple[int, ...] = field(repr=False)
    signatures: Mapping[Seat, bytes] = field(repr=False)
    revealed: Mapping[Seat, Signed] = field(repr=False)
    left_out: tuple[LeftOutShare, ...]

    @property
    def survivors(self) -> frozenset[Seat]:
        """U3, whose inputs are in the sum."""
        return self.transcript.survivors

    @property
    def dropped(self) -> Mapping[Seat, Stage]:
        """Who dropped out, with the first message that did not come; those at "consistency" are in the sum."""
        known = self.transcript
        stages = (
            (Stage.ADVERTISE_KEYS, known.parameters.seats - known.advertised.seats),
            (Stage.SHARE_KEYS, known.advertised.seats - known.shared.seats),
            (Stage.MASKED_INPUT, known.dropped_with_masks),
            (Stage.CONSISTENCY, known.survivors - self.signatures.keys()),
        )
        return {seat: stage for stage, seats in stages for seat in sorted(seats)}


@dataclass(frozen=True, slots=True)
class Failed:
    """The session ended without a sum; it is never resumed with the same keys or noise.

    Attributes:
        stage: the round in which it ended.
        reason: one line.
        missing: who had not sent in that round.
    """

    stage: Stage
    reason: str
    missing: frozenset[Seat]


Unfailed: TypeAlias = (
    CollectingKeys | CollectingShares | CollectingMaskedInputs | CollectingConsistency | CollectingUnmasking | Summed
)

Phase: TypeAlias = Unfailed | Failed


@dataclass(frozen=True, slots=True)
class KeysAdvertised:
    """Round 0 from one seat."""

    seat: Seat
    signed: Signed


@dataclass(frozen=True, slots=True)
class KeysShared:
    """Round 1 from one seat; `sealed` by recipient."""

    seat: Seat
    header: Signed
    sealed: Mapping[Seat, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class InputMasked:
    """Round 2 from one seat; `masked` is the whole vector: 8 little-endian bytes for each lane, 32 for each blinder."""

    seat: Seat
    header: Signed
    masked: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsistencySigned:
    """Round 3 from one seat: its signature of the statement that all survivors share."""

    seat: Seat
    signature: bytes


@dataclass(frozen=True, slots=True)
class SharesRevealed:
    """Round 4 from one seat."""

    seat: Seat
    signed: Signed = field(repr=False)


@dataclass(frozen=True, slots=True)
class Complained:
    """Instead of round 2 from one seat: a pair sealed for it does not open."""

    seat: Seat
    signed: Signed


RoundMessage: TypeAlias = KeysAdvertised | KeysShared | InputMasked | ConsistencySigned | SharesRevealed

Message: TypeAlias = RoundMessage | Complained


def recorded(phase: Unfailed) -> tuple[Mapping[Seat, Signed | bytes], ...]:
    """Return what each round that has begun accepted."""
    match phase:
        case CollectingKeys():
            return (phase.messages,)
        case CollectingShares():
            return (phase.advertised.messages, phase.messages)
        case CollectingMaskedInputs():
            return (phase.advertised.messages, phase.shared.messages, phase.messages)
        case CollectingConsistency():
            return (*_closed(phase.transcript), phase.signatures)
        case CollectingUnmasking():
            return (*_closed(phase.transcript), phase.signatures, phase.messages)
        case Summed():
            return (*_closed(phase.transcript), phase.signatures, phase.revealed)
        case _:
            assert_never(phase)


def _closed(known: Transcript) -> tuple[Mapping[Seat, Signed], ...]:
    return (known.advertised.messages, known.shared.messages, known.masked.messages)
