"""Finish of kernel distances: squared maximum mean discrepancy from sums of vectors whose products are the kernel's values.

The vectors are random Fourier features (Gaussian kernel), a tensor sketch (degree 3) or svec(x x^T) (degree 2, JEDi). Promises
the statistic over all pairs, computed from the sums alone, with the known contribution of noise taken off. Without the pairs
of a clip with itself it is unbiased, and single values may fall below 0.

Source: Gretton et al. 2012, eq. 3 and 5; Luo et al. 2025 (JEDi); protos/README.md §7.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family, compare_all, normal_interval


@dataclass(frozen=True, slots=True)
class EmbeddingSums:
    """Sum of one side's vectors.

    Attributes:
        sums: shape (m,); each clip adds a vector of norm at most 1.
        count: number of clips, at least 2; not an integer when noised.
        deviation: of the noise in each lane.
        count_deviation: of the noise in the count.
        squares: sum of squared norms, or an upper bound of it where `with_itself`; None where every norm is 1.
        with_itself: whether pairs of a clip with itself count (V-statistic).
    """

    sums: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0
    squares: float | None = None
    with_itself: bool = False

    @property
    def mean(self) -> Vector:
        """Mean embedding, shape (m,)."""
        return self.sums / self.count

    @property
    def within(self) -> float:
        """Mean kernel value of two clips of the side: (|S|^2 - m s^2 - squares) / (n (n - 1)), or (|S|^2 - m s^2) / n^2."""
        square = float(self.sums @ self.sums) - self.sums.size * self.deviation**2
        if self.with_itself:
            return square / self.count**2
        return (square - self.mean_square * self.count) / (self.count * (self.count - 1))

    @property
    def mean_square(self) -> float:
        """Mean squared norm of a vector, in [0, 1]."""
        return 1.0 if self.squares is None else min(max(self.squares / self.count, 0.0), 1.0)

    @property
    def spread(self) -> float:
        """Trace of the mean embedding's covariance by sampling, at most 1 / n."""
        return min(max(self.mean_square - self.within, 0.0), 1.0) / self.count

    @property
    def noise(self) -> float:
        """Variance of one coordinate of the mean embedding by noise."""
        return (self.deviation / self.count) ** 2


def squared_discrepancy(a: EmbeddingSums, b: EmbeddingSums) -> float:
    """Return the squared maximum mean discrepancy; may be below 0 unless pairs of a clip with itself count."""
    return a.within + b.within - 2.0 * float(a.mean @ b.mean)


def kernel_family(reference: EmbeddingSums, models: Mapping[str, EmbeddingSums]) -> Family:
    """Return the squared discrepancy of every model to the reference.

    Sums hold no second moments of the features, so the sampling variance is an upper bound: all of a side's spread
    could lie along the one direction that matters. Intervals are therefore cautious; the part by noise is exact.
    """

    def estimate(sums: EmbeddingSums) -> Estimate:
        found = normal_interval(squared_discrepancy(reference, sums), math.sqrt(_variance(reference, sums)))
        least = min(found.value, 0.0) if sums.with_itself else found.low
        return Estimate(found.value, max(found.low, least), found.high)

    estimates = {model: estimate(sums) for model, sums in models.items()}

    def compare(first: str, second: str) -> Comparison:
        a, b = models[first], models[second]
        difference = squared_discrepancy(reference, a) - squared_discrepancy(reference, b)
        between = max(squared_discrepancy(a, b), 0.0)
        shared = _linear(reference, between) + _count(reference, float(reference.mean @ (b.mean - a.mean)))
        own = sum(_own(reference, sums) + _quadratic(sums, sums) / 2 + _quadratic(reference, sums) for sums in (a, b))
        return Comparison(difference, math.sqrt(shared + own))

    return Family(estimates, compare_all(list(models), compare))


def _variance(reference: EmbeddingSums, generated: EmbeddingSums) -> float:
    """Upper bound of the variance of `squared_discrepancy`: linear, quadratic and count terms of both sides."""
    quadratic = _quadratic(reference, reference) / 2 + _quadratic(generated, generated) / 2
    sides = _own(generated, reference) + _own(reference, generated)
    return sides + quadratic + _quadratic(reference, generated)


def _own(other: EmbeddingSums, side: EmbeddingSums) -> float:
    """Linear and count terms of one side of a discrepancy."""
    gap = max(squared_discrepancy(other, side), 0.0)
    return _linear(side, gap) + _count(side, float(side.mean @ (side.mean - other.mean)))


def _linear(side: EmbeddingSums, gap: float) -> float:
    """4 d^T (Sigma / n + t^2 I) d for |d|^2 = gap, with Sigma bounded by its trace."""
    return 4.0 * gap * (side.spread + side.noise)


def _count(side: EmbeddingSums, slope: float) -> float:
    """Term of a noised count: a mean embedding scales with 1/n."""
    return (2.0 * slope * side.count_deviation / side.count) ** 2


def _quadratic(a: EmbeddingSums, b: EmbeddingSums) -> float:
    """4 tr((Sigma_a / n_a + t_a^2 I)(Sigma_b / n_b + t_b^2 I)), with traces for the products of the Sigmas."""
    size = a.sums.size
    return 4.0 * (a.spread * b.spread + a.noise * b.spread + a.spread * b.noise + size * a.noise * b.noise)
