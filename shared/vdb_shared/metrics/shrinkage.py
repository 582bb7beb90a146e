"""Covariances under noise: shrinkage towards an anchor, and how much it may have hidden.

Promises that zero noise changes nothing. Leaves the choice of anchor and what follows for a distance to
frechet_intervals.py.

Source: Donoho & Gavish 2014 (optimal shrinkage in Frobenius loss); protos/README.md §7.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_shared.metrics.features import Vector

Matrix = NDArray[np.float64]

_HIDDEN_QUANTILE: Final = 1.645
"""One-sided 95 % for the energy that shrinkage hides."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A denoised covariance.

    Attributes:
        covariance: positive semidefinite, shape (d, d).
        hidden: upper bound (95 %) for the Frobenius norm of its error; 0 without noise.
    """

    covariance: Matrix
    hidden: float


def eta(values: Vector, tau: float) -> Vector:
    """Return sign(l) sqrt(max(l^2 - 4 d tau^2, 0)) of the d eigenvalues l of a difference to the anchor."""
    return np.asarray(np.sign(values) * np.sqrt(np.maximum(values**2 - 4 * values.size * tau**2, 0.0)))


def falling(values: Vector) -> Vector:
    """Return the sequence that never rises and is nearest to the values, shape (d,), in the sum of squares.

    The least over starts j <= i of the largest over ends k >= i of the mean of values j to k. For variances along public
    principal axes: averaging where noise has put them out of order takes most of it away and assumes nothing but the order.

    Source: Barlow, Bartholomew, Bremner & Brunk 1972, §1.4 (the minimax formula of isotonic regression).
    """
    size = values.size
    sums = np.concatenate([[0.0], np.cumsum(values)])
    starts, ends = np.indices((size, size))
    lengths = np.where(ends >= starts, ends - starts + 1, 1)
    means = np.where(ends >= starts, (sums[1:][None, :] - sums[:-1][:, None]) / lengths, -np.inf)
    largest = np.maximum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.where(ends >= starts, largest, np.inf).min(axis=0), dtype=np.float64)


def shrink(covariance: Matrix, anchor: Matrix, tau: float, *, fitted: bool = False) -> Shrunk:
    """Return anchor + eta(covariance - anchor), projected to the positive semidefinite matrices.

    The difference carries symmetric Gaussian noise of deviation tau off the diagonal and sqrt(2) tau on it.

    Args:
        covariance: noised, shape (d, d).
        anchor: without noise or nearly so, shape (d, d).
        tau: above 0.
        fitted: whether the anchor was fitted to the diagonal of this very covariance, and so took noise from it.
    """
    values, vectors = np.linalg.eigh(covariance - anchor)
    kept = eta(values, tau)
    eigenvalues, axes = np.linalg.eigh(anchor + (vectors * kept) @ vectors.T)
    projected = (axes * np.maximum(eigenvalues, 0.0)) @ axes.T
    return Shrunk(projected, _hidden(values, kept, tau, fitted=fitted))


def _hidden(values: Vector, kept: Vector, tau: float, *, fitted: bool) -> float:
    """Upper bound of the shrunk covariance's error, in Frobenius norm.

    The energy of the difference, less that of the noise, tau^2 d (d + 1), less what was kept, estimates the squared error
    of the shrinker (for a spike theta the error is theta^2 - eta^2). Its deviation has a part by the noise's own energy,
    2 tau^2 sqrt(d (d + 1)), and one by its product with the true difference. A fitted anchor has up to 2 tau^2 d of the
    noise in it: so much less is in the difference, and as much may be in the anchor's own error.
    """
    d = values.size
    lanes = d * (d + 1)
    noise = d * (d - 3) if fitted else lanes
    difference = max(float(np.sum(values**2)) - tau**2 * noise, 0.0)
    deviation = math.sqrt(4 * tau**4 * lanes + 8 * tau**2 * difference)
    return math.sqrt(max(difference - float(np.sum(kept**2)), 0.0) + _HIDDEN_QUANTILE * deviation)
