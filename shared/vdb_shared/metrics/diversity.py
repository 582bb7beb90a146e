"""Finishes of diversity: effective numbers of different clips, from the second moment of features of length 1.

With a linear kernel the n x n matrix of similarities and the d x d second moment M have the same eigenvalues λ, so the sums
suffice. RKE is 1 / Σλ^2, Vendi exp(-Σ λ log λ).

Source: Friedman & Dieng 2023 (Vendi score); Jalali, Li & Farnia 2023 (RKE); protos/README.md §7.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vdb_shared.metrics.features import Vector, unsvec
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family, compare_all, normal_interval


@dataclass(frozen=True, slots=True)
class SecondMomentSums:
    """Sum of svec(x x^T) of one model's clips, |x| = 1.

    Attributes:
        sums: shape (d(d+1)/2,).
        count: number of clips, at least 2; not an integer when noised.
        deviation: of the noise in each lane.
        count_deviation: of the noise in the count.
    """

    sums: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0

    @property
    def dimension(self) -> int:
        """d, from the d(d+1)/2 lanes."""
        return (math.isqrt(1 + 8 * self.sums.size) - 1) // 2


def rke_family(models: Mapping[str, SecondMomentSums]) -> Family:
    """Return 1 / |M|^2 of every model: the effective number of modes, of order 2, at least 1."""
    return _family(models, _log_collision)


def vendi_family(models: Mapping[str, SecondMomentSums]) -> Family:
    """Return exp(-Σ λ log λ) of every model, the effective number of different clips; sums without noise only."""
    return _family(models, _entropy)


def _log_collision(sums: SecondMomentSums) -> tuple[float, float, float]:
    """Return -log |M|^2, with the noise's bias taken off, its deviation, and what few clips hide of it.

    One clip's influence on |M|^2 is twice <svec(x x^T), M>, which lies in [0, 1] and has the mean |M|^2. The
    pairs of a clip with itself raise |M|^2 by at most 1 / n.
    """
    lanes, n = sums.sums.size, sums.count
    raw = float(sums.sums @ sums.sums) / n**2
    collision = min(max(raw - lanes * (sums.deviation / n) ** 2, 1.0 / sums.dimension), 1.0)
    sampling = 4.0 * collision * (1.0 - collision) / n
    noise = (sums.deviation / n) ** 2
    by_noise = 4.0 * collision * noise + 2.0 * lanes * noise**2 + (2.0 * collision * sums.count_deviation / n) ** 2
    hidden = math.log(collision / max(collision - 1.0 / n, 1.0 / sums.dimension))
    return -math.log(collision), math.sqrt(sampling + by_noise) / collision, max(hidden, 0.0)


def _entropy(sums: SecondMomentSums) -> tuple[float, float, float]:
    """Return -Σ λ log λ, its deviation, at most the root of (Σ λ log^2 λ - entropy^2) / n, and what few clips hide of it.

    One clip's influence is -x^T log(M) x, whose square is at most x^T log(M)^2 x, since |x| = 1. The entropy of d x d
    moments lies below its limit by at most (d^2 - 1) / 2n to first order.
    """
    values = np.linalg.eigvalsh(unsvec(sums.sums, sums.dimension) / sums.count)
    positive = values[values > np.finfo(np.float64).eps * values.size]
    logs = np.log(positive)
    entropy = -float(positive @ logs)
    deviation = math.sqrt(max(float(positive @ logs**2) - entropy**2, 0.0) / sums.count)
    return max(entropy, 0.0), deviation, (sums.dimension**2 - 1) / (2.0 * sums.count)


def _family(
    models: Mapping[str, SecondMomentSums], logarithm: Callable[[SecondMomentSums], tuple[float, float, float]]
) -> Family:
    """Return exponentials of logarithms with their intervals, at most d; pairs are compared by their ratio.

    A logarithm comes with its deviation and a bound of how far it lies below that of very many clips.
    """
    found = {model: logarithm(sums) for model, sums in models.items()}

    def estimate(model: str) -> Estimate:
        value, deviation, missing = found[model]
        around, most = normal_interval(value, deviation), math.log(models[model].dimension)
        high = max(min(around.high + missing, most), value)
        return Estimate(math.exp(value), math.exp(min(max(around.low, 0.0), value)), math.exp(high))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a, missing_a), (b, error_b, missing_b) = found[first], found[second]
        return Comparison(a - b, math.hypot(error_a, error_b), max(missing_a, missing_b))

    return Family({model: estimate(model) for model in models}, compare_all(list(models), compare))
