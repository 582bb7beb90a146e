"""Statistics to lanes and back.

Promises that encoding two neighbouring statistics with the same randomness gives lanes at most s C + sqrt(d) apart, in
exact integer arithmetic, and that decoding undoes the scale. Leaves the noise, which is added to these lanes, to the
participant, and the offset 2^47 to secagg/encoding.py.

Source: protos/README.md §8.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.statistic import LANE_LIMIT, Layout, Statistics
from vdb_shared.privacy.calibration import LANE_SCALE_BITS, LOCAL_SIGMA, Calibration

STATISTIC_BITS = 64 - LANE_SCALE_BITS
"""Fractional bits of a private statistic, so that statistic times scale has 64: those of one uniform number."""


@dataclass(frozen=True, slots=True)
class NoiseLevel:
    """Deviation of the noise of each lane of a private block, in units of the statistics, by block name."""

    deviations: Mapping[str, float]

    def of(self, block: str) -> float:
        """Return the deviation in a block; 0 for blocks without noise."""
        return self.deviations.get(block, 0.0)


def uniform_bytes_needed(layout: Layout, calibration: Calibration) -> int:
    """Return how many uniform bytes `encode` wants: 8 for each private lane, none without noise."""
    return 8 * layout.private_lanes if calibration.noised else 0


def encode(layout: Layout, calibration: Calibration, statistics: Statistics, uniforms: bytes) -> NDArray[np.int64]:
    """Return the lanes of statistics, before noise.

    Private lanes: floor(x s w + u), u = uniform u64 / 2^64, in integers. Others: x 2^k, rounded half to even.

    Args:
        layout: the blocks.
        calibration: the scales.
        statistics: sums of one institution.
        uniforms: `uniform_bytes_needed` bytes from the operating system, used once.

    Returns:
        Shape (lanes,), int64, each in (-2^47, 2^47).

    Raises:
        StatisticError: statistics do not fit the layout or a lane overflows.
    """
    layout.check(statistics)
    if len(uniforms) != uniform_bytes_needed(layout, calibration):
        raise ValueError(f"expected {uniform_bytes_needed(layout, calibration)} uniform bytes, got {len(uniforms)}")
    remaining = np.frombuffer(uniforms, dtype="<u8")
    lanes = np.zeros(layout.lanes, dtype=np.int64)
    for block in layout.blocks:
        values = statistics[block.name]
        if block.private and calibration.noised:
            chosen, remaining = remaining[: block.dims], remaining[block.dims :]
            encoded = _round_stochastically(values, calibration.scale_numerator(block.weight), chosen)
        else:
            encoded = [int(lane) for lane in np.rint(values * 2.0**calibration.public_exponent)]
        largest = max(abs(lane) for lane in encoded)
        if largest >= LANE_LIMIT:
            raise StatisticError(f"block {block.name}: a lane reaches {largest}, beyond the {LANE_LIMIT - 1} that fit")
        lanes[layout.slice_of(block.name)] = encoded
    return lanes


def decode(layout: Layout, calibration: Calibration, totals: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return the statistics whose lanes sum to `totals`, shape (lanes,), int64.

    Raises:
        StatisticError: the number of lanes is another.
    """
    if totals.shape != (layout.lanes,):
        raise StatisticError(f"expected {layout.lanes} lanes, found shape {totals.shape}")
    scales = calibration.block_scales(layout)
    return {block.name: totals[layout.slice_of(block.name)] / scales[block.name] for block in layout.blocks}


def noise_level(layout: Layout, calibration: Calibration, survivors: int) -> NoiseLevel | None:
    """Return the noise in the sum of that many institutions, or None without noise.

    Variance of a lane: survivors (2^20)^2 / (s w)^2. Stochastic rounding adds at most 1/4 of a squared lane unit for
    each institution, 2^-42 of it, and is left out.
    """
    if not calibration.noised:
        return None
    scales = calibration.block_scales(layout)
    deviation = LOCAL_SIGMA * float(np.sqrt(survivors))
    return NoiseLevel({block.name: deviation / scales[block.name] for block in layout.blocks if block.private})


def _round_stochastically(values: NDArray[np.float64], numerator: int, uniforms: NDArray[np.uint64]) -> list[int]:
    """Return floor(x N / 2^12 + u / 2^64) for each lane, exact for multiples x of 2^-52."""
    exact = np.ldexp(values, STATISTIC_BITS)
    return [(int(x) * numerator + int(u)) >> 64 for x, u in zip(exact, uniforms, strict=True)]
