"""Masks: vectors of the ring drawn from AES-256-CTR under single-use keys, and the keys they are drawn from.

Promises that both ends of a pair derive the same mask and that vectors masked under the same seeds have independent
masks. Leaves to the rounds whose masks belong into a vector.

Source: Bonawitz et al. 2017, section 4.1; NIST SP 800-38A, section 6.5 (CTR); protos/README.md §4.3.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.secagg.agreement import derive_key
from vdb_shared.secagg.encoding import Ring
from vdb_shared.secagg.messages import encode_seat
from vdb_shared.secagg.parameters import Seat

_ZERO_COUNTER: Final = bytes(16)
_BLOCK_LANES: Final = 2**15
"""Lanes masked at a time: a block of 256 KiB and its mask stay in the processor's cache."""

_ZEROS: Final = memoryview(bytes(8 * _BLOCK_LANES))

_CIPHER_SLACK: Final = 15
"""Bytes beyond its output that the cipher's interface wants to see in a buffer."""


def expand(key: bytes, size: int) -> bytes:
    """Return `size` bytes of the AES-256-CTR key stream from counter 0; use a key once."""
    return Cipher(AES256(key), CTR(_ZERO_COUNTER)).encryptor().update(bytes(size))


def self_mask_key(seed: bytes, t2: bytes, vector: str, seat: Seat) -> bytes:
    """Return the key of a participant's own mask: HKDF(b_i, T2).

    Args:
        seed: b_i, 31 bytes.
        t2: transcript digest after round 1.
        vector: label of the vector, `labels.VECTOR_LANES` or `labels.VECTOR_BLINDERS`.
        seat: i.
    """
    return derive_key(seed, t2, labels.KDF_SELF_MASK, vector.encode("ascii"), encode_seat(seat))


def pair_mask_key(agreement: bytes, t2: bytes, vector: str, pair: tuple[Seat, Seat]) -> bytes:
    """Return the key of the mask that two participants share: HKDF(DH(mask_i, mask_j), T2), the same in either order.

    Args:
        agreement: X25519 agreement of the pair's mask keys.
        t2: transcript digest after round 1.
        vector: label of the vector.
        pair: both seats, in any order.
    """
    low, high = min(pair), max(pair)
    return derive_key(agreement, t2, labels.KDF_PAIR_MASK, vector.encode("ascii"), encode_seat(low), encode_seat(high))


def pair_sign(seat: Seat, peer: Seat) -> int:
    """Return +1 or -1: with which sign participant `seat` adds the mask it shares with `peer`."""
    return 1 if peer > seat else -1


def add_mask(vector: Ring, key: bytes, sign: int) -> None:
    """Add the mask of a key to a vector in place, or subtract it when `sign` is -1, mod 2^64."""
    stream = Cipher(AES256(key), CTR(_ZERO_COUNTER)).encryptor()
    operation = np.add if sign > 0 else np.subtract
    output = bytearray(8 * min(vector.size, _BLOCK_LANES) + _CIPHER_SLACK)
    mask = np.frombuffer(output, dtype="<u8", count=min(vector.size, _BLOCK_LANES))
    for start in range(0, vector.size, _BLOCK_LANES):
        block = vector[start : start + _BLOCK_LANES]
        stream.update_into(_ZEROS[: 8 * block.size], output)
        operation(block, mask[: block.size], out=block)


def masked_digest(masked: bytes) -> bytes:
    """Return the digest of masked lanes that the round-2 header names."""
    return labelled_hash(labels.HASH_MASKED_INPUT, masked)
