"""The keys of masks, one for a participant's own and one for each pair of participants, and the digests of what is sent.

Promises that both ends of a pair derive the same key. What a key makes of a vector stands in `vectors.py`; which masks belong
into a vector, in the rounds.

Source: Bonawitz et al. 2017, section 4.1; protos/README.md §4.3.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.secagg.agreement import Secret, derive_key
from vdb_shared.secagg.messages import encode_seat
from vdb_shared.secagg.parameters import Seat

_ZERO_COUNTER: Final = bytes(16)


def expand(key: bytes, size: int) -> bytes:
    """Return `size` bytes of the AES-256-CTR key stream from counter 0; use a key once."""
    return Cipher(AES256(key), CTR(_ZERO_COUNTER)).encryptor().update(bytes(size))


def self_mask_key(seed: Secret, t2: bytes, seat: Seat) -> bytes:
    """Return the key of a participant's own mask: HKDF(b_i, T2).

    Args:
        seed: b_i, 31 bytes.
        t2: transcript digest after round 1.
        seat: i.
    """
    return derive_key(seed, t2, labels.KDF_SELF_MASK, encode_seat(seat))


def pair_mask_key(agreement: Secret, t2: bytes, pair: tuple[Seat, Seat]) -> bytes:
    """Return the key of the mask that two participants share: HKDF(DH(mask_i, mask_j), T2), the same in either order.

    Args:
        agreement: X25519 agreement of the pair's mask keys.
        t2: transcript digest after round 1.
        pair: both seats, in any order.
    """
    return derive_key(agreement, t2, labels.KDF_PAIR_MASK, encode_seat(min(pair)), encode_seat(max(pair)))


def pair_sign(seat: Seat, peer: Seat) -> int:
    """Return +1 or -1: with which sign participant `seat` adds the mask it shares with `peer`."""
    return 1 if peer > seat else -1


def commitments_digest(t1: bytes, seat: Seat, commitments: bytes) -> bytes:
    """Return the digest of a participant's commitments that its round-1 header names."""
    return labelled_hash(labels.HASH_COMMITMENTS, t1, encode_seat(seat), commitments)


def masked_digest(masked: bytes) -> bytes:
    """Return the digest of an encoded masked vector that the round-2 header names."""
    return labelled_hash(labels.HASH_MASKED_INPUT, masked)
