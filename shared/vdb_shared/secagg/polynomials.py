"""Values of polynomials over GF(r) at small points: Horner's rule for a few, one matrix product for many.

Promises exact results either way. Not constant time.

Source: protos/README.md §4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_shared.secagg.field import FIELD_ORDER, SCALAR_BYTES, encode_scalars

_STEPS: Final = 8
"""Steps of Horner's rule between two reductions: as points are below 2^16 the value stays below 2^384, and reducing eight
times less often nearly halves the time."""

_MATRIX_FROM: Final = 2**17
"""Points times coefficients from which the matrix product is faster than Horner's rule, powers included."""

_LIMBS: Final = SCALAR_BYTES // 2
"""Limbs of 16 bits: products of two, added up over 2^16 coefficients and 16 limbs, stay below 2^52 and are exact in float64."""

_LONGEST: Final = 256
"""Coefficients to which a longer polynomial is cut, so that 256 powers of each point suffice: 8 KiB a point."""

_ROWS: Final = 64
"""Points whose powers are turned into float64 at a time: some MB, which stay in the cache."""

_PRODUCT_LIMBS: Final = 2 * _LIMBS + 2
"""Limbs of a sum of products, with its carry."""


def evaluate(polynomials: Sequence[Sequence[int]], points: Sequence[int]) -> list[list[int]]:
    """Return the values of each polynomial at all points, in [0, r).

    Args:
        polynomials: coefficients in [0, r), the constant first; all of one length, at most 2^16.
        points: in [0, 2^16).
    """
    if len(polynomials[0]) * len(points) < _MATRIX_FROM:
        return [_horner(coefficients, points) for coefficients in polynomials]
    return _matrix(polynomials, tuple(points))


def _horner(coefficients: Sequence[int], points: Iterable[int]) -> list[int]:
    descending = list(reversed(coefficients))
    steps = [descending[start : start + _STEPS] for start in range(0, len(descending), _STEPS)]
    values = []
    for point in points:
        value = 0
        for step in steps:
            for coefficient in step:
                value = value * point + coefficient
            value %= FIELD_ORDER
        values.append(value)
    return values


def _matrix(polynomials: Sequence[Sequence[int]], points: tuple[int, ...]) -> list[list[int]]:
    """Cut each polynomial into parts of equal length, evaluate all parts at all points at once, put them together again."""
    parts = -(-len(polynomials[0]) // _LONGEST)
    length = -(-len(polynomials[0]) // parts)
    padding = [0] * (parts * length - len(polynomials[0]))
    raw = b"".join(encode_scalars([*coefficients, *padding]) for coefficients in polynomials)
    limbs = np.frombuffer(raw, dtype="<u2").reshape(len(polynomials) * parts, length, _LIMBS)
    powers, leaps = _powers(points, length)
    products = _products(powers, limbs.transpose(1, 0, 2).reshape(length, -1).astype(np.float64))
    found = iter(_integers(products.reshape(len(points), _LIMBS, -1, _LIMBS)))
    values: list[list[int]] = [[] for _ in polynomials]
    for leap in leaps:
        for one in values:
            one.append(_join([next(found) for _ in range(parts)], leap))
    return values


def _join(parts: list[int], leap: int) -> int:
    value = 0
    for part in reversed(parts):
        value = (value * leap + part) % FIELD_ORDER
    return value


@lru_cache(maxsize=1)
def _powers(points: tuple[int, ...], count: int) -> tuple[NDArray[np.uint16], list[int]]:
    """Return the limbs of the powers 0 to count - 1 of all points, (points, limbs, count), and the power that follows of each.

    They are kept for the next dealer to the same holders.
    """
    powers, following = [], []
    for point in points:
        power = 1
        for _ in range(count):
            powers.append(power)
            power = power * point % FIELD_ORDER
        following.append(power)
    limbs = np.frombuffer(encode_scalars(powers), dtype="<u2").reshape(len(points), count, _LIMBS)
    return np.ascontiguousarray(limbs.transpose(0, 2, 1)), following


def _products(powers: NDArray[np.uint16], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    points, limbs, count = powers.shape
    products = np.empty((points * limbs, columns.shape[1]))
    for start in range(0, points, _ROWS):
        rows = powers[start : start + _ROWS].reshape(-1, count).astype(np.float64)
        np.matmul(rows, columns, out=products[start * limbs : start * limbs + len(rows)])
    return products


def _integers(products: NDArray[np.float64]) -> Iterable[int]:
    """Yield the integers whose products of limbs these are, (points, limbs, parts, limbs), by point and part."""
    points, _, parts, _ = products.shape
    sums = np.zeros((points, parts, _PRODUCT_LIMBS))
    for limb in range(_LIMBS):
        sums[..., limb : limb + _LIMBS] += products[:, limb]
    limbs = sums.reshape(-1, _PRODUCT_LIMBS).T.astype(np.int64)
    for limb in range(_PRODUCT_LIMBS - 1):
        limbs[limb + 1] += limbs[limb] >> 16
    data = (limbs & 0xFFFF).astype("<u2").T.tobytes()
    size = 2 * _PRODUCT_LIMBS
    return (int.from_bytes(data[start : start + size], "little") for start in range(0, len(data), size))
