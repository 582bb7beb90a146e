"""Closed rounds: verified signed messages, what they say, and the digest that chains the next round to them.

Promises that each message of a round is signed by the sealed key of its seat, names that seat and the transcript before
it, and that no key stands twice. Both state machines and the audit use these checks; they leave to their callers whether a
set is complete.

Source: Bonawitz et al. 2017, section 6; protos/README.md §4.2, §4.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.errors import FormatError, ProtocolError, SignatureError
from vdb_shared.secagg.masking import commitments_digest
from vdb_shared.secagg.messages import (
    AdvertisedKeys,
    Complaint,
    ConsistencyStatement,
    MaskedInputHeader,
    SharedKeysHeader,
    Signed,
    UnmaskingShares,
    encode_seat,
)
from vdb_shared.secagg.parameters import Parameters, Seat, share_threshold
from vdb_shared.secagg.vectors import COMMITMENT_BYTES

_Message = TypeVar("_Message")

COORDINATOR: Final = "coordinator"
"""The peer of a participant, as ProtocolError names it."""


class Stage(StrEnum):
    """The five rounds by name; where a session failed, or before which message a participant dropped out."""

    ADVERTISE_KEYS = "advertise-keys"
    SHARE_KEYS = "share-keys"
    MASKED_INPUT = "masked-input"
    CONSISTENCY = "consistency"
    UNMASKING = "unmasking"


def seat_peer(seat: Seat) -> str:
    """Return a participant as ProtocolError names it."""
    return f"seat {seat}"


@dataclass(frozen=True, slots=True)
class AdvertisedRound:
    """Round 0, closed: U1 and its keys.

    Attributes:
        messages: as received.
        keys: what they say.
        t1: T1 = H(session, messages).
        threshold: t, counted on |U1|.
    """

    messages: Mapping[Seat, Signed] = field(repr=False)
    keys: Mapping[Seat, AdvertisedKeys] = field(repr=False)
    t1: bytes
    threshold: int

    @property
    def seats(self) -> frozenset[Seat]:
        """U1."""
        return frozenset(self.keys)


@dataclass(frozen=True, slots=True)
class SharedRound:
    """Round 1, closed: U2.

    Attributes:
        messages: headers as received.
        headers: what they say.
        t2: T2 = H(T1, messages).
    """

    messages: Mapping[Seat, Signed] = field(repr=False)
    headers: Mapping[Seat, SharedKeysHeader] = field(repr=False)
    t2: bytes

    @property
    def seats(self) -> frozenset[Seat]:
        """U2."""
        return frozenset(self.headers)


@dataclass(frozen=True, slots=True)
class MaskedRound:
    """Round 2, closed: U3 and the one statement that all survivors sign.

    Attributes:
        messages: headers as received.
        headers: what they say.
        statement: T3 = H(T2, messages), with U1, U2 and U3.
    """

    messages: Mapping[Seat, Signed] = field(repr=False)
    headers: Mapping[Seat, MaskedInputHeader] = field(repr=False)
    statement: ConsistencyStatement

    @property
    def seats(self) -> frozenset[Seat]:
        """U3."""
        return frozenset(self.headers)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Rounds 0 to 2, closed: all that unmasking refers to.

    Attributes:
        parameters: the sealed facts.
        advertised, shared, masked: the rounds.
    """

    parameters: Parameters
    advertised: AdvertisedRound
    shared: SharedRound
    masked: MaskedRound

    @property
    def survivors(self) -> frozenset[Seat]:
        """U3, whose inputs are in the sum."""
        return self.masked.seats

    @property
    def dropped_with_masks(self) -> frozenset[Seat]:
        """U2 without U3, whose pair masks must be removed."""
        return self.shared.seats - self.masked.seats


def chain(label: str, previous: bytes, messages: Mapping[Seat, Signed]) -> bytes:
    """Return the transcript digest H(label, previous, then seat, body, signature of each message by ascending seat)."""
    parts = [
        part for seat in sorted(messages) for part in (encode_seat(seat), messages[seat].body, messages[seat].signature)
    ]
    return labelled_hash(label, previous, *parts)


def close_advertised(
    parameters: Parameters, messages: Mapping[Seat, Signed], keys: Mapping[Seat, AdvertisedKeys]
) -> AdvertisedRound:
    """Return round 0 closed over messages that were opened before."""
    return AdvertisedRound(
        messages,
        keys,
        chain(labels.HASH_T1, parameters.session, messages),
        share_threshold(len(messages), parameters.collusion),
    )


def close_shared(t1: bytes, messages: Mapping[Seat, Signed], headers: Mapping[Seat, SharedKeysHeader]) -> SharedRound:
    """Return round 1 closed over headers that were opened before."""
    return SharedRound(messages, headers, chain(labels.HASH_T2, t1, messages))


def close_masked(
    advertised: AdvertisedRound,
    shared: SharedRound,
    messages: Mapping[Seat, Signed],
    headers: Mapping[Seat, MaskedInputHeader],
) -> MaskedRound:
    """Return round 2 closed over headers that were opened before."""
    t3 = chain(labels.HASH_T3, shared.t2, messages)
    statement = ConsistencyStatement(t3, advertised.seats, shared.seats, frozenset(messages))
    return MaskedRound(messages, headers, statement)


def open_advertised(parameters: Parameters, seat: Seat, signed: Signed, peer: str) -> AdvertisedKeys:
    """Return the keys in a round-0 message of this seat.

    Raises:
        ProtocolError: by `peer`: a signature, seat, session or encoding that is wrong.
    """
    _verify(parameters, seat, signed, labels.TYPE_ADVERTISE_KEYS, peer)
    keys = _decode(AdvertisedKeys.decode, signed.body, seat, peer)
    _same("session", parameters.session, keys.session, seat, peer)
    _same_seat(keys.seat, seat, peer)
    return keys


def open_shared(parameters: Parameters, t1: bytes, seat: Seat, signed: Signed, peer: str) -> SharedKeysHeader:
    """Return the header in a round-1 message of this seat; raises as `open_advertised`."""
    _verify(parameters, seat, signed, labels.TYPE_SHARE_KEYS, peer)
    header = _decode(SharedKeysHeader.decode, signed.body, seat, peer)
    _same("T1", t1, header.t1, seat, peer)
    _same_seat(header.seat, seat, peer)
    return header


def open_masked(
    parameters: Parameters, shared: SharedRound, seat: Seat, signed: Signed, peer: str
) -> MaskedInputHeader:
    """Return the header in a round-2 message of this seat; its commitments are those that its round-1 header fixed.

    Raises:
        ProtocolError: as `open_advertised`, or a seat outside U2, or other commitments than it fixed.
    """
    _verify(parameters, seat, signed, labels.TYPE_MASKED_INPUT, peer)
    header = _decode(MaskedInputHeader.decode, signed.body, seat, peer)
    _same("T2", shared.t2, header.t2, seat, peer)
    _same_seat(header.seat, seat, peer)
    if seat not in shared.headers:
        raise ProtocolError(f"a masked input of seat {seat}, which shared no keys", peer=peer)
    blocks = len(header.commitments) // COMMITMENT_BYTES
    if blocks != parameters.blocks:
        raise ProtocolError(
            f"message of seat {seat} holds {blocks} commitments, expected {parameters.blocks}", peer=peer
        )
    fixed = shared.headers[seat]
    if commitments_digest(fixed.t1, seat, header.commitments) != fixed.commitments_digest:
        raise ProtocolError(f"message of seat {seat} holds other commitments than those it fixed in round 1", peer=peer)
    return header


def open_complaint(parameters: Parameters, t1: bytes, seat: Seat, signed: Signed, peer: str) -> Complaint:
    """Return the complaint of this seat; raises as `open_advertised`. Whether it is true is for `restarts.py`."""
    _verify(parameters, seat, signed, labels.TYPE_COMPLAINT, peer)
    complaint = _decode(Complaint.decode, signed.body, seat, peer)
    _same("T1", t1, complaint.t1, seat, peer)
    _same_seat(complaint.seat, seat, peer)
    return complaint


def verify_consistency(parameters: Parameters, seat: Seat, signed: Signed, peer: str) -> None:
    """Check a round-3 signature of this seat; raises as `open_advertised`."""
    _verify(parameters, seat, signed, labels.TYPE_CONSISTENCY, peer)


def open_unmasking(
    parameters: Parameters, statement: ConsistencyStatement, seat: Seat, signed: Signed, peer: str
) -> UnmaskingShares:
    """Return the shares in a round-4 message of this seat.

    Raises:
        ProtocolError: as `open_advertised`, or shares for other seats than U3 and U2 without U3.
    """
    _verify(parameters, seat, signed, labels.TYPE_UNMASKING, peer)
    shares = _decode(UnmaskingShares.decode, signed.body, seat, peer)
    _same("T3", statement.t3, shares.t3, seat, peer)
    _same_seat(shares.seat, seat, peer)
    if shares.self_mask.keys() != statement.masked:
        raise ProtocolError("reveals shares of b for another set than the survivors", peer=peer)
    if shares.mask_key.keys() != statement.shared - statement.masked:
        raise ProtocolError("reveals shares of k for another set than those who dropped out", peer=peer)
    return shares


def check_distinct_keys(all_keys: Sequence[AdvertisedKeys], peer: str) -> None:
    """Check that all 2n session keys differ.

    Raises:
        ProtocolError: by `peer`, when one stands twice.
    """
    seen: dict[bytes, Seat] = {}
    for keys in all_keys:
        for key in (keys.channel_key, keys.mask_key):
            if key in seen:
                raise ProtocolError(
                    f"seat {keys.seat} advertises a key that seat {seen[key]} advertises; every key must be fresh",
                    peer=peer,
                )
            seen[key] = keys.seat


def _verify(parameters: Parameters, seat: Seat, signed: Signed, payload_type: str, peer: str) -> None:
    key = parameters.roster.get(seat)
    if key is None:
        raise ProtocolError(f"a message of seat {seat}, which is not among the sealed joins", peer=peer)
    if seat in parameters.left_out:
        raise ProtocolError(f"a message of seat {seat}, without which the rounds were restarted", peer=peer)
    try:
        key.verify(payload_type, signed.body, signed.signature)
    except SignatureError as error:
        raise ProtocolError(f"message of seat {seat}: {error}", peer=peer) from error


def _decode(decode: Callable[[bytes], _Message], body: bytes, seat: Seat, peer: str) -> _Message:
    try:
        return decode(body)
    except FormatError as error:
        raise ProtocolError(f"message of seat {seat}: {error}", peer=peer) from error


def _same(name: str, expected: bytes, found: bytes, seat: Seat, peer: str) -> None:
    if expected != found:
        raise ProtocolError(
            f"message of seat {seat} is for {name} {found.hex()[:16]}…, expected {expected.hex()[:16]}…", peer=peer
        )


def _same_seat(found: Seat, seat: Seat, peer: str) -> None:
    if found != seat:
        raise ProtocolError(f"message of seat {seat} names seat {found}", peer=peer)
