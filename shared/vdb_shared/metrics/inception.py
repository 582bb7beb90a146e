"""Finish of the Inception score: exp of the mean divergence of a clip's class probabilities from those of all clips together.

Promises the score without splits, from two sums, exactly: exp(Σ p log p / n - Σ p̄ log p̄).

Source: Salimans et al. 2016, eq. 1; for clips Saito et al. 2017; protos/README.md §7.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family, compare_all, normal_interval


@dataclass(frozen=True, slots=True)
class PosteriorSums:
    """Sums of one model's class probabilities.

    Attributes:
        posterior: shape (K,), sum of p.
        negentropy: sum of Σ p log p over log K.
        count: number of clips, at least 2; not an integer when noised.
        deviation, negentropy_deviation, count_deviation: of the noise in each lane.
    """

    posterior: Vector
    negentropy: float
    count: float
    deviation: float = 0.0
    negentropy_deviation: float = 0.0
    count_deviation: float = 0.0

    @property
    def marginal(self) -> Vector:
        """p̄, shape (K,): of sum 1 and not negative, also where noise would have it otherwise."""
        shares = np.maximum(self.posterior, 0.0)
        return np.asarray(shares / shares.sum(), dtype=np.float64)


def log_score(sums: PosteriorSums) -> tuple[float, float]:
    """Return the logarithm of the score, in [0, log K], and the deviation of its error.

    One clip's influence is its divergence from p̄: at least 0, at most -log of the smallest class's share; a variable of such a
    range and mean m has a variance of at most m (largest - m) (Bhatia & Davis 2000).
    """
    classes, n = sums.posterior.size, sums.count
    marginal = sums.marginal
    positive = marginal[marginal > 0]
    entropy = -float(positive @ np.log(positive))
    score = min(max(sums.negentropy / n * math.log(classes) + entropy, 0.0), math.log(classes))
    largest = max(-math.log(float(positive.min())), score)
    slope = float(np.sum((np.log(positive) + 1.0) ** 2))
    noise = slope * sums.deviation**2 + (math.log(classes) * sums.negentropy_deviation) ** 2
    by_count = (score * sums.count_deviation) ** 2
    return score, math.sqrt(score * (largest - score) / n + (noise + by_count) / n**2)


def inception_family(models: Mapping[str, PosteriorSums]) -> Family:
    """Return the score of every model, in [1, K]; pairs are compared by their ratio."""
    found = {model: log_score(sums) for model, sums in models.items()}
    highest = {model: math.log(sums.posterior.size) for model, sums in models.items()}

    def estimate(model: str) -> Estimate:
        value, deviation = found[model]
        around = normal_interval(value, deviation)
        return Estimate(math.exp(value), math.exp(max(around.low, 0.0)), math.exp(min(around.high, highest[model])))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = found[first], found[second]
        return Comparison(a - b, math.hypot(error_a, error_b))

    return Family({model: estimate(model) for model in models}, compare_all(list(models), compare))
