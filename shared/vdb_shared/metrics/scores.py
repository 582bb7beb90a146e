"""Finishes of metrics that are means of bounded clip scores, and of shares of clips of which something is true.

Promises the pooled mean or share, exactly, when nothing is noised. Leaves how a clip is scored to the participant.

Source: protos/README.md §7.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family, compare_all, normal_interval, student_interval


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
    def mean(self) -> float:
        """Mean score, in [0, 1] by definition, also where noise would take it out."""
        return min(max(float(self.moments[0]) / self.count, 0.0), 1.0)

    @property
    def error(self) -> float:
        """Standard deviation of the mean's error: sampling, and noise by the delta method of a ratio."""
        mean = self.mean
        spread = min(max(float(self.moments[1]) / self.count + self.unit - mean * mean, 0.0), 0.25)
        sampling = spread / (self.count - 1)
        noise = (self.deviation**2 + (mean * self.count_deviation) ** 2) / self.count**2
        return math.sqrt(sampling + noise)


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
    def rate(self) -> float:
        """Share of clips, in [0, 1], also where noise would take it out."""
        return min(max(self.events / self.count, 0.0), 1.0)

    def moved(self, clips: int) -> tuple[float, float]:
        """Return the share after so many clips were added, half of them events, and the deviation of its error.

        Without them a share of 0 or 1 would have no error at all.
        """
        size = self.count + clips
        share = min(max((self.events + clips / 2) / size, 0.0), 1.0)
        noise = (self.deviation**2 + (share * self.count_deviation) ** 2) / size**2
        return share, math.sqrt(share * (1 - share) / size + noise)


def rate_family(models: Mapping[str, RateSums]) -> Family:
    """Return shares of clips by model, on [0, 1].

    Source: Agresti & Coull 1998 (intervals with four clips added); Agresti & Caffo 2000 (differences with two).
    """

    def estimate(sums: RateSums) -> Estimate:
        around = normal_interval(*sums.moved(4))
        return Estimate(sums.rate, max(min(around.low, sums.rate), 0.0), min(max(around.high, sums.rate), 1.0))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = models[first].moved(2), models[second].moved(2)
        return Comparison(a - b, math.hypot(error_a, error_b))

    return Family({model: estimate(sums) for model, sums in models.items()}, compare_all(list(models), compare))


def score_family(models: Mapping[str, ScoreSums], *, low: float, high: float) -> Family:
    """Return mean scores on the scale [low, high] by model.

    Models are compared as if independent, which is cautious where they were measured on the same prompts.
    """
    width = high - low

    def estimate(sums: ScoreSums) -> Estimate:
        found = student_interval(sums.mean, sums.error, sums.count - 1)
        return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0)).mapped(width, low)

    def compare(first: str, second: str) -> Comparison:
        a, b = models[first], models[second]
        return Comparison(width * (a.mean - b.mean), width * math.hypot(a.error, b.error))

    return Family({model: estimate(sums) for model, sums in models.items()}, compare_all(list(models), compare))
