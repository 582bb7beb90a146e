"""Finish of kernel distances: squared maximum mean discrepancy from sums of vectors whose products are the kernel's values.

The vectors are random Fourier features (Gaussian kernel), a tensor sketch (degree 3) or svec(x x^T) (degree 2, JEDi). Promises
the statistic over all pairs, computed from the sums alone, with the known contribution of noise taken off. Without the pairs
of a clip with itself it is unbiased, and single values may fall below 0. Intervals reckon with the variance that the
statistic has at each distance; where sums hold a sketch of the covariance they cover 95 %, elsewhere they are cautious.

Source: Gretton et al. 2012, eq. 3 and 5; Luo et al. 2025 (JEDi); Satterthwaite 1946; Wilson 1927 (an interval holds what no
test refuses); protos/README.md §7.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vdb_shared.metrics.covariance import UNIT, CovarianceSums
from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import TAIL, Comparison, Estimate, Family, compare_all, quantile, welch_degrees


@dataclass(frozen=True)
class EmbeddingSums:
    """Sum of one side's vectors.

    Attributes:
        sums: shape (m,); each clip adds a vector of norm at most 1.
        count: number of clips, at least 2; not an integer when noised.
        deviation: of the noise in each lane.
        count_deviation: of the noise in the count.
        squares: sum of squared norms, or an upper bound of it where `with_itself`; None where every norm is 1.
        with_itself: whether pairs of a clip with itself count (V-statistic).
        covariance: sums of the sketch of the vectors' products, or None, and then the trace stands for every direction.
    """

    sums: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0
    squares: float | None = None
    with_itself: bool = False
    covariance: CovarianceSums | None = None

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
    def trace(self) -> float:
        """Trace of the covariance of the vectors, in [0, 1]."""
        return min(max(self.mean_square - self.within, 0.0), 1.0)

    @property
    def noise(self) -> float:
        """Variance of one coordinate of the mean embedding by noise."""
        return (self.deviation / self.count) ** 2

    @cached_property
    def _sketched(self) -> Vector:
        """Sketch of the covariance, divided by n - 1; the noise in μμ^T is still in it."""
        if self.covariance is None:
            return np.zeros(0)
        around = self.covariance.sums * (UNIT / self.count) - self.covariance.sketch(self.mean)
        return around * (self.count / (self.count - 1))

    @property
    def _sketch_noise(self) -> float:
        """Variance of a lane of `_sketched` by noise."""
        return 0.0 if self.covariance is None else (self.covariance.deviation * UNIT / self.count) ** 2

    @cached_property
    def square(self) -> float:
        """Trace of the covariance's square, or its bound, the trace's square."""
        most = self.trace**2
        if self.covariance is None:
            return most
        return min(max(float(self._sketched @ self._sketched) - self._sketched.size * self._sketch_noise, 0.0), most)

    def product(self, other: EmbeddingSums) -> float:
        """Return the trace of the product of both covariances, or its bound, the product of the traces."""
        if self is other:
            return self.square
        if self.covariance is None or other.covariance is None:
            return self.trace * other.trace
        return min(max(float(self._sketched @ other._sketched), 0.0), math.sqrt(self.square * other.square))

    def rate_along(self, first: EmbeddingSums, second: EmbeddingSums) -> tuple[float, float]:
        """Return v^T Σ v / |v|^2 and the deviation of its error, v from the second mean to the first, Σ this side's covariance.

        v as it was measured, less what is known of noise: where the distance is small, sampling has turned v into directions in
        which vectors vary, which errs to the safe side. Without a sketch it is the bound tr Σ.
        """
        most = self.trace
        if self.covariance is None:
            return most, 0.0
        direction = first.mean - second.mean
        length, noise = float(direction @ direction), first.noise + second.noise
        between = length - direction.size * noise
        if between <= 0:
            return most / 2, most / 2
        image = self.covariance.sketch(direction)
        product = float(self._sketched @ image) + self.noise * length - noise * most
        found = min(max(product / between, 0.0), most)
        sampled = 2.0 * (found * between) ** 2 / (self.count - 1)
        leak = (self.square * length**2 + (found * between) ** 2) / image.size
        error = math.sqrt(leak + self._sketch_noise * float(image @ image) + sampled) / between
        return found, min(error, most / 2)


def squared_discrepancy(a: EmbeddingSums, b: EmbeddingSums) -> float:
    """Return the squared maximum mean discrepancy; may be below 0 unless pairs of a clip with itself count."""
    return a.within + b.within - 2.0 * float(a.mean @ b.mean)


@dataclass(frozen=True, slots=True)
class _Variance:
    """Variance of a statistic.

    Attributes:
        rest: its part that does not depend on the distance.
        linear: its part that grows with the distance.
        error: deviation of the error of `linear` by the sketch.
        parts: of both parts, those that are estimated from clips, and from how many.
    """

    rest: float
    linear: float
    error: float
    parts: tuple[tuple[float, float], ...]

    @property
    def cautious(self) -> float:
        """Root of the mean square of what the variance may be: an interval with it covers although it is an estimate."""
        return math.hypot(self.rest + self.linear, self.error)

    @property
    def sampled(self) -> float:
        """Degrees of freedom of `cautious` by the numbers of clips alone: caution has taken the sketch's share already."""
        return welch_degrees(self.cautious, self.parts)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of `cautious`; by the sketch's error twice Satterthwaite's, since caution has taken its share."""
        by_sketch = (self.error / (2.0 * self.cautious)) ** 2 if self.cautious > 0 else 0.0
        unknown = by_sketch + 1.0 / self.sampled
        return 1.0 / unknown if unknown > 0 else math.inf


def kernel_family(reference: EmbeddingSums, models: Mapping[str, EmbeddingSums]) -> Family:
    """Return the squared discrepancy of every model to the reference.

    Without a sketch of the covariance the sampling variance is an upper bound: all of a side's spread could lie along
    the one direction that matters. Intervals are cautious then; the part by noise is exact either way.

    Two models are compared with the spread of the one that has more: if they are equal, few clips of one of them may have
    missed what those of the other show.
    """

    def estimate(sums: EmbeddingSums) -> Estimate:
        found = _interval(reference, sums)
        value = found.value
        return Estimate(value, max(found.low, min(value, 0.0)), found.high) if sums.with_itself else found

    estimates = {model: estimate(sums) for model, sums in models.items()}

    def compare(first: str, second: str) -> Comparison:
        return _comparison(reference, models[first], models[second])

    return Family(estimates, compare_all(list(models), compare))


def _comparison(reference: EmbeddingSums, a: EmbeddingSums, b: EmbeddingSums) -> Comparison:
    counts = _count(reference, float(reference.mean @ (b.mean - a.mean)))
    counts += _own_count(a, reference) + _own_count(b, reference)
    shared, *along = (_linear(reference, a, b), _linear(a, reference, a), _linear(b, reference, b))
    around = [_quadratic(sums, sums) / 2 + _quadratic(reference, sums) for sums in (a, b)]
    widest = [
        max(part * sums.count for part, sums in zip(found, (a, b), strict=True)) for found in (_firsts(along), around)
    ]
    parts = [(shared[0], reference.count), *((sum(widest) / sums.count, sums.count) for sums in (a, b))]
    error = shared[1] + sum(found for _, found in along)
    variance = _Variance(counts, math.fsum(_firsts(parts)), error, tuple(parts))
    difference = squared_discrepancy(reference, a) - squared_discrepancy(reference, b)
    return Comparison(difference, math.sqrt(variance.cautious), degrees=variance.degrees)


def _firsts(pairs: Iterable[tuple[float, float]]) -> list[float]:
    return [first for first, _ in pairs]


def _interval(reference: EmbeddingSums, generated: EmbeddingSums) -> Estimate:
    """Return all distances D with |value - D| <= t sqrt(V(D)), V(D) = rest + slope max(D, 0).

    The slope is the one at the value, or where the value is lower, at what sampling alone adds to a distance. So are the
    degrees of freedom of Student's t.
    """
    value, sides = squared_discrepancy(reference, generated), (reference, generated)
    own = [_quadratic(side, side) / 2 for side in sides]
    rest = _own_count(reference, generated) + _own_count(generated, reference)
    rest += sum(own) + _quadratic(reference, generated)
    rates = [_rate(side, reference, generated) for side in sides]
    at = max(value, sum(side.trace / side.count for side in sides))
    both = _quadratic(reference, generated) / 2
    parts = tuple(
        (quadratic + both + at * rate, side.count) for quadratic, (rate, _), side in zip(own, rates, sides, strict=True)
    )
    variance = _Variance(rest, at * sum(_firsts(rates)), at * sum(error for _, error in rates), parts)
    reach = quantile(variance.sampled, TAIL)
    slope = reach**2 * (variance.cautious - rest) / at if at > 0 else 0.0
    plain = reach * math.sqrt(rest)
    middle, half = value + slope / 2, math.sqrt(max(slope**2 / 4 + slope * value + plain**2, 0.0))
    low = middle - half if value > plain else value - plain
    return Estimate(value, min(low, value), max(middle + half, value + plain))


def _rate(side: EmbeddingSums, first: EmbeddingSums, second: EmbeddingSums) -> tuple[float, float]:
    """4 v^T (Σ / n + t^2 I) v / |v|^2 for v from the second mean to the first, and the deviation of its error."""
    along, error = side.rate_along(first, second)
    return 4.0 * (along / side.count + side.noise), 4.0 * error / side.count


def _linear(side: EmbeddingSums, first: EmbeddingSums, second: EmbeddingSums) -> tuple[float, float]:
    """4 v^T (Σ / n + t^2 I) v for v from the second mean to the first, and the deviation of its error."""
    rate, error = _rate(side, first, second)
    gap = max(squared_discrepancy(first, second), 0.0)
    return gap * rate, gap * error


def _own_count(side: EmbeddingSums, other: EmbeddingSums) -> float:
    """Term of the side's own noised count in its discrepancy to the other."""
    return _count(side, side.within - float(side.mean @ other.mean))


def _count(side: EmbeddingSums, slope: float) -> float:
    """Term of a noised count: a mean embedding scales with 1/n."""
    return (2.0 * slope * side.count_deviation / side.count) ** 2


def _quadratic(a: EmbeddingSums, b: EmbeddingSums) -> float:
    """4 tr((Σ_a / n_a + t_a^2 I)(Σ_b / n_b + t_b^2 I))."""
    sampling = a.product(b) / (a.count * b.count)
    mixed = a.noise * b.trace / b.count + a.trace / a.count * b.noise
    return 4.0 * (sampling + mixed + a.sums.size * a.noise * b.noise)
