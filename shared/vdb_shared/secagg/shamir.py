"""Shamir's secret sharing over GF(r), r the order of BLS12-381 G1.

Promises exact field arithmetic with randomness as an argument, and coefficients computed once for each set of holders.
Leaves to `unmasking.py` the question whether a rebuilt secret is the right one. Not constant time.

Source: Shamir 1979; protos/README.md §4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from vdb_shared.secagg.field import FIELD_ORDER, UNIFORM_BYTES, reduce_uniform
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.polynomials import evaluate

_CACHED_HOLDER_SETS: Final = 64


def split_entropy(threshold: int) -> int:
    """Return how many entropy bytes `split` takes."""
    return (threshold - 1) * UNIFORM_BYTES


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
    return split_all([secret], threshold, holders, entropy)[0]


def split_all(secrets: Sequence[int], threshold: int, holders: Iterable[Seat], entropy: bytes) -> list[dict[Seat, int]]:
    """Return the shares of several secrets for the same holders, as `split` does for each with its part of the entropy.

    Raises:
        ValueError: an argument out of its range.
    """
    seats = list(holders)
    size = split_entropy(threshold)
    if not all(0 <= secret < FIELD_ORDER for secret in secrets):
        raise ValueError("the secret is not an element of the field")
    if not 1 <= threshold <= len(seats):
        raise ValueError(f"threshold {threshold} is not between 1 and the {len(seats)} holders")
    if len(entropy) != len(secrets) * size:
        raise ValueError(f"expected {len(secrets) * size} bytes of entropy, found {len(entropy)}")
    descending = [reduce_uniform(entropy[place * size : (place + 1) * size]) for place in range(len(secrets))]
    polynomials = [[secret, *reversed(others)] for secret, others in zip(secrets, descending, strict=True)]
    shares = evaluate(polynomials, [seat + 1 for seat in seats])
    return [dict(zip(seats, values, strict=True)) for values in shares]


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
