"""Finish of metrics that are means of bounded clip scores.

Promises the pooled mean, exactly, when nothing is noised. Leaves how a clip is scored to the participant.

Source: protos/README.md §7.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family, compare_all, student_interval


@dataclass(frozen=True, slots=True)
class ScoreSums:
    """Sums of one model's rescaled scores.

    Attributes:
        moments: [sum s, sum s^2], s in [0, 1].
        count: number of scored clips, at least 2; not an integer when noised.
        deviation: of the noise in each of the moments.
        count_deviation: of the noise in the count.
    """

    moments: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0

    @property
    def mean(self) -> float:
        """Mean score, in [0, 1] by definition, also where noise would take it out."""
        return min(max(float(self.moments[0]) / self.count, 0.0), 1.0)

    @property
    def error(self) -> float:
        """Standard deviation of the mean's error: sampling, and noise by the delta method of a ratio."""
        mean = self.mean
        spread = min(max(float(self.moments[1]) / self.count - mean * mean, 0.0), 0.25)
        sampling = spread / (self.count - 1)
        noise = (self.deviation**2 + (mean * self.count_deviation) ** 2) / self.count**2
        return math.sqrt(sampling + noise)


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
