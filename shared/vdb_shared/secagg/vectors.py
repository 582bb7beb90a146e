"""What is masked: lanes of the ring and one blinder for each block of them, and the masks that both get from one key.

Promises that lanes and blinders are masked from places of one key stream that never overlap, and that sums of vectors are sums
of lanes mod 2^64 and of blinders mod r. Leaves the keys to `masking.py` and which masks belong into a vector to the rounds.

Source: Bonawitz et al. 2017, section 4.1; NIST SP 800-38A, section 6.5 (CTR); protos/README.md §4.3, §4.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from vdb_shared.errors import FormatError
from vdb_shared.secagg.encoding import LANE_BYTES, Ring, ring_from_bytes, ring_to_bytes
from vdb_shared.secagg.field import FIELD_ORDER, SCALAR_BYTES, UNIFORM_BYTES, decode_scalars, encode_scalars
from vdb_shared.secagg.parameters import blocks_of

COMMITMENT_BYTES: Final = 48
"""A commitment: a point of BLS12-381 G1 in its compressed form."""

_ZERO_COUNTER: Final = bytes(16)
_CHUNK_LANES: Final = 2**16
"""Lanes masked at a time: 512 KiB and their mask about fill a core's cache; smaller chunks make threads wait for the lock."""

_LANES_A_THREAD: Final = 2**21
"""Lanes masked from which a further thread is worth its start and its own sum."""

_ZEROS: Final = memoryview(bytes(LANE_BYTES * _CHUNK_LANES))

_CIPHER_SLACK: Final = 15
"""Bytes beyond its output that the cipher's interface wants to see in a buffer."""


def vector_bytes(lanes: int) -> int:
    """Return the size of an encoded vector: 8 bytes for each lane and 32 for each block."""
    return LANE_BYTES * lanes + SCALAR_BYTES * blocks_of(lanes)


@dataclass(slots=True, eq=False)
class Vector:
    """Lanes and blinders of one participant, or sums of them; masks are added in place.

    Attributes:
        lanes: (lanes,), uint64.
        blinders: one integer for each block, to be read mod r.
    """

    lanes: Ring = field(repr=False)
    blinders: list[int] = field(repr=False)

    @classmethod
    def zeros(cls, lanes: int) -> Self:
        """Return the sum of no vectors."""
        return cls(np.zeros(lanes, dtype=np.uint64), [0] * blocks_of(lanes))

    @classmethod
    def from_bytes(cls, data: bytes, lanes: int) -> Self:
        """Return the vector of these bytes; its lanes are read-only.

        Raises:
            FormatError: another length than `vector_bytes(lanes)`, or a blinder that is not below r.
        """
        if len(data) != vector_bytes(lanes):
            raise FormatError(f"a vector of {lanes} lanes has {vector_bytes(lanes)} bytes, not {len(data)}")
        return cls(ring_from_bytes(data[: LANE_BYTES * lanes], lanes), decode_scalars(data[LANE_BYTES * lanes :]))

    def to_bytes(self) -> bytes:
        """Return the lanes, 8 little-endian bytes each, then the blinders, 32 each."""
        return ring_to_bytes(self.lanes) + encode_scalars(self.reduced_blinders())

    def reduced_blinders(self) -> list[int]:
        """Return the blinders mod r."""
        return [blinder % FIELD_ORDER for blinder in self.blinders]

    def copy(self) -> Vector:
        """Return a vector of its own with the same contents."""
        return Vector(self.lanes.copy(), list(self.blinders))

    def plus(self, other: Vector) -> Vector:
        """Return the sum of two vectors."""
        return Vector(self.lanes + other.lanes, [a + b for a, b in zip(self.blinders, other.blinders, strict=True)])

    def add_mask(self, key: bytes, sign: int) -> None:
        """Add the mask of one key in place, or subtract it; see `add_masks`."""
        self.add_masks([(key, sign)])

    def add_masks(self, keys: Iterable[tuple[bytes, int]], threads: int = 1) -> None:
        """Add the mask of each key in place, or subtract it where its sign is -1.

        A mask is the AES-256-CTR key stream from counter 0: 8 bytes for each lane, then 64 bytes for each blinder, read
        little-endian and reduced mod r.

        Args:
            keys: 32 bytes, used for one mask only, and +1 or -1.
            threads: how many may share out a long work; cipher and addition give the interpreter's lock back. The sums are
                exact, so this changes no byte.
        """
        listed = list(keys)
        shares = min(threads, len(listed) * self.lanes.size // _LANES_A_THREAD)
        if shares <= 1:
            self._add_each(listed)
            return
        parts = [self, *(Vector.zeros(self.lanes.size) for _ in range(shares - 1))]
        with ThreadPoolExecutor(shares) as pool:
            list(pool.map(Vector._add_each, parts, [listed[place::shares] for place in range(shares)]))
        for part in parts[1:]:
            self.lanes += part.lanes
            self.blinders = [a + b for a, b in zip(self.blinders, part.blinders, strict=True)]

    def _add_each(self, keys: Sequence[tuple[bytes, int]]) -> None:
        output = bytearray(LANE_BYTES * min(self.lanes.size, _CHUNK_LANES) + _CIPHER_SLACK)
        mask = np.frombuffer(output, dtype="<u8", count=len(output) // LANE_BYTES)
        for key, sign in keys:
            stream = Cipher(AES256(key), CTR(_ZERO_COUNTER)).encryptor()
            operation = np.add if sign > 0 else np.subtract
            for start in range(0, self.lanes.size, _CHUNK_LANES):
                part = self.lanes[start : start + _CHUNK_LANES]
                stream.update_into(_ZEROS[: LANE_BYTES * part.size], output)
                operation(part, mask[: part.size], out=part)
            uniform = stream.update(bytes(UNIFORM_BYTES * len(self.blinders)))
            for block, at in enumerate(range(0, len(uniform), UNIFORM_BYTES)):
                self.blinders[block] += sign * int.from_bytes(uniform[at : at + UNIFORM_BYTES], "little")
