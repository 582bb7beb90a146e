"""Finishes of metrics that are means of bounded clip scores, and of shares of clips of which something is true.

Promises the pooled mean or share, exactly, when nothing is noised. Leaves how a clip is scored to the participant.

Source: protos/README.md §7.2, §7.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import TAIL, Comparison, Estimate, Family, compare_all, quantile, wilson_interval


@dataclass(frozen=True, slots=True)
class ScoreSums:
    """Sums of one model's rescaled scores.

    Attributes:
        moments: [sum s, sum s^2], s in [0, 1].
        count: number of scored clips, at least 2; not an integer when noised.
        deviation: of the noise in each of the moments.
        count_deviation: of the noise in the count.
        unit: of the grid to which each clip's s^2 was cut, by less than that.
    """

    moments: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0
    unit: float = 0.0

    @property
    def ratio(self) -> float:
        """Sum over count, which noise may take out of [0, 1]."""
        return float(self.moments[0]) / self.count

    @property
    def mean(self) -> float:
        """Mean score, in [0, 1] by definition, also where noise would take it out."""
        return min(max(self.ratio, 0.0), 1.0)

    @property
    def sampling(self) -> float:
        """Variance of the mean by sampling; cautious where noise is larger than the spread of the scores."""
        spread = float(self.moments[1]) / self.count + self.unit - self.mean**2
        return min(max(spread, 0.0), 0.25) / (self.count - 1)

    @property
    def noise(self) -> float:
        """Variance of the mean by noise, by the delta method of a ratio."""
        return (self.deviation**2 + (self.mean * self.count_deviation) ** 2) / self.count**2

    @property
    def error(self) -> float:
        """Standard deviation of the mean's error: sampling and noise."""
        return math.sqrt(self.sampling + self.noise)

    @property
    def interval(self) -> Estimate:
        """The mean with its interval, on [0, 1].

        Scores of mean m have a variance of at most m (1 - m), that of shares; which part of it they have is taken for the
        same at all means in question. Where every score is the same end of the range, nothing is known of it and it is 1;
        where noise has brought the mean to an end, scores need not be there, and no more is known than the variance.
        """
        freedom, reach = self.count - 1, quantile(self.count - 1, TAIL)
        most = self.mean * (1 - self.mean) / freedom
        if most == 0 and self.noise > 0:
            return wilson_interval(self.ratio, 0.0, self.noise + self.sampling, reach)
        part = min(self.sampling / most, 1.0) if most > 0 else 1.0
        return wilson_interval(self.ratio, part / freedom, self.noise, reach)


@dataclass(frozen=True, slots=True)
class RateSums:
    """How many of one model's clips something is true of.

    Attributes:
        events: their number.
        count: number of clips, at least 2; both are no integers when noised.
        deviation: of the noise in the events.
        count_deviation: of the noise in the count.
    """

    events: float
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0

    @property
    def ratio(self) -> float:
        """Events over clips, which noise may take out of [0, 1]."""
        return self.events / self.count

    @property
    def noise(self) -> float:
        """Variance of the ratio by noise."""
        return (self.deviation**2 + (min(max(self.ratio, 0.0), 1.0) * self.count_deviation) ** 2) / self.count**2

    @property
    def moved(self) -> tuple[float, float]:
        """The share after two clips were added, one of them an event, and the deviation of its error.

        Without them a share of 0 or 1 would have no error at all.
        """
        size = self.count + 2
        share = min(max((self.events + 1) / size, 0.0), 1.0)
        noise = (self.deviation**2 + (share * self.count_deviation) ** 2) / size**2
        return share, math.sqrt(share * (1 - share) / size + noise)


def rate_family(models: Mapping[str, RateSums]) -> Family:
    """Return shares of clips by model, on [0, 1].

    Source: Wilson 1927 (intervals); Agresti & Caffo 2000 (differences with two clips added).
    """

    def estimate(sums: RateSums) -> Estimate:
        return wilson_interval(sums.ratio, 1 / sums.count, sums.noise, quantile(math.inf, TAIL))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = models[first].moved, models[second].moved
        return Comparison(a - b, math.hypot(error_a, error_b))

    return Family({model: estimate(sums) for model, sums in models.items()}, compare_all(list(models), compare))


def score_family(models: Mapping[str, ScoreSums], *, low: float, high: float) -> Family:
    """Return mean scores on the scale [low, high] by model.

    Models are compared as if independent, which is cautious where they were measured on the same prompts.
    """
    width = high - low

    def estimate(sums: ScoreSums) -> Estimate:
        return sums.interval.mapped(width, low)

    def compare(first: str, second: str) -> Comparison:
        a, b = models[first], models[second]
        error = math.hypot(a.error, b.error)
        return Comparison(width * (a.mean - b.mean), width * error, degrees=_degrees(error, a, b))

    return Family({model: estimate(sums) for model, sums in models.items()}, compare_all(list(models), compare))


def _degrees(error: float, *sides: ScoreSums) -> float:
    """Return the degrees of freedom of a difference's deviation; noise, of known variance, adds to them (Welch 1947)."""
    unknown = sum(side.sampling**2 / (side.count - 1) for side in sides)
    return error**4 / unknown if unknown > 0 else math.inf
