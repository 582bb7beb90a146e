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
    """Sums of one model's class probabilities, without noise.

    Attributes:
        posterior: shape (K,), sum of p.
        negentropy: sum of Σ p log p over log K.
        count: number of clips, at least 2.
    """

    posterior: Vector
    negentropy: float
    count: float

    @property
    def marginal(self) -> Vector:
        """The positive entries of p̄, of sum 1; all K alike where sums that nobody vouches for have none."""
        shares = self.posterior[self.posterior > 0]
        if not shares.size:
            return np.full(self.posterior.size, 1.0 / self.posterior.size)
        return np.asarray(shares / shares.sum(), dtype=np.float64)

    @property
    def bias(self) -> float:
        """Bound of how far the score's logarithm lies below that of very many clips, to first order (Miller 1955)."""
        return (self.posterior.size - 1) / (2.0 * self.count)


def log_score(sums: PosteriorSums) -> tuple[float, float]:
    """Return the logarithm of the score, in [0, log K], and the deviation of its error.

    One clip's influence is its divergence from p̄: at least 0, at most -log of the smallest class's share; a variable of
    such a range and mean m has a variance of at most m (largest - m) (Bhatia & Davis 2000).
    """
    classes, shares = sums.posterior.size, sums.marginal
    entropy = -float(shares @ np.log(shares))
    score = min(max(sums.negentropy / sums.count * math.log(classes) + entropy, 0.0), math.log(classes))
    largest = max(-math.log(float(shares.min())), score)
    return score, math.sqrt(score * (largest - score) / sums.count)


def inception_family(models: Mapping[str, PosteriorSums]) -> Family:
    """Return the score of every model, in [1, K]; pairs are compared by their ratio.

    Few clips show few classes, so the score grows with their number: intervals reach up by what is missing at most, and pairs
    are apart only beyond it.
    """
    found = {model: log_score(sums) for model, sums in models.items()}

    def estimate(model: str) -> Estimate:
        value, deviation = found[model]
        around, classes = normal_interval(value, deviation), models[model].posterior.size
        high = min(around.high + models[model].bias, math.log(classes))
        return Estimate(math.exp(value), math.exp(max(around.low, 0.0)), math.exp(max(high, value)))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = found[first], found[second]
        return Comparison(a - b, math.hypot(error_a, error_b), max(models[first].bias, models[second].bias))

    return Family({model: estimate(model) for model in models}, compare_all(list(models), compare))
