"""Finish of the Fréchet distance: between Gaussians fitted to sums of features and of their products.

Promises the pooled value when nothing is noised: no shrinkage, no correction, no eigenvalue moved. With noise: eigenvalue
shrinkage of the noised covariances and the known bias of the means taken off. Leaves features to the participant,
intervals to frechet_intervals.py and thresholds for publication to evaluation.py.

Source: Dowson & Landau 1982, eq. 4; protos/README.md §7.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.features import Vector, unsvec
from vdb_shared.metrics.shrinkage import Matrix, Shrunk, falling, shrink

_SYMMETRY: Final = 1e-9

_NEGLIGIBLE: Final = 1e-9
"""Relative error of a distance up to which the faster way will do."""

_ROUNDINGS: Final = 4.0
"""By how many units in the last place of the largest an eigenvalue may be off."""


@dataclass(frozen=True, slots=True)
class Moments:
    """A Gaussian.

    Attributes:
        mean: shape (d,), float64.
        covariance: shape (d, d), float64.
        hidden: upper bound of the covariance's error by shrinkage, in Frobenius norm; 0 without noise.
    """

    mean: Vector
    covariance: Matrix
    hidden: float = 0.0


@dataclass(frozen=True, slots=True)
class MomentSums:
    """Sums of one side.

    Attributes:
        sums: [sum x, sum svec(x x^T)], shape (d + d(d+1)/2,), |x| <= 1.
        count: number of clips; not an integer when noised.
        deviation: of the noise in each lane of the sums.
        count_deviation: of the noise in the count.
        ddof: 0 or 1; the covariance is normalised by n - ddof.
        ordered: whether coordinates are public principal axes, the widest first, so that variances should fall.
    """

    sums: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0
    ddof: int = 0
    ordered: bool = False

    @property
    def dimension(self) -> int:
        """d, from the d(d+3)/2 lanes."""
        return (math.isqrt(9 + 8 * self.sums.size) - 3) // 2

    @property
    def mean_noise(self) -> float:
        """s_x, deviation of the noise in one coordinate of the mean."""
        return self.deviation / self.count


@dataclass(frozen=True, slots=True)
class Fitted:
    """Moments of both sides of a metric, denoised, and the distances between them."""

    reference: Moments
    models: Mapping[str, Moments]
    distances: Mapping[str, float]


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the squared Fréchet distance between two Gaussians, >= 0, in squared feature units.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). The trace of the root of C_a C_b is the sum of the roots of its
    eigenvalues, and of the singular values of F^T G, F F^T = C_a, G G^T = C_b. The former is faster; where eigenvalues vanish,
    as they do with fewer clips than dimensions, their roots would magnify rounding, and the latter is used.

    Args:
        a: one side, shapes (d,) and (d, d), d <= 4096.
        b: the other, same shapes.

    Raises:
        StatisticError: shapes differ, or a covariance is not symmetric.

    Source: Dowson & Landau 1982, eq. 4.
    """
    for moments in (a, b):
        _check_moments(moments, a.mean.size)
    return max(0.0, _distance(a, b))


def moments_of(side: MomentSums) -> Moments:
    """Return mean and covariance of a side as its sums say, noise and all: C = (sum x x^T / n - m m^T) n / (n - ddof).

    Raises:
        StatisticError: the number of lanes fits no dimension.
    """
    d = side.dimension
    if d < 1 or side.sums.size != d * (d + 3) // 2:
        raise StatisticError(f"expected d + d(d+1)/2 lanes of moments, found {side.sums.size}")
    mean = side.sums[:d] / side.count
    covariance = unsvec(side.sums[d:], d) / side.count - np.outer(mean, mean)
    return Moments(mean, covariance * (side.count / (side.count - side.ddof)) if side.ddof else covariance)


def fit(reference: MomentSums, models: Mapping[str, MomentSums], *, drawn: bool = False) -> Fitted:
    """Return denoised moments and distances of every model to the reference.

    A noised reference covariance is shrunk towards the mean of the models' covariances where none of them carries noise,
    and otherwise towards the falling diagonal nearest to its own where coordinates are ordered, or else the isotropic
    matrix of its own trace; a noised model's towards the denoised reference's. From each distance the bias d s_x^2 of a
    noised mean is taken off.

    Args:
        reference: sums of the reference clips.
        models: sums of each model's clips, at least one.
        drawn: whether this is one of many draws, for which the faster way will do whatever the rank.
    """
    raw = {model: _unbiased(sums) for model, sums in models.items()}
    centre = _denoise_reference(reference, models, raw)
    denoised = {model: _denoise(raw[model], sums, centre.covariance) for model, sums in models.items()}
    distances = {
        model: max(0.0, _distance(centre, found, drawn=drawn) - _bias(reference, models[model]))
        for model, found in denoised.items()
    }
    return Fitted(centre, denoised, distances)


def symmetric_root(covariance: Matrix) -> Matrix:
    """Return F with F F^T = covariance, shape (d, d); eigenvalues that are rounding count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    rounding = values.size * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    return np.asarray(vectors * np.sqrt(np.where(values > rounding, values, 0.0)), dtype=np.float64)


def distance_from_root(a: Moments, root: Matrix, b: Moments) -> float:
    """Return the distance by the faster way, whatever the rank; rounding may leave it just below 0.

    Args:
        a: one side.
        root: F with F F^T = C_a, shape (d, d).
        b: the other side.
    """
    cross = np.asarray(np.linalg.eigvalsh(root.T @ b.covariance @ root), dtype=np.float64)
    return _from_eigenvalues(_apart(a, b), cross)


def _distance(a: Moments, b: Moments, *, drawn: bool = False) -> float:
    """Return the distance; rounding may leave it just below 0. If it is drawn, the faster way will do whatever the rank."""
    apart = _apart(a, b)
    try:
        cross = _eigenvalues_of_product(b.covariance, a.covariance)
    except np.linalg.LinAlgError:
        if drawn:
            return distance_from_root(a, symmetric_root(a.covariance), b)
    else:
        found = _from_eigenvalues(apart, cross)
        if drawn or _rounding_of_roots(cross) <= _NEGLIGIBLE * found:
            return found
    roots = symmetric_root(a.covariance).T @ symmetric_root(b.covariance)
    return apart - 2.0 * float(np.sum(np.linalg.svd(roots, compute_uv=False)))


def _eigenvalues_of_product(a: Matrix, b: Matrix) -> Vector:
    """Return the eigenvalues of A B, shape (d,), rising; LinAlgError where B has no Cholesky root."""
    from scipy.linalg import eigh  # noqa: PLC0415 - loads slowly, and most results have no distance of this kind

    found = eigh(a.T, b.T, type=2, eigvals_only=True, driver="gv", check_finite=False)
    return np.asarray(found, dtype=np.float64)


def _apart(a: Moments, b: Moments) -> float:
    gap = a.mean - b.mean
    return float(gap @ gap) + float(np.trace(a.covariance) + np.trace(b.covariance))


def _from_eigenvalues(apart: float, cross: Vector) -> float:
    return apart - 2.0 * float(np.sum(np.sqrt(np.maximum(cross, 0.0))))


def _rounding_of_roots(values: Vector) -> float:
    """Return how far the sum of the roots of eigenvalues may be off, if each of them is by the rounding of the largest."""
    rounding = _ROUNDINGS * float(np.finfo(np.float64).eps) * max(float(values[-1]), 0.0)
    return float(np.sum(rounding / np.sqrt(np.maximum(values, rounding)))) if rounding > 0 else 0.0


def _denoise_reference(reference: MomentSums, models: Mapping[str, MomentSums], raw: Mapping[str, Moments]) -> Moments:
    own = _unbiased(reference)
    own_anchor = any(sums.deviation for sums in models.values())
    if not own_anchor:
        anchor = np.mean([moments.covariance for moments in raw.values()], axis=0)
    elif reference.ordered:
        anchor = np.diag(np.maximum(falling(np.diag(own.covariance)), 0.0))
    else:
        anchor = np.trace(own.covariance) / own.mean.size * np.eye(own.mean.size)
    return _denoise(own, reference, anchor, fitted=own_anchor and reference.ordered)


def _denoise(raw: Moments, side: MomentSums, anchor: Matrix, *, fitted: bool = False) -> Moments:
    """Shrink where there is noise: its deviation off the diagonal is that of a lane over the root of 2 and the count."""
    if not side.deviation:
        return raw
    found: Shrunk = shrink(raw.covariance, anchor, side.mean_noise / math.sqrt(2.0), fitted=fitted)
    return Moments(raw.mean, found.covariance, found.hidden)


def _unbiased(side: MomentSums) -> Moments:
    """Raw moments; a noised mean makes m m^T too large by s_x^2 on the diagonal, which is put back."""
    raw = moments_of(side)
    if not side.deviation:
        return raw
    return Moments(raw.mean, raw.covariance + side.mean_noise**2 * np.eye(raw.mean.size))


def _bias(reference: MomentSums, generated: MomentSums) -> float:
    return reference.dimension * (reference.mean_noise**2 + generated.mean_noise**2)


def _check_moments(moments: Moments, dimension: int) -> None:
    covariance = moments.covariance
    if moments.mean.shape != (dimension,) or covariance.shape != (dimension, dimension):
        raise StatisticError(
            f"expected moments of dimension {dimension}, found {moments.mean.shape}, {covariance.shape}"
        )
    if not np.array_equal(covariance, covariance.T):
        scale = float(np.abs(covariance).max())
        if not np.allclose(covariance, covariance.T, rtol=_SYMMETRY, atol=_SYMMETRY * scale):
            raise StatisticError("expected a symmetric covariance")
