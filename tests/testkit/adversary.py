"""A malicious coordinator in memory: it shows each participant what it likes, and computes what it may then learn.

Promises to use the product's own functions on both sides, so that a story ends where a guard of the product stops it. With a
guard patched out, `unmask_one` and `unmask_sum` show what it was there for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from testkit.consortium import Network, Participants, expect, inputs_for, parameters, signer
from vdb_coordinator.rounds import InputMasked, KeysShared, Message
from vdb_participant.rounds import MaskedInputMessage, SharedKeysMessage
from vdb_shared import labels
from vdb_shared.secagg import agreement
from vdb_shared.secagg.encoding import Lanes, decode_totals
from vdb_shared.secagg.masking import masked_digest, pair_mask_key, pair_sign, self_mask_key
from vdb_shared.secagg.messages import (
    AdvertisedKeys,
    MaskedInputHeader,
    SharedKeysHeader,
    Signed,
    UnmaskingShares,
)
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.sealing import Route, SharePair, open_sealed
from vdb_shared.secagg.shamir import combine
from vdb_shared.secagg.transcript import (
    AdvertisedRound,
    SharedRound,
    Transcript,
    close_advertised,
    close_masked,
    close_shared,
)
from vdb_shared.secagg.unmasking import Recovered, remove_masks
from vdb_shared.secagg.vectors import Vector

Views = Mapping[Seat, Collection[Seat]]
"""Which members each participant is shown."""

SEED_BYTES = agreement.SEED_BYTES


def everyone(seats: Collection[Seat], view: Collection[Seat]) -> dict[Seat, Collection[Seat]]:
    """Return one view for all these seats."""
    return dict.fromkeys(seats, view)


@dataclass
class Equivocator:
    """A coordinator that plays each round with a view of its choice for each participant."""

    parameters: Parameters
    inputs: Mapping[Seat, Lanes]
    participants: Participants = field(init=False)
    advertised: dict[Seat, Signed] = field(init=False)
    shared: dict[Seat, SharedKeysMessage] = field(init=False, default_factory=dict)
    masked: dict[Seat, MaskedInputMessage] = field(init=False, default_factory=dict)
    agreed: dict[Seat, Signed] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.participants = Participants(self.parameters, self.inputs)
        self.advertised = {seat: self.participants.advertise(seat) for seat in sorted(self.parameters.seats)}

    def share_keys(self, views: Views) -> None:
        """Round 1."""
        for seat, view in views.items():
            self.shared[seat] = self.participants.share_keys(seat, {peer: self.advertised[peer] for peer in view})

    def headers(self, view: Collection[Seat]) -> dict[Seat, Signed]:
        """Return the round-1 headers of a view."""
        return {peer: self.shared[peer].header for peer in view}

    def sealed_for(self, seat: Seat, view: Collection[Seat]) -> dict[Seat, bytes]:
        """Return what the others of a view sealed for this seat."""
        return {peer: self.shared[peer].sealed[seat] for peer in view if peer != seat}

    def mask_inputs(self, views: Views) -> None:
        """Round 2."""
        for seat, view in views.items():
            self.masked[seat] = self.participants.mask_input(seat, self.headers(view), self.sealed_for(seat, view))

    def agree(self, views: Views) -> None:
        """Round 3."""
        for seat, view in views.items():
            self.agreed[seat] = self.participants.agree(seat, {peer: self.masked[peer].header for peer in view})

    def reveal(self, seat: Seat, signers: Collection[Seat]) -> Signed:
        """Round 4."""
        return self.participants.reveal(seat, {peer: self.agreed[peer].signature for peer in signers})

    def rounds(
        self, view: Collection[Seat], shared: Collection[Seat] | None = None
    ) -> tuple[AdvertisedRound, SharedRound]:
        """Return rounds 0 and 1 closed over one view, or over U1 and U2."""
        messages = {seat: self.advertised[seat] for seat in sorted(view)}
        keys = {seat: AdvertisedKeys.decode(signed.body) for seat, signed in messages.items()}
        advertised = close_advertised(self.parameters, messages, keys)
        headers = self.headers(sorted(view if shared is None else shared))
        opened = {seat: SharedKeysHeader.decode(signed.body) for seat, signed in headers.items()}
        return advertised, close_shared(advertised.t1, headers, opened)

    def transcript(
        self, view: Collection[Seat], survivors: Collection[Seat], shared: Collection[Seat] | None = None
    ) -> Transcript:
        """Return all rounds closed over one view, or over U1, U3 and U2."""
        advertised, round1 = self.rounds(view, shared)
        messages = {seat: self.masked[seat].header for seat in sorted(survivors)}
        opened = {seat: MaskedInputHeader.decode(signed.body) for seat, signed in messages.items()}
        return Transcript(self.parameters, advertised, round1, close_masked(advertised, round1, messages, opened))


def equivocator(joined: int, collusion: int = 1, *, lanes: int = 5, dropout: str = "0.4") -> Equivocator:
    """Return a malicious coordinator of so many honest participants; which of them collude with it is the story's."""
    sealed = parameters(joined, collusion=collusion, lanes=lanes, dropout=dropout)
    return Equivocator(sealed, inputs_for(sealed))


def held_by(
    story: Equivocator, dealer: Seat, keys: Mapping[Seat, bytes], view: Collection[Seat]
) -> dict[Seat, SharePair]:
    """Return a dealer's pairs that are known to whoever has these holders' channel private keys."""
    advertised, _ = story.rounds(view)
    dealer_key = advertised.keys[dealer].channel_key
    return {
        holder: open_sealed(
            story.shared[dealer].sealed[holder],
            Route(advertised.t1, dealer, holder),
            agreement.agree(agreement.load_private_key(key), dealer_key),
        )
        for holder, key in keys.items()
    }


def seed_of(shares: Mapping[Seat, int]) -> bytes | None:
    """Return the seed these shares give, or None when they are too few or wrong, which shows in a value that is no seed."""
    value = combine(shares)
    return value.to_bytes(SEED_BYTES, "little") if value < 2 ** (8 * SEED_BYTES) else None


def unmask_one(
    masked: bytes, seat: Seat, seeds: tuple[bytes, bytes], rounds: tuple[AdvertisedRound, SharedRound], session: bytes
) -> Lanes:
    """Return the lanes of one participant, given both its seeds: k, then b."""
    advertised, shared = rounds
    mask_seed, self_seed = seeds
    lanes = (len(masked) - 32) // 8  # stories have one block
    vector = Vector.from_bytes(masked, lanes).copy()
    vector.add_mask(self_mask_key(self_seed, shared.t2, seat), -1)
    private = agreement.load_private_key(agreement.mask_private_key(mask_seed, session))
    for peer in shared.seats - {seat}:
        common = agreement.agree(private, advertised.keys[peer].mask_key)
        vector.add_mask(pair_mask_key(common, shared.t2, (seat, peer)), -pair_sign(seat, peer))
    return decode_totals(vector.lanes, 1)


def unmask_sum(story: Equivocator, transcript: Transcript, revealed: Iterable[UnmaskingShares]) -> Lanes:
    """Return the sum over the transcript's survivors, from shares in whatever answers.

    Raises:
        AssertionError: the shares of a seed that is needed do not suffice.
    """
    answers = list(revealed)
    self_mask = {seat: _first_seed(answers, seat, transcript, "self_mask") for seat in transcript.survivors}
    mask_key = {seat: _first_seed(answers, seat, transcript, "mask_key") for seat in transcript.dropped_with_masks}
    total = Vector.zeros(transcript.parameters.lanes)
    for seat in transcript.survivors:
        total = total.plus(Vector.from_bytes(story.masked[seat].masked, transcript.parameters.lanes))
    plain = remove_masks(total, transcript, Recovered(self_mask, mask_key, ()))
    return decode_totals(plain.lanes, len(transcript.survivors))


def _first_seed(answers: list[UnmaskingShares], dealer: Seat, transcript: Transcript, kind: str) -> bytes:
    shares = {answer.seat: getattr(answer, kind)[dealer] for answer in answers if dealer in getattr(answer, kind)}
    assert len(shares) >= transcript.advertised.threshold, f"{len(shares)} shares of the {kind} seed of seat {dealer}"
    seed = seed_of(shares)
    assert seed is not None
    return seed


def signed_by(seat: Seat, payload_type: str, body: bytes) -> Signed:
    """Return a body with the signature of a seat of the consortium."""
    return Signed(body, signer(0, seat).sign(payload_type, body))


def reshared(message: Message, **changes: object) -> KeysShared:
    """Return a round-1 message whose sender signs other fields."""
    sent = expect(KeysShared, message)
    body = replace(SharedKeysHeader.decode(sent.header.body), **changes).encode()  # type: ignore[arg-type]  # any field, also a wrong one, is meant
    return replace(sent, header=signed_by(sent.seat, labels.TYPE_SHARE_KEYS, body))


def remasked(message: Message, masked: bytes | None = None, **changes: object) -> InputMasked:
    """Return a round-2 message whose sender signs other fields, or another masked input."""
    sent = expect(InputMasked, message)
    vector = sent.masked if masked is None else masked
    all_changes = {"masked_digest": masked_digest(vector), **changes}
    body = replace(MaskedInputHeader.decode(sent.header.body), **all_changes).encode()  # type: ignore[arg-type]  # any field, also a wrong one, is meant
    return InputMasked(sent.seat, signed_by(sent.seat, labels.TYPE_MASKED_INPUT, body), vector)


@dataclass
class Replacing(Network):
    """A network that replaces one seat's messages of one kind.

    Attributes:
        kind: of message.
        seat: whose.
        change: what becomes of it.
    """

    kind: type[Message]
    seat: Seat
    change: Callable[[Message], Message]

    def up(self, message: Message) -> Message | None:
        """Return what arrives instead."""
        return self.change(message) if isinstance(message, self.kind) and message.seat == self.seat else message
