"""Correlation of a metric's scores with people's, from sums of products.

Promises Pearson's correlation exactly when nothing is noised: over people, and over the clips that each of them scored, every
person weighing 1. Under noise, variances and covariance lose the bias that the noise gives to squares of means. Leaves the
scores to the participant.

Source: Fisher 1921 (interval); protos/README.md §7.2, §7.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.finishes import CORRELATION_LANES
from vdb_shared.metrics.uncertainty import CONFIDENCE, Comparison, Estimate, Family, compare_all

FEWEST_PEOPLE: Final = 5.0
"""Fisher's variance is 1 / (n - 3)."""

COUNT_OVER_NOISE: Final = 10.0
"""A noised number of people divides; below ten times its own deviation the quotients are not worth reporting."""

VARIANCE_OVER_NOISE: Final = 5.0
"""Variances divide too."""

_LEAST_VARIANCE: Final = 1e-9
"""On [-1, 1]; below it, scores are all alike but for rounding to the sums' grid."""

_NEARLY_ONE: Final = 1 - 1e-9


def correlation_share(scores: Vector, places: NDArray[np.int64], models: int) -> Vector:
    """Return what one rater adds, shape (6M,), L2 norm at most √6.

    By model the sums of [1, x, y, x², y², xy], over the number of all clips that the rater scored: a mean of such vectors.

    Args:
        scores: [x, y] of each clip that the rater scored and the metric could score, on [-1, 1], shape (clips, 2).
        places: of each clip's model.
        models: M.

    Raises:
        StatisticError: no clips, or scores beyond [-1, 1].
    """
    if not len(scores) or not np.isfinite(scores).all() or np.abs(scores).max() > 1:
        raise StatisticError(f"expected a rater's scores on [-1, 1], found shape {scores.shape}")
    x, y = scores[:, 0], scores[:, 1]
    monomials = np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)
    lanes = [math.fsum(column) for place in range(models) for column in monomials[places == place].T]
    return np.array(lanes) / len(x)


@dataclass(frozen=True, slots=True)
class CorrelationSums:
    """Sums of one model's products.

    Attributes:
        moments: sums of [1, x, y, x², y², xy], shape (6,).
        deviation: of the noise in each of them.
    """

    moments: Vector
    deviation: float = 0.0

    @property
    def people(self) -> float:
        """How many people's weight the model's clips have; not an integer, since people score clips of several models."""
        return float(self.moments[0])

    @property
    def covariances(self) -> tuple[float, float, float]:
        """Variance of x, variance of y, covariance; the noise makes squares of means too large by what is added here."""
        x, y, xx, yy, xy = (float(value) for value in self.moments[1:] / self.people)
        excess = (self.deviation / self.people) ** 2
        return (
            xx - x * x + excess * (1 + x * x),
            yy - y * y + excess * (1 + y * y),
            xy - x * y + excess * x * y,
        )

    @property
    def value(self) -> float:
        """Pearson's correlation, on [-1, 1]."""
        of_x, of_y, together = self.covariances
        return min(max(together / math.sqrt(of_x * of_y), -1.0), 1.0)

    def noise_of(self, squares: Vector) -> float:
        """Return the deviation of the noise in a combination of variance of x, of y, and covariance, shape (3,)."""
        x, y, xx, yy, xy = (float(value) for value in self.moments[1:] / self.people)
        by_lane = np.array(
            [
                [2 * x * x - xx, -2 * x, 0, 1, 0, 0],
                [2 * y * y - yy, 0, -2 * y, 0, 1, 0],
                [2 * x * y - xy, -y, -x, 0, 0, 1],
            ]
        )
        return float(np.linalg.norm(squares @ by_lane)) * self.deviation / self.people

    @property
    def error(self) -> float:
        """Deviation of the error of Fisher's z: of sampling, as of independent normal pairs, one for each person; and of noise.

        A person's share is a mean of pairs, whose covariance is at most that of one of them drawn at random.
        """
        of_x, of_y, together = self.covariances
        value = min(max(self.value, -_NEARLY_ONE), _NEARLY_ONE)
        root = math.sqrt(of_x * of_y)
        slopes = np.array([-together / (2 * root * of_x), -together / (2 * root * of_y), 1 / root])
        noise = self.noise_of(slopes) / (1 - value * value)
        return math.sqrt(1 / (self.people - 3) + noise * noise)


def correlation_problem(sums: CorrelationSums, model: str) -> str | None:
    """Return why a correlation is not published, or None."""
    needed = max(FEWEST_PEOPLE, COUNT_OVER_NOISE * sums.deviation)
    if round(sums.people, 6) < needed:
        if sums.deviation == 0:
            return f"clips of {model}: the scores of {sums.people:.3g} people, at least {FEWEST_PEOPLE:.0f} are needed"
        return (
            f"clips of {model}: the scores of about {max(sums.people, 0):.0f} people with noise of deviation "
            f"{sums.deviation:.2g}; at least {math.ceil(needed)} are needed, or a larger epsilon"
        )
    for words, found, chosen in (
        ("the metric's scores", sums.covariances[0], np.array([1.0, 0.0, 0.0])),
        ("people's scores", sums.covariances[1], np.array([0.0, 1.0, 0.0])),
    ):
        if found < max(_LEAST_VARIANCE, VARIANCE_OVER_NOISE * sums.noise_of(chosen)):
            return f"clips of {model}: {words} hardly differ" + (", as far as noise lets see" if sums.deviation else "")
    return None


def correlation_family(models: Mapping[str, CorrelationSums]) -> Family:
    """Return correlations by model, on [-1, 1]; no two are ever told apart.

    Fisher's deviation is that of normal pairs. Scores of few steps, or with some extreme clips, can have a much larger one,
    which sums of second moments do not show: too little for a statement that one is better.
    """
    reach = float(ndtri(1 - (1 - CONFIDENCE) / 2))

    def fisher(sums: CorrelationSums) -> float:
        return math.atanh(min(max(sums.value, -_NEARLY_ONE), _NEARLY_ONE))

    def estimate(sums: CorrelationSums) -> Estimate:
        middle, error = fisher(sums), sums.error
        low, high = math.tanh(middle - reach * error), math.tanh(middle + reach * error)
        return Estimate(sums.value, min(low, sums.value), max(high, sums.value))

    def compare(first: str, second: str) -> Comparison:
        a, b = models[first], models[second]
        return Comparison(fisher(a) - fisher(b), math.inf)

    return Family({model: estimate(sums) for model, sums in models.items()}, compare_all(list(models), compare))


def of_models(moments: Vector, models: list[str], deviation: float) -> dict[str, CorrelationSums]:
    """Return each model's sums, from the lanes of all, shape (6M,)."""
    rows = moments.reshape(len(models), CORRELATION_LANES)
    return {model: CorrelationSums(row, deviation) for model, row in zip(models, rows, strict=True)}
