"""Exact elementary random draws from uniform bytes, and the AES-256-CTR key stream that the bytes come from.

Promises that, for independent uniform bytes, every draw has exactly the stated probability: whole words are compared with
integers, and a word that no integer ratio fits is drawn again. The same bytes give the same draws on every machine, and so
does the same key. The key stream is indistinguishable from uniform bytes as long as AES-256 is a pseudorandom permutation.
Leaves fresh keys to the caller.

Source: NIST SP 800-38A, section 6.5 (CTR).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

KEY_BYTES: Final = 32

MAX_DIVISOR: Final = 2**15
"""Largest k of a Bernoulli(1/k): a 16-bit word then fits with probability above 1/2."""

_ZERO_COUNTER: Final = bytes(16)
_SHORTS: Final = 2**16


def key_stream(key: bytes) -> Callable[[int], bytes]:
    """Return a function that gives the next so many bytes of the AES-256-CTR key stream, from counter 0.

    Args:
        key: 32 bytes, uniform, used for nothing else; ValueError if it has another size.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, found {len(key)}")
    stream = Cipher(AES256(key), CTR(_ZERO_COUNTER)).encryptor()
    return lambda size: stream.update(bytes(size))


class ExactDraws:
    """Draws in the order in which they are asked for; every byte of the source is used once.

    Args:
        source: gives the next so many uniform bytes.
    """

    __slots__ = ("_source",)

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source

    def uniform(self, bits: int, count: int) -> NDArray[np.uint64]:
        """Return integers uniform in [0, 2^bits): (count,), uint64; bits in 0..64."""
        if not 0 <= bits <= 64:
            raise ValueError(f"an integer of {bits} bits does not fit a 64-bit word")
        words = self._words(count, "<u4" if bits <= 32 else "<u8")
        return words.astype(np.uint64) & np.uint64((1 << bits) - 1)

    def bernoulli_dyadic(self, numerators: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
        """Return one draw of Bernoulli(n / 2^bits) for each numerator n: whether a uniform integer below 2^bits is below n.

        Args:
            numerators: (count,), uint64, each at most 2^bits.
            bits: in 0..64.

        Returns:
            (count,), bool.
        """
        return self.uniform(bits, numerators.size) < numerators

    def bernoulli_reciprocal(self, divisor: int, count: int) -> NDArray[np.bool_]:
        """Return draws of Bernoulli(1 / divisor): (count,), bool.

        A 16-bit word below k⌊2^16/k⌋ falls with probability 1/k below ⌊2^16/k⌋; other words are drawn again.

        Args:
            divisor: k, in 1..2^15.
            count: how many.
        """
        if not 1 <= divisor <= MAX_DIVISOR:
            raise ValueError(f"a divisor is in 1..{MAX_DIVISOR}, found {divisor}")
        below = _SHORTS // divisor
        words = self._words(count, "<u2")
        drawn = words < below
        redrawn = np.flatnonzero(words >= divisor * below)
        while redrawn.size:
            words = self._words(redrawn.size, "<u2")
            drawn[redrawn] = words < below
            redrawn = redrawn[words >= divisor * below]
        return drawn

    def _words(self, count: int, dtype: str) -> NDArray[np.uint16 | np.uint32 | np.uint64]:
        """Return the next `count` little-endian words."""
        return np.frombuffer(self._source(count * np.dtype(dtype).itemsize), dtype=dtype)
