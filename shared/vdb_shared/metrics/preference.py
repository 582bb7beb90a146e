"""Bradley-Terry strengths from win counts: which model people prefer.

Promises the strengths of greatest likelihood when nothing is noised, and under noise an estimate that the noise does not
bias to first order: it enters the likelihood's slope linearly and is never cut. The interval covers the sampling of
raters, however alike the votes of one rater are, and the noise. Leaves which votes count to the participant.

Source: Bradley & Terry 1952; Hunter 2004, The Annals of Statistics 32 (assumption 1: when strengths exist);
protos/README.md §7.2, §7.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family, compare_all, student_interval

Matrix = NDArray[np.float64]

FEWEST_RATERS: Final = 2.0
"""Fewer have no spread."""

INFORMATION_OVER_NOISE: Final = 5.0
"""Information divides; if along any direction it is below five times the deviation of its own noise, nothing is published."""

_WIDEST: Final = 30.0
"""Difference of log strengths beyond which an iteration has left every likelihood that has a greatest value."""

_LONGEST_STEP: Final = 1.0
"""Of one iteration, in log strengths: the information changes by less than a factor e on the way."""

_ITERATIONS: Final = 200
_SETTLED: Final = 1e-12


def preference_share(wins: Matrix) -> Vector:
    """Return what one rater adds: the share of votes for each model over each other one, shape (M(M-1),), L2 norm at most 1.

    However many votes there are, they weigh 1 together, so that a rater more or less changes sums by one unit vector.

    Args:
        wins: votes of the rater by preferred and other model, shape (M, M), not negative, 0 on the diagonal; a tie is one half
            in both places.

    Raises:
        StatisticError: they are no votes.
    """
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not np.isfinite(wins).all() or (wins < 0).any():
        raise StatisticError(f"expected a rater's votes for each model over each other one, found shape {wins.shape}")
    total = math.fsum(wins.ravel())
    if not 0 < total < math.inf or np.diag(wins).any():
        raise StatisticError("expected at least one vote, and none for a model over itself")
    return np.asarray((wins / total)[_off_diagonal(len(wins))], dtype=np.float64)


@dataclass(frozen=True)
class PreferenceSums:
    """Sums of raters' shares.

    Attributes:
        wins: for each model over each other one, rows by preferred model, shape (M(M-1),); may be negative when noised.
        models: M, at least 2.
        deviation: of the noise in each lane.
    """

    wins: Vector
    models: int
    deviation: float = 0.0

    @property
    def raters(self) -> float:
        """Their number: each adds lanes of sum 1; not an integer when noised."""
        return math.fsum(self.wins)

    @cached_property
    def table(self) -> Matrix:
        """Wins by preferred and other model, shape (M, M)."""
        table = np.zeros((self.models, self.models))
        table[_off_diagonal(self.models)] = self.wins
        return table

    @cached_property
    def strengths(self) -> Vector | None:
        """Log strengths of greatest likelihood, of mean 0, shape (M,); None where the iteration finds none.

        Newton's steps on the slope, shortened to a length in which the information cannot change much.
        """
        found = np.zeros(self.models)
        for _ in range(_ITERATIONS):
            information = self.information(found)
            if not _positive(information):
                return None
            step = _inverse(information) @ self._slope(found)
            found = found + step * min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), _SETTLED))
            if float(np.ptp(found)) > _WIDEST:
                return None
            if float(np.abs(step).max()) < _SETTLED * (1.0 + float(np.abs(found).max())):
                return np.asarray(found - found.mean(), dtype=np.float64)
        return None

    def information(self, strengths: Vector) -> Matrix:
        """Return minus the second derivative of the likelihood, shape (M, M); rows add up to 0."""
        chances = _chances(strengths)
        weights = (self.table + self.table.T) * chances * chances.T
        return np.asarray(np.diag(weights.sum(axis=1)) - weights, dtype=np.float64)

    def _slope(self, strengths: Vector) -> Vector:
        pulls = self.table * _chances(strengths).T
        return np.asarray(pulls.sum(axis=1) - pulls.sum(axis=0), dtype=np.float64)

    def variance(self, direction: Vector, strengths: Vector) -> float:
        """Return the variance of direction · strengths, for a direction that adds up to 0.

        One rater's share is a mean of votes, each a unit vector. The covariance of means is at most that of the unit vectors:
        the sum of squares of single votes' slopes bounds the sampling, whatever the votes of one rater have in common.
        The noise comes through the same slope; where it has made the bound negative, only it is left.

        Args:
            direction: shape (M,).
            strengths: log strengths, shape (M,).
        """
        lever = _inverse(self.information(strengths)) @ direction
        reach = (_chances(strengths).T * (lever[:, None] - lever[None, :])) ** 2
        sampling = float((self.table * reach).sum())
        return max(sampling, 0.0) + self.deviation**2 * float(reach.sum())


def preference_problem(sums: PreferenceSums, models: Sequence[str]) -> str | None:
    """Return why no strengths are published, or None.

    Without noise they exist if and only if, however the models are divided in two, some vote prefers each part to the other.

    Args:
        sums: of all raters.
        models: their ids.
    """
    if sums.deviation == 0:
        if round(sums.raters, 6) < FEWEST_RATERS:
            return f"{sums.raters:.0f} people voted, at least {FEWEST_RATERS:.0f} are needed"
        return _separation(sums.table, models) or (
            None if sums.strengths is not None else "no strengths could be found"
        )
    drowned = "noise drowns the votes; more raters, fewer models, a larger weight or a larger epsilon would do"
    if sums.raters < FEWEST_RATERS or sums.strengths is None:
        return drowned
    level = _information_over_noise(sums, sums.strengths)
    if level < INFORMATION_OVER_NOISE:
        needed = f"at least {INFORMATION_OVER_NOISE:.0f} times is published"
        return f"{drowned} (the information is {max(level, 0):.1f} times its noise, {needed})"
    return None


def preference_family(sums: PreferenceSums, models: Sequence[str]) -> Family:
    """Return each model's chance of being preferred to one of the others, on [0, 1], and comparisons of log strengths.

    Args:
        sums: with strengths, see `preference_problem`.
        models: their ids, in the order of the lanes.
    """
    strengths = sums.strengths
    if strengths is None:
        raise StatisticError("votes without strengths cannot be published")
    chances = _chances(strengths)
    others, freedom = len(models) - 1, max(sums.raters - 1.0, 1.0)

    def estimate(place: int) -> Estimate:
        """The interval is one of the log odds, mapped back, so that it stays within [0, 1]."""
        value = float(chances[place].sum() - 0.5) / others
        slopes = chances[place] * chances[:, place] / others
        slopes[place] = 0.0
        direction = -slopes
        direction[place] = slopes.sum()
        deviation = math.sqrt(sums.variance(direction, strengths)) / (value * (1.0 - value))
        found = student_interval(float(logit(value)), deviation, freedom)
        return Estimate(value, min(float(expit(found.low)), value), max(float(expit(found.high)), value))

    def compare(first: str, second: str) -> Comparison:
        direction = np.zeros(len(models))
        direction[[models.index(first), models.index(second)]] = 1.0, -1.0
        deviation = math.sqrt(sums.variance(direction, strengths))
        return Comparison(float(direction @ strengths), deviation, degrees=freedom)

    estimates = {model: estimate(place) for place, model in enumerate(models)}
    return Family(estimates, compare_all(list(models), compare))


def _off_diagonal(models: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, columns = np.nonzero(~np.eye(models, dtype=bool))
    return rows, columns


def _chances(strengths: Vector) -> Matrix:
    """Return the chance that the row's model is preferred to the column's, shape (M, M); one half on the diagonal."""
    return np.asarray(expit(strengths[:, None] - strengths[None, :]), dtype=np.float64)


def _inverse(information: Matrix) -> Matrix:
    """Return the inverse on vectors that add up to 0, which is all that votes tell of strengths."""
    size = len(information)
    scale = max(float(np.trace(information)) / size, np.finfo(np.float64).tiny)
    flat = np.full((size, size), scale / size)
    return np.asarray(np.linalg.inv(information + flat) - np.full((size, size), 1.0 / (scale * size)), dtype=np.float64)


def _weakest(information: Matrix) -> tuple[float, Vector]:
    """Return the least information along a direction that adds up to 0, and that direction."""
    size = len(information)
    raised = information + np.full((size, size), (float(np.abs(information).sum()) + 1.0) / size)
    values, vectors = np.linalg.eigh(raised)
    return float(values[0]), np.asarray(vectors[:, 0], dtype=np.float64)


def _positive(information: Matrix) -> bool:
    return _weakest(information)[0] > _SETTLED * max(float(np.trace(information)), 0.0)


def _information_over_noise(sums: PreferenceSums, strengths: Vector) -> float:
    """Return the least information along a direction, over the deviation of the noise in it."""
    least, direction = _weakest(sums.information(strengths))
    chances = _chances(strengths)
    reach = chances * chances.T * (direction[:, None] - direction[None, :]) ** 2 / 2.0
    # Each pair stands twice in `reach`, as do the two lanes that its weight is the sum of.
    return least / (sums.deviation * 2.0 * float(np.linalg.norm(reach)))


def _separation(table: Matrix, models: Sequence[str]) -> str | None:
    """Return in words how the models fall in two parts of which one is never preferred to the other, or None."""
    beats = (table > 0) | np.eye(len(table), dtype=bool)
    reached = beats
    for _ in range(len(table).bit_length()):
        reached = (reached.astype(np.int64) @ reached.astype(np.int64)) > 0
    if reached.all():
        return None
    start = int(np.argmin(reached.sum(axis=1)))
    part = [model for model, inside in zip(models, reached[start], strict=True) if inside]
    rest = [model for model in models if model not in part]
    return (
        f"no vote prefers {' or '.join(part)} to {' or '.join(rest)}, so that no strengths are most likely; "
        "more votes between them would do"
    )
