"""Shamir's secret sharing over GF(r), r the order of BLS12-381 G1.

Promises exact field arithmetic with randomness as an argument, and coefficients computed once for each set of holders.
Leaves to `unmasking.py` the question whether a rebuilt secret is the right one. Not constant time.

Source: Shamir 1979; protos/README.md §4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from vdb_shared.errors import FormatError
from vdb_shared.secagg.parameters import Seat

FIELD_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""r of BLS12-381, a prime of 255 bits."""

SHARE_BYTES: Final = 32
COEFFICIENT_BYTES: Final = 64
"""Uniform bytes reduced to one coefficient; the bias is below 2^-256."""

_CACHED_HOLDER_SETS: Final = 64


def encode_share(share: int) -> bytes:
    """Return a field element as 32 little-endian bytes."""
    return share.to_bytes(SHARE_BYTES, "little")


def decode_share(data: bytes) -> int:
    """Return the field element of 32 little-endian bytes.

    Raises:
        FormatError: another length, or not below r.
    """
    share = int.from_bytes(data, "little")
    if len(data) != SHARE_BYTES or share >= FIELD_ORDER:
        raise FormatError(f"a share has {SHARE_BYTES} bytes and is below the order of the field")
    return share


def split_entropy(threshold: int) -> int:
    """Return how many entropy bytes `split` takes."""
    return (threshold - 1) * COEFFICIENT_BYTES


def split(secret: int, threshold: int, holders: Iterable[Seat], entropy: bytes) -> dict[Seat, int]:
    """Return a share of the secret for each holder; any `threshold` of them rebuild it.

    Args:
        secret: in [0, r).
        threshold: t >= 1; the polynomial has degree t - 1.
        holders: seats; x-coordinate seat + 1.
        entropy: `split_entropy(threshold)` uniform bytes.

    Raises:
        ValueError: an argument out of its range.
    """
    seats = list(holders)
    if not 0 <= secret < FIELD_ORDER:
        raise ValueError("the secret is not an element of the field")
    if not 1 <= threshold <= len(seats):
        raise ValueError(f"threshold {threshold} is not between 1 and the {len(seats)} holders")
    if len(entropy) != split_entropy(threshold):
        raise ValueError(f"expected {split_entropy(threshold)} bytes of entropy, found {len(entropy)}")
    descending = [
        int.from_bytes(entropy[start : start + COEFFICIENT_BYTES], "little") % FIELD_ORDER
        for start in range(0, len(entropy), COEFFICIENT_BYTES)
    ]
    descending.append(secret)
    return {seat: _evaluate(descending, seat + 1) for seat in seats}


def _evaluate(descending: list[int], point: int) -> int:
    value = 0
    for coefficient in descending:
        value = (value * point + coefficient) % FIELD_ORDER
    return value


@lru_cache(maxsize=_CACHED_HOLDER_SETS)
def lagrange_at_zero(holders: tuple[Seat, ...]) -> tuple[int, ...]:
    """Return the Lagrange coefficients at 0 for these holders: Π_{j≠i} x_j / (x_j − x_i) mod r, in their order."""
    points = [seat + 1 for seat in holders]
    product = 1
    for point in points:
        product = product * point % FIELD_ORDER
    denominators = []
    for point in points:
        below = point
        for other in points:
            if other != point:
                below = below * (other - point) % FIELD_ORDER
        denominators.append(below)
    return tuple(product * pow(below, -1, FIELD_ORDER) % FIELD_ORDER for below in denominators)


def combine(shares: Mapping[Seat, int]) -> int:
    """Return the value at 0 of the lowest polynomial through the shares: the secret, if at least t are there, all right.

    Raises:
        ValueError: no shares.
    """
    if not shares:
        raise ValueError("no shares to combine")
    holders = tuple(sorted(shares))
    coefficients = lagrange_at_zero(holders)
    return sum(c * shares[seat] for c, seat in zip(coefficients, holders, strict=True)) % FIELD_ORDER
