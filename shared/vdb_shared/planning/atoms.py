"""The clips of a population, and sums of them: what scores, classes and features of guessed clips have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vdb_shared.metrics.features import Vector

Sum: TypeAlias = Callable[[Vector], Vector]
"""From how often each atom was drawn, (atoms,), to the sum of what those clips contribute, (dims,)."""

ATOMS: Final = 1024
"""Clips whose scores or classes a population has: enough that means and deviations are those of the guess."""


@dataclass(frozen=True, slots=True)
class Atoms:
    """The clips of one side of one metric.

    Attributes:
        size: their number.
        parts: sum of each block, by the last component of its name.
    """

    size: int
    parts: Mapping[str, Sum]


def quantiles(size: int) -> Vector:
    """Return the middles of so many equal parts of [0, 1], shape (size,)."""
    return (np.arange(size) + 0.5) / size


def power_law(exponent: float, size: int) -> Vector:
    """Return shares of sum 1 that fall as i^-exponent, shape (size,)."""
    falling = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return np.asarray(falling / falling.sum(), dtype=np.float64)


def summed_by(contributions: NDArray[np.float64]) -> Sum:
    """Return the sum of contributions, shape (atoms, dims)."""
    return lambda counts: np.asarray(counts @ contributions, dtype=np.float64)


def counted_into(places: NDArray[np.int64], size: int) -> Sum:
    """Return the sum of a 1 in each atom's place, shape (size,)."""
    return lambda counts: np.bincount(places, weights=counts, minlength=size).astype(np.float64)
