"""Pairs of shares sealed from one participant to another with ChaCha20-Poly1305.

Promises that a sealed pair opens only for its recipient, from its sender, in its transcript. A key seals one message,
so the nonce is zero; whoever seals must never seal twice under one transcript.

Source: RFC 8439; protos/README.md §4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from vdb_shared import labels
from vdb_shared.canonical import encode_fields, labelled_hash
from vdb_shared.errors import FormatError
from vdb_shared.secagg.agreement import Secret, derive_key
from vdb_shared.secagg.field import SCALAR_BYTES, decode_scalars, encode_scalar
from vdb_shared.secagg.messages import encode_seat
from vdb_shared.secagg.parameters import Seat

PAIR_BYTES: Final = 2 * SCALAR_BYTES
SEALED_BYTES: Final = PAIR_BYTES + 16
_ZERO_NONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True)
class SharePair:
    """What one holder keeps for one dealer.

    Attributes:
        mask_key: share of the mask-key seed k.
        self_mask: share of the self-mask seed b.
    """

    mask_key: int = field(repr=False)
    self_mask: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """From whom to whom, in which transcript.

    Attributes:
        t1: transcript digest after round 0.
        sender, recipient: seats.
    """

    t1: bytes
    sender: Seat
    recipient: Seat

    def key(self, agreement: Secret) -> bytes:
        """Return the single-use key of this direction: HKDF(DH(channel_i, channel_j), T1)."""
        return derive_key(agreement, self.t1, labels.KDF_CHANNEL, encode_seat(self.sender), encode_seat(self.recipient))

    def associated(self) -> bytes:
        """Return the associated data T1 ‖ i ‖ j as length-prefixed fields."""
        return encode_fields(self.t1, encode_seat(self.sender), encode_seat(self.recipient))


def seal(pair: SharePair, route: Route, agreement: Secret) -> bytes:
    """Return the sealed pair, 80 bytes.

    Args:
        pair: the shares.
        route: where they go.
        agreement: X25519 agreement of both channel keys.
    """
    plain = encode_scalar(pair.mask_key) + encode_scalar(pair.self_mask)
    return ChaCha20Poly1305(route.key(agreement)).encrypt(_ZERO_NONCE, plain, route.associated())


def open_sealed(sealed: bytes, route: Route, agreement: Secret) -> SharePair:
    """Return the pair that was sealed on this route.

    Raises:
        FormatError: it does not open, or holds no two shares.
    """
    try:
        plain = ChaCha20Poly1305(route.key(agreement)).decrypt(_ZERO_NONCE, sealed, route.associated())
    except InvalidTag as error:
        raise FormatError("a sealed pair of shares does not open") from error
    if len(plain) != PAIR_BYTES:
        raise FormatError(f"a pair of shares has {PAIR_BYTES} bytes, not {len(plain)}")
    mask_key, self_mask = decode_scalars(plain)
    return SharePair(mask_key, self_mask)


def sealed_digest(t1: bytes, sender: Seat, sealed: Mapping[Seat, bytes]) -> bytes:
    """Return the digest of all pairs one participant sealed, which its round-1 header names."""
    parts = [part for recipient in sorted(sealed) for part in (encode_seat(recipient), sealed[recipient])]
    return labelled_hash(labels.HASH_SEALED_SHARES, t1, encode_seat(sender), *parts)


def self_seed_digest(t1: bytes, seat: Seat, seed: bytes) -> bytes:
    """Return H(b_i), against which a rebuilt self-mask seed is checked."""
    return labelled_hash(labels.HASH_SELF_SEED, t1, encode_seat(seat), seed)
