"""Intervals, comparisons and sets of ranks.

Every published number carries a 95 % interval that covers sampling and privacy noise together, whose variance is
public. Promises determinism: bootstrap draws follow from hashes, so an auditor gets the same digits. Leaves to the
finishes how large an error is.

Source: protos/README.md §7.3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, ndtri, stdtr, stdtrit

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.metrics.features import Vector, rows_of_normals, uniforms

CONFIDENCE: Final = 0.95
"""Of every interval, and of all comparisons of one session together."""

TAIL: Final = (1 - CONFIDENCE) / 2
"""Beyond each end of an interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; low <= value <= high."""

    value: float
    low: float
    high: float

    def mapped(self, factor: float, offset: float = 0.0) -> Estimate:
        """Return the estimate on another scale: x -> factor x + offset, factor above 0."""
        return Estimate(factor * self.value + offset, factor * self.low + offset, factor * self.high + offset)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two models are apart.

    Attributes:
        difference: of their values.
        deviation: of its random error.
        allowance: bound of its systematic error.
        degrees: of freedom of the deviation; infinitely many where it is known, or as good as known.
    """

    difference: float
    deviation: float
    allowance: float = 0.0
    degrees: float = math.inf

    def apart(self, quantile: float) -> bool:
        """Whether the difference is beyond `quantile` deviations and the allowance."""
        return abs(self.difference) > quantile * self.deviation + self.allowance

    @property
    def chance(self) -> float:
        """Chance of such a lead, or a longer one, of a model that is no better: one-sided p-value, at most 1/2."""
        lead = max(abs(self.difference) - self.allowance, 0.0)
        if self.deviation == 0:
            return 0.0 if lead else 0.5
        distance = lead / self.deviation
        return float(ndtr(-distance) if math.isinf(self.degrees) else stdtr(self.degrees, -distance))


@dataclass(frozen=True, slots=True)
class Family:
    """One metric's estimates by model, and the comparison of every pair, in the order in which models are given."""

    estimates: Mapping[str, Estimate]
    comparisons: Mapping[tuple[str, str], Comparison]


def compare_all(models: Sequence[str], compare: Callable[[str, str], Comparison]) -> dict[tuple[str, str], Comparison]:
    """Return the comparison of every pair of models."""
    return {(first, second): compare(first, second) for first, second in itertools.combinations(models, 2)}


def quantile(degrees: float, tail: float) -> float:
    """Return beyond which number Student's t of so many degrees lies with the chance `tail`; infinitely many are normal."""
    return float(-ndtri(tail) if math.isinf(degrees) else -stdtrit(degrees, tail))


def welch_degrees(variance: float, parts: Iterable[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a variance; what is known of it, as that of noise is, adds to them.

    Args:
        variance: the whole.
        parts: of it that are estimated, and from how many clips.

    Source: Satterthwaite 1946; Welch 1947.
    """
    unknown = math.fsum(part**2 / (clips - 1) for part, clips in parts)
    return variance**2 / unknown if unknown > 0 else math.inf


def student_interval(value: float, deviation: float, degrees: float) -> Estimate:
    """Return value +- t deviation, with Student's t of that many degrees of freedom."""
    reach = quantile(degrees, TAIL) * deviation
    return Estimate(value, value - reach, value + reach)


def normal_interval(value: float, deviation: float) -> Estimate:
    """Return value +- z deviation, with the quantile of the normal distribution."""
    reach = quantile(math.inf, TAIL) * deviation
    return Estimate(value, value - reach, value + reach)


def wilson_interval(value: float, share: float, noise: float, reach: float) -> Estimate:
    """Return all means m in [0, 1] with (value - m)^2 <= reach^2 (share m (1 - m) + noise), widened to hold the value.

    The variance of bounded numbers depends on their mean and vanishes at both ends of the range, so an interval that takes
    it at each mean in question leans away from the nearer end, as the distribution of the value does.

    Args:
        value: an estimate of a mean of numbers in [0, 1]; noise may have pushed it out, and it is cut then.
        share: variance of the value by sampling, over m (1 - m).
        noise: variance of the value by noise.
        reach: quantile.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001, §3.1.1 (intervals of shares).
    """
    square = reach * reach
    middle = value + square * share / 2
    half = math.sqrt(max(middle**2 - (1 + square * share) * (value**2 - square * noise), 0.0))
    inside = min(max(value, 0.0), 1.0)
    low, high = ((middle + sign * half) / (1 + square * share) for sign in (-1.0, 1.0))
    return Estimate(inside, max(min(low, inside), 0.0), min(max(high, inside), 1.0))


def pivot_interval(value: float, errors: Vector, *, floor: float, allowance: float = 0.0) -> Estimate:
    """Return the interval of a value whose errors a bootstrap has drawn.

    The mean error is taken out, then +- t deviations; widened to hold the value itself, cut at `floor`. Mean and
    deviation settle with far fewer draws than tail quantiles do.

    Args:
        value: the estimate.
        errors: estimate minus truth in each replicate, shape (replicates,).
        floor: least value that is possible.
        allowance: bound of a systematic error that the bootstrap does not show.
    """
    centred = student_interval(value - float(np.mean(errors)), float(np.std(errors, ddof=1)), errors.size - 1)
    return Estimate(value, max(floor, min(centred.low - allowance, value)), max(centred.high + allowance, value))


def draw_seed(*names: str, replicate: int) -> bytes:
    """Return the seed of one bootstrap draw: H(label, names…, replicate as 8 little-endian bytes)."""
    return labelled_hash(labels.HASH_BOOTSTRAP, *(name.encode() for name in names), replicate.to_bytes(8, "little"))


def wishart_factors(seeds: Sequence[bytes], dimension: int, degrees: int) -> NDArray[np.float64]:
    """Return matrices A with A A^T draws from the Wishart distribution of unit scale, shape (draws, d, min(d, degrees)).

    Args:
        seeds: of the draws.
        dimension: d.
        degrees: of freedom, at least 1.

    Source: Bartlett 1933; for fewer degrees than dimensions the defining sum of outer products.
    """
    if degrees < dimension:
        return rows_of_normals(seeds, dimension * degrees).reshape(len(seeds), dimension, degrees)
    factors = np.zeros((len(seeds), dimension, dimension))
    factors[:, np.tri(dimension, k=-1, dtype=bool)] = rows_of_normals(seeds, dimension * (dimension - 1) // 2)
    chances = np.stack([uniforms(labelled_hash(labels.HASH_BOOTSTRAP, seed), dimension) for seed in seeds])
    freedom = (degrees - np.arange(dimension)) / 2.0
    diagonal = np.arange(dimension)
    factors[:, diagonal, diagonal] = np.sqrt(2.0 * gammaincinv(freedom, chances))
    return factors
