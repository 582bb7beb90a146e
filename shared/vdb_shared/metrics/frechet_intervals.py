"""Intervals and comparisons of Fréchet distances.

Three errors are covered. Sampling and noise, by a parametric bootstrap: each replicate draws the sample moments of every
side (normal mean, Wishart covariance), then its noise, and estimates anew; all models share the draw of the reference, so
that differences between them are sharper than the distances. And what shrinkage hides, by a bound: to first order a
covariance that is off by E moves the distance by <G, E>, at most |G| |E| in Frobenius norms.

What is covered is the distance that the same numbers of clips give on average without noise: the upward bias of small
samples is part of the definition, the noise is not.

Source: Armstrong & Kolesár 2018 (bias-aware intervals); Rippl, Munk & Sturm 2016 (derivative); protos/README.md §7.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_shared.metrics.features import rows_of_normals, standard_normals, svec
from vdb_shared.metrics.frechet import (
    Fitted,
    Moments,
    MomentSums,
    distance_from_root,
    fit,
    symmetric_root,
)
from vdb_shared.metrics.shrinkage import Matrix
from vdb_shared.metrics.uncertainty import Comparison, Family, compare_all, draw_seed, pivot_interval, wishart_factors

REPLICATES: Final = 200
"""Bootstrap draws up to dimension 64."""

REPLICATES_ABOVE_64: Final = 50
"""Draws for larger dimensions, where one costs more and the distance, a sum over many directions, is closer to normal."""


_ENTRIES_AT_ONCE: Final = 2**16
"""Entries of covariances that are drawn together: half a megabyte for each side, which caches hold."""


def frechet_family(
    reference: MomentSums, models: Mapping[str, MomentSums], *, name: str, replicates: int | None = None
) -> Family:
    """Return the distance of every model to the reference with intervals, and all comparisons.

    Few clips raise a distance, about as much as they are few. Models with other numbers of clips are told apart only beyond
    what either would lose or gain with as many as the other. Deviations are known as well as there are draws, and as there are
    clips on the side with the fewest: all that varies may lie along one direction.

    Args:
        reference: sums of the reference clips, at least 2.
        models: sums of each model's clips, likewise.
        name: of the metric; opens the draws' seeds.
        replicates: number of draws, or None for the default.
    """
    draws = replicates or (REPLICATES if reference.dimension <= 64 else REPLICATES_ABOVE_64)
    fitted = fit(reference, models)
    errors, raised = _bootstrap_errors(reference, models, fitted, name, draws)
    slopes = {model: _slopes(fitted, model) for model in models}
    estimates = {
        model: pivot_interval(value, errors[model], floor=0.0, allowance=_allowance(fitted, model, slopes[model]))
        for model, value in fitted.distances.items()
    }

    def compare(first: str, second: str) -> Comparison:
        drawn = errors[first] - errors[second]
        difference = fitted.distances[first] - fitted.distances[second] - float(np.mean(drawn))
        shared = float(np.linalg.norm(slopes[first][0] - slopes[second][0])) * fitted.reference.hidden
        own = sum(float(np.linalg.norm(slopes[model][1])) * fitted.models[model].hidden for model in (first, second))
        a, b = models[first].count, models[second].count
        uneven = max(abs(raised[first] * (1 - a / b)), abs(raised[second] * (1 - b / a)))
        degrees = 1 / (1 / (draws - 1) + 1 / (min(reference.count, a, b) - 1))
        return Comparison(difference, float(np.std(drawn, ddof=1)), shared + own + uneven, degrees)

    return Family(estimates, compare_all(list(models), compare))


@dataclass(frozen=True, slots=True)
class _Samples:
    """Sample moments of one side in several draws.

    Attributes:
        means: shape (draws, d).
        covariances: shape (draws, d, d).
        roots: F with F F^T = C, shape (draws, d, r), r < d where there are few clips.
    """

    means: NDArray[np.float64]
    covariances: NDArray[np.float64]
    roots: NDArray[np.float64]


class _Resampler:
    """Draws of one side: new sample moments, and new noised sums of them."""

    def __init__(self, name: str, side: MomentSums, moments: Moments) -> None:
        self._name = name
        self._side = side
        self._mean = moments.mean
        self._root = symmetric_root(moments.covariance)

    def samples(self, draws: range) -> _Samples:
        """Return sample moments in these draws."""
        size = max(2, round(self._side.count))
        d = self._mean.size
        normals = rows_of_normals(self._seeds("mean", draws), d)
        wishart = wishart_factors(self._seeds("covariance", draws), d, size - 1)
        roots = self._root @ wishart / math.sqrt(size - self._side.ddof)
        return _Samples(self._mean + normals @ self._root.T / math.sqrt(size), roots @ roots.transpose(0, 2, 1), roots)

    def noised(self, samples: _Samples, draws: range) -> Iterator[MomentSums]:
        """Yield sums of each sample with new noise, or without where the side has none."""
        side = self._side
        shrunk = (side.count - side.ddof) / side.count
        for place, draw in enumerate(draws):
            mean, spread = samples.means[place], samples.covariances[place] * shrunk
            sums = np.concatenate([mean, svec(spread + np.outer(mean, mean))]) * side.count
            if not side.deviation:
                yield replace(side, sums=sums)
                continue
            normals = standard_normals(draw_seed(self._name, "noise", replicate=draw), sums.size + 1)
            count = max(side.count + side.count_deviation * float(normals[0]), side.count / 2)
            yield replace(side, sums=sums + side.deviation * normals[1:], count=count)

    def _seeds(self, what: str, draws: range) -> list[bytes]:
        return [draw_seed(self._name, what, replicate=draw) for draw in draws]


def _bootstrap_errors(
    reference: MomentSums, models: Mapping[str, MomentSums], fitted: Fitted, name: str, draws: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Return errors of every model's estimate in every draw, and by how much few clips raise its distance.

    An error is the estimate with noise, less the mean without it; shapes (draws,).
    """
    centre = _Resampler(name, reference, fitted.reference)
    sides = {model: _Resampler(f"{name}/{model}", sums, fitted.models[model]) for model, sums in models.items()}
    noisy = bool(reference.deviation) or any(sums.deviation for sums in models.values())
    pure = {model: np.zeros(draws) for model in models}
    estimated = {model: np.zeros(draws) for model in models}
    together = max(1, _ENTRIES_AT_ONCE // fitted.reference.covariance.size)
    for start in range(0, draws, together):
        some = range(start, min(start + together, draws))
        within = slice(some.start, some.stop)
        samples = centre.samples(some)
        others = {model: side.samples(some) for model, side in sides.items()}
        for model, other in others.items():
            pure[model][within] = _distances(samples, other)
        if noisy:
            redrawn = {model: sides[model].noised(other, some) for model, other in others.items()}
            for draw, anew in zip(some, centre.noised(samples, some), strict=True):
                found = fit(anew, {model: next(sums) for model, sums in redrawn.items()}, drawn=True)
                for model, value in found.distances.items():
                    estimated[model][draw] = value
    means = {model: float(np.mean(values)) for model, values in pure.items()}
    root = symmetric_root(fitted.reference.covariance)
    drawn_from = {
        model: distance_from_root(fitted.reference, root, moments) for model, moments in fitted.models.items()
    }
    return (
        {model: (estimated if noisy else pure)[model] - means[model] for model in models},
        {model: means[model] - drawn_from[model] for model in models},
    )


def _distances(a: _Samples, b: _Samples) -> NDArray[np.float64]:
    """Return the distance of two samples in every draw, shape (draws,).

    Of few clips in many dimensions thin roots F and G give it cheaply: the work grows with r q (r + q) instead of d^3.
    """
    d = a.means.shape[1]
    gaps = a.means - b.means
    apart = np.sum(gaps * gaps, axis=1) + _traces(a.covariances) + _traces(b.covariances)
    across = a.roots.transpose(0, 2, 1)
    if min(a.roots.shape[2], b.roots.shape[2]) < d:
        common = np.linalg.svd(across @ b.roots, compute_uv=False)
    else:
        common = np.sqrt(np.maximum(np.linalg.eigvalsh(across @ b.covariances @ a.roots), 0.0))
    return np.asarray(apart - 2.0 * np.sum(common, axis=1))


def _traces(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.trace(matrices, axis1=1, axis2=2))


def _slopes(fitted: Fitted, model: str) -> tuple[Matrix, Matrix]:
    """Derivatives of a distance by the reference's and by the model's covariance: I - T and I - T^-1.

    T = C_a^(-1/2) (C_a^(1/2) C_b C_a^(1/2))^(1/2) C_a^(-1/2) carries the one Gaussian to the other. Both covariances are
    raised by the hidden error's size per direction, below which their eigenvalues mean nothing.
    """
    a, b = fitted.reference, fitted.models[model]
    identity = np.eye(a.mean.size)
    if not (a.hidden or b.hidden):
        return 0.0 * identity, 0.0 * identity
    ridge = max(a.hidden, b.hidden) / math.sqrt(a.mean.size) * identity
    return identity - _transport(a.covariance + ridge, b.covariance + ridge), identity - _transport(
        b.covariance + ridge, a.covariance + ridge
    )


def _transport(source: Matrix, target: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(source)
    root = (vectors * np.sqrt(values)) @ vectors.T
    inverse = (vectors / np.sqrt(values)) @ vectors.T
    between, axes = np.linalg.eigh(root @ target @ root)
    return np.asarray(inverse @ ((axes * np.sqrt(np.maximum(between, 0.0))) @ axes.T) @ inverse)


def _allowance(fitted: Fitted, model: str, slopes: tuple[Matrix, Matrix]) -> float:
    """How far what shrinkage hides may move a distance."""
    by_reference = float(np.linalg.norm(slopes[0])) * fitted.reference.hidden
    return by_reference + float(np.linalg.norm(slopes[1])) * fitted.models[model].hidden
