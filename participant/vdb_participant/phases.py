"""The phases of the aggregation rounds as one participant sees them, and the messages of several parts that it sends.

Promises that each phase holds what it may hold, that secrets do not print, and that a later phase has no secret it no
longer needs. `rounds.py` moves between them.

Source: protos/README.md §4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vdb_shared.identity import Signer
from vdb_shared.secagg.messages import ConsistencyStatement, Signed
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.sealing import SharePair
from vdb_shared.secagg.transcript import AdvertisedRound, SharedRound
from vdb_shared.secagg.vectors import Vector


@dataclass(frozen=True, slots=True)
class Membership:
    """Who we are in which session.

    Attributes:
        parameters: the sealed facts.
        seat: ours.
        signer: our statement key.
    """

    parameters: Parameters
    seat: Seat
    signer: Signer = field(repr=False)

    def sign(self, payload_type: str, body: bytes) -> Signed:
        """Return a body with our signature."""
        return Signed(body, self.signer.sign(payload_type, body))


@dataclass(frozen=True, slots=True)
class Secrets:
    """Our seeds and keys of one attempt, in buffers of their own so that they can be overwritten.

    Attributes:
        mask_seed: k, 31 bytes.
        channel_private: X25519 private key, 32 bytes.
        self_seed: b, 31 bytes; empty before round 1.
        channels: agreements of our channel key with the others', 32 bytes each, by seat; empty before round 1.
    """

    mask_seed: bytearray = field(repr=False)
    channel_private: bytearray = field(repr=False)
    self_seed: bytearray = field(repr=False)
    channels: Mapping[Seat, bytearray] = field(repr=False)

    def erase(self) -> None:
        """Overwrite all of it. Copies that libraries made, and integers, are out of reach of a Python program."""
        for secret in (self.mask_seed, self.channel_private, self.self_seed, *self.channels.values()):
            secret[:] = bytes(len(secret))


@dataclass(frozen=True, slots=True)
class Advertised:
    """Round 0 done: keys advertised.

    Attributes:
        membership: who we are.
        own: our round-0 message.
        secrets: k and the channel key.
    """

    membership: Membership
    own: Signed
    secrets: Secrets = field(repr=False)


@dataclass(frozen=True, slots=True)
class SharedKeys:
    """Round 1 done: seeds shared with all of U1.

    Attributes:
        membership: who we are.
        advertised: round 0 as we verified it.
        own: our round-1 header.
        secrets: what the masks will be made of.
        own_pair: the shares of our own seeds that we keep.
    """

    membership: Membership
    advertised: AdvertisedRound
    own: Signed
    secrets: Secrets = field(repr=False)
    own_pair: SharePair = field(repr=False)


@dataclass(frozen=True, slots=True)
class Committed:
    """A vector and its commitments, before it is masked.

    Attributes:
        vector: encoded lanes and blinders.
        commitments: 48 bytes for each block.
    """

    vector: Vector = field(repr=False)
    commitments: bytes = field(repr=False)

    def erase(self) -> None:
        """Overwrite the lanes and drop the blinders, once they are masked."""
        self.vector.lanes.fill(0)
        self.vector.blinders.clear()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Round 2 computed, not yet signed: the contribution statement names the masked input, and the header names that.

    Attributes:
        membership: who we are.
        advertised, shared: rounds 0 and 1 as we verified them.
        masked: y as it travels: 8 little-endian bytes for each lane, then 32 for each blinder.
        commitments: to the lanes, 48 bytes for each block.
        held: the shares we hold, by dealer.
    """

    membership: Membership
    advertised: AdvertisedRound
    shared: SharedRound
    masked: bytes = field(repr=False)
    commitments: bytes = field(repr=False)
    held: Mapping[Seat, SharePair] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Masked:
    """Round 2 done: the masked input may leave. Our own seeds are gone.

    Attributes:
        membership: who we are.
        advertised, shared: rounds 0 and 1 as we verified them.
        own: our round-2 header.
        held: the shares we hold, by dealer.
    """

    membership: Membership
    advertised: AdvertisedRound
    shared: SharedRound
    own: Signed
    held: Mapping[Seat, SharePair] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Agreed:
    """Round 3 done: one T3 signed.

    Attributes:
        membership: who we are.
        statement: what we signed.
        own: our round-3 message.
        quorum: q, counted on the sealed joins.
        held: the shares we hold, by dealer.
    """

    membership: Membership
    statement: ConsistencyStatement
    own: Signed
    quorum: int
    held: Mapping[Seat, SharePair] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Revealed:
    """Round 4 done: shares revealed; there is no way on from here.

    Attributes:
        statement: the view for which we revealed.
    """

    statement: ConsistencyStatement


@dataclass(frozen=True, slots=True)
class SharedKeysMessage:
    """What round 1 sends.

    Attributes:
        header: signed.
        sealed: 80 bytes for each other member of U1, by recipient.
    """

    header: Signed
    sealed: Mapping[Seat, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class MaskedInputMessage:
    """What round 2 sends.

    Attributes:
        header: signed.
        masked: y: 8 little-endian bytes for each lane, then 32 for each blinder.
    """

    header: Signed
    masked: bytes = field(repr=False)
