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


def _log_collision(sums: SecondMomentSums) -> tuple[float, float]:
    """Return -log |M|^2, with the noise's bias taken off, and its deviation.

    One clip's influence on |M|^2 is twice <svec(x x^T), M>, which lies in [0, 1] and has the mean |M|^2.
    """
    lanes, n = sums.sums.size, sums.count
    raw = float(sums.sums @ sums.sums) / n**2
    collision = min(max(raw - lanes * (sums.deviation / n) ** 2, 1.0 / sums.dimension), 1.0)
    sampling = 4.0 * collision * (1.0 - collision) / n
    noise = (sums.deviation / n) ** 2
    by_noise = 4.0 * collision * noise + 2.0 * lanes * noise**2 + (2.0 * collision * sums.count_deviation / n) ** 2
    return -math.log(collision), math.sqrt(sampling + by_noise) / collision


def _entropy(sums: SecondMomentSums) -> tuple[float, float]:
    """Return -Σ λ log λ and its deviation, at most the root of (Σ λ log^2 λ - entropy^2) / n.

    One clip's influence is -x^T log(M) x, whose square is at most x^T log(M)^2 x, since |x| = 1.
    """
    values = np.linalg.eigvalsh(unsvec(sums.sums, sums.dimension) / sums.count)
    positive = values[values > np.finfo(np.float64).eps * values.size]
    logs = np.log(positive)
    entropy = -float(positive @ logs)
    return max(entropy, 0.0), math.sqrt(max(float(positive @ logs**2) - entropy**2, 0.0) / sums.count)


def _family(
    models: Mapping[str, SecondMomentSums], logarithm: Callable[[SecondMomentSums], tuple[float, float]]
) -> Family:
    """Return exponentials of logarithms with their intervals; pairs are compared by their ratio."""
    found = {model: logarithm(sums) for model, sums in models.items()}

    def estimate(value: float, deviation: float) -> Estimate:
        around = normal_interval(value, deviation)
        return Estimate(math.exp(value), math.exp(max(around.low, 0.0)), math.exp(around.high))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = found[first], found[second]
        return Comparison(a - b, math.hypot(error_a, error_b))

    return Family({model: estimate(*item) for model, item in found.items()}, compare_all(list(models), compare))
