"""The signed bodies of rounds 0 to 4: fixed length-prefixed fields, one encoding for each value.

Promises that decoding accepts exactly the bytes that encoding writes. Leaves signatures and whether a body belongs to
the transcript to `transcript.py`. Bodies do not depend on protobuf, so no signed byte is ever serialised again.

Source: protos/README.md §4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.errors import FormatError
from vdb_shared.secagg.agreement import check_public_key
from vdb_shared.secagg.field import SCALAR_BYTES, decode_scalar, encode_scalar
from vdb_shared.secagg.parameters import DIGEST_BYTES, MAX_SEAT, Seat
from vdb_shared.secagg.vectors import COMMITMENT_BYTES

NONCE_BYTES: Final = 32
_SEAT_BYTES: Final = 4
_ENTRY_BYTES: Final = _SEAT_BYTES + SCALAR_BYTES


@dataclass(frozen=True, slots=True)
class Signed:
    """A body and its signature, both exactly as received; the signer's seat travels beside them."""

    body: bytes
    signature: bytes


def encode_seat(seat: Seat) -> bytes:
    """Return a seat as 4 little-endian bytes."""
    return seat.to_bytes(_SEAT_BYTES, "little")


def _decode_seat(data: bytes) -> Seat:
    seat = int.from_bytes(data, "little")
    if len(data) != _SEAT_BYTES or seat > MAX_SEAT:
        raise FormatError(f"a seat has {_SEAT_BYTES} bytes and is at most {MAX_SEAT}")
    return seat


def _encode_seats(seats: Iterable[Seat]) -> bytes:
    ordered = sorted(seats)
    return struct.pack(f"<{len(ordered)}I", *ordered)


def _decode_seats(data: bytes) -> frozenset[Seat]:
    if len(data) % _SEAT_BYTES:
        raise FormatError(f"a list of seats is a multiple of {_SEAT_BYTES} bytes, not {len(data)}")
    seats = struct.unpack(f"<{len(data) // _SEAT_BYTES}I", data)
    found = frozenset(seats)
    if list(seats) != sorted(found) or any(seat > MAX_SEAT for seat in seats):
        raise FormatError(f"a list of seats ascends strictly and ends at most at {MAX_SEAT}")
    return found


def _encode_shares(shares: Mapping[Seat, int]) -> bytes:
    return b"".join(encode_seat(seat) + encode_scalar(shares[seat]) for seat in sorted(shares))


def _decode_shares(data: bytes) -> dict[Seat, int]:
    if len(data) % _ENTRY_BYTES:
        raise FormatError(f"a list of shares is a multiple of {_ENTRY_BYTES} bytes, not {len(data)}")
    entries = [data[start : start + _ENTRY_BYTES] for start in range(0, len(data), _ENTRY_BYTES)]
    _decode_seats(b"".join(entry[:_SEAT_BYTES] for entry in entries))
    return {_decode_seat(entry[:_SEAT_BYTES]): decode_scalar(entry[_SEAT_BYTES:]) for entry in entries}


def _sized(data: bytes, size: int, name: str) -> bytes:
    if len(data) != size:
        raise FormatError(f"{name} has {size} bytes, not {len(data)}")
    return data


@dataclass(frozen=True, slots=True)
class AdvertisedKeys:
    """Round 0: the session's public keys of one participant.

    Attributes:
        session: digest of the seal.
        seat: who.
        channel_key: X25519 public key that seals shares.
        mask_key: X25519 public key that makes pair masks.
        nonce: 32 fresh bytes, so that the transcript is fresh whatever the keys.
    """

    session: bytes
    seat: Seat
    channel_key: bytes
    mask_key: bytes
    nonce: bytes

    def encode(self) -> bytes:
        """Return the bytes that are signed."""
        return encode_fields(self.session, encode_seat(self.seat), self.channel_key, self.mask_key, self.nonce)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the value of these bytes.

        Raises:
            FormatError: not the encoding of such a value, or a key that no honest participant makes.
        """
        session, seat, channel_key, mask_key, nonce = decode_fields(body, 5)
        return cls(
            _sized(session, DIGEST_BYTES, "session"),
            _decode_seat(seat),
            check_public_key(channel_key),
            check_public_key(mask_key),
            _sized(nonce, NONCE_BYTES, "nonce"),
        )


@dataclass(frozen=True, slots=True)
class SharedKeysHeader:
    """Round 1: what binds one participant to its seed, its sealed shares and its commitments.

    Attributes:
        t1: transcript digest after round 0.
        seat: who.
        self_seed_digest: H(b), checked when b is rebuilt.
        sealed_digest: digest of all shares this participant sealed.
        commitments_digest: digest of the commitments that round 2 shows, so that none is chosen after seeing another's.
    """

    t1: bytes
    seat: Seat
    self_seed_digest: bytes
    sealed_digest: bytes
    commitments_digest: bytes

    def encode(self) -> bytes:
        """Return the bytes that are signed."""
        return encode_fields(
            self.t1, encode_seat(self.seat), self.self_seed_digest, self.sealed_digest, self.commitments_digest
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the value of these bytes.

        Raises:
            FormatError: not the encoding of such a value.
        """
        t1, seat, self_seed_digest, sealed_digest, commitments_digest = decode_fields(body, 5)
        return cls(
            _sized(t1, DIGEST_BYTES, "T1"),
            _decode_seat(seat),
            _sized(self_seed_digest, DIGEST_BYTES, "digest of the self-mask seed"),
            _sized(sealed_digest, DIGEST_BYTES, "digest of the sealed shares"),
            _sized(commitments_digest, DIGEST_BYTES, "digest of the commitments"),
        )


@dataclass(frozen=True, slots=True)
class MaskedInputHeader:
    """Round 2: what binds one participant to its masked vector.

    Attributes:
        t2: transcript digest after round 1.
        seat: who.
        masked_digest: digest of the masked vector y: lanes and blinders.
        commitments: to the lanes, 48 bytes for each block of 4096.
        contribution: SHA-256 of the contribution statement's payload.
    """

    t2: bytes
    seat: Seat
    masked_digest: bytes
    commitments: bytes
    contribution: bytes

    def encode(self) -> bytes:
        """Return the bytes that are signed."""
        return encode_fields(self.t2, encode_seat(self.seat), self.masked_digest, self.commitments, self.contribution)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the value of these bytes.

        Raises:
            FormatError: not the encoding of such a value.
        """
        t2, seat, masked_digest, commitments, contribution = decode_fields(body, 5)
        if not commitments or len(commitments) % COMMITMENT_BYTES:
            raise FormatError(f"commitments have {COMMITMENT_BYTES} bytes each, not {len(commitments)} in all")
        return cls(
            _sized(t2, DIGEST_BYTES, "T2"),
            _decode_seat(seat),
            _sized(masked_digest, DIGEST_BYTES, "digest of the masked vector"),
            commitments,
            _sized(contribution, DIGEST_BYTES, "digest of the contribution statement"),
        )


@dataclass(frozen=True, slots=True)
class Complaint:
    """Instead of round 2: a pair sealed for us does not open. It reveals nothing, and proves nobody's guilt (§4.4).

    Attributes:
        t1: transcript digest after round 0.
        seat: who complains.
        dealer: whose pair does not open.
    """

    t1: bytes
    seat: Seat
    dealer: Seat

    def encode(self) -> bytes:
        """Return the bytes that are signed."""
        return encode_fields(self.t1, encode_seat(self.seat), encode_seat(self.dealer))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the value of these bytes.

        Raises:
            FormatError: not the encoding of such a value.
        """
        t1, seat, dealer = decode_fields(body, 3)
        return cls(_sized(t1, DIGEST_BYTES, "T1"), _decode_seat(seat), _decode_seat(dealer))


@dataclass(frozen=True, slots=True)
class ConsistencyStatement:
    """Round 3: the one view of the session; its bytes are the same for all who share that view.

    Attributes:
        t3: transcript digest after round 2.
        advertised, shared, masked: U1, U2, U3.
    """

    t3: bytes
    advertised: frozenset[Seat]
    shared: frozenset[Seat]
    masked: frozenset[Seat]

    def encode(self) -> bytes:
        """Return the bytes that are signed."""
        return encode_fields(
            self.t3, _encode_seats(self.advertised), _encode_seats(self.shared), _encode_seats(self.masked)
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the value of these bytes.

        Raises:
            FormatError: not the encoding of such a value, or not U1 ⊇ U2 ⊇ U3.
        """
        t3, advertised, shared, masked = decode_fields(body, 4)
        found = cls(
            _sized(t3, DIGEST_BYTES, "T3"), _decode_seats(advertised), _decode_seats(shared), _decode_seats(masked)
        )
        if not found.advertised >= found.shared >= found.masked:
            raise FormatError("a consistency statement has U1 ⊇ U2 ⊇ U3")
        return found


@dataclass(frozen=True, slots=True)
class UnmaskingShares:
    """Round 4: the shares one participant reveals, exactly one kind for each peer.

    Attributes:
        t3: transcript digest after round 2.
        seat: who reveals.
        self_mask: shares of b_j by seat j, for the survivors.
        mask_key: shares of k_j by seat j, for those who dropped out after sharing keys.
    """

    t3: bytes
    seat: Seat
    self_mask: Mapping[Seat, int] = field(repr=False)
    mask_key: Mapping[Seat, int] = field(repr=False)

    def __post_init__(self) -> None:
        both = sorted(self.self_mask.keys() & self.mask_key.keys())
        if both:
            raise FormatError(f"both kinds of share for seat {both[0]}; only one may ever be revealed")

    def encode(self) -> bytes:
        """Return the bytes that are signed."""
        return encode_fields(
            self.t3, encode_seat(self.seat), _encode_shares(self.self_mask), _encode_shares(self.mask_key)
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the value of these bytes.

        Raises:
            FormatError: not the encoding of such a value, or both kinds of share for one seat.
        """
        t3, seat, self_mask, mask_key = decode_fields(body, 4)
        return cls(
            _sized(t3, DIGEST_BYTES, "T3"), _decode_seat(seat), _decode_shares(self_mask), _decode_shares(mask_key)
        )
