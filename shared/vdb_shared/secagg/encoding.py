"""Lanes of the ring Z_2^64: signed integers behind an offset, their sum and their bytes.

Promises that a sum of up to 65,535 encoded vectors never wraps, so the ring sum is the integer sum, and that a value
that does not fit is an error. Leaves scales and rounding to `privacy/mechanism.py`.

Source: protos/README.md §4.1, §4.6.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vdb_shared.errors import FormatError, StatisticError
from vdb_shared.secagg.parameters import MAX_PARTICIPANTS

LANE_OFFSET: Final = 2**47
LANE_LIMIT: Final = 2 * LANE_OFFSET
LANE_BYTES: Final = 8

Lanes: TypeAlias = NDArray[np.int64]
"""Values of lanes, (lanes,), int64; one participant's lie in [-2^47, 2^47)."""

Ring: TypeAlias = NDArray[np.uint64]
"""Elements of Z_2^64, (lanes,), uint64."""


def encode_lanes(values: Lanes) -> Ring:
    """Return v + 2^47 for each lane, in [0, 2^48).

    Raises:
        StatisticError: a value outside [-2^47, 2^47).
        ValueError: not a vector of int64.
    """
    if values.dtype != np.int64 or values.ndim != 1:
        raise ValueError(f"lanes are a vector of int64, not {values.dtype} of {values.ndim} dimensions")
    outside = np.flatnonzero((values < -LANE_OFFSET) | (values >= LANE_OFFSET))
    if outside.size:
        # Without its value, which is a secret: errors are shown, logged and recorded.
        raise StatisticError(f"lane {int(outside[0])} is outside [-2^47, 2^47)")
    return (values + LANE_OFFSET).astype(np.uint64)


def decode_totals(total: Ring, survivors: int) -> Lanes:
    """Return the sum of the survivors' values: the ring sum without their offsets.

    Args:
        total: sum of the encoded vectors of the survivors.
        survivors: |U3|, at most 65,535.

    Raises:
        StatisticError: a lane that no sum of so many encoded vectors can hold.
    """
    if not 1 <= survivors <= MAX_PARTICIPANTS:
        raise ValueError(f"{survivors} survivors are not between 1 and {MAX_PARTICIPANTS}")
    outside = np.flatnonzero(total > np.uint64(survivors * (LANE_LIMIT - 1)))
    if outside.size:
        raise StatisticError(f"lane {int(outside[0])} of the sum exceeds what {survivors} participants can add up to")
    return (total - np.uint64(survivors * LANE_OFFSET)).view(np.int64)


def ring_to_bytes(ring: Ring) -> bytes:
    """Return 8 little-endian bytes for each lane."""
    return ring.astype("<u8", copy=False).tobytes()


def ring_from_bytes(data: bytes, lanes: int) -> Ring:
    """Return the ring vector of these bytes, read-only.

    Raises:
        FormatError: not 8 bytes for each lane.
    """
    if len(data) != lanes * LANE_BYTES:
        raise FormatError(f"a vector of {lanes} lanes has {lanes * LANE_BYTES} bytes, not {len(data)}")
    return np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False)
