"""The estimators of the utility study: dp-fvd and its companion as the product computes them, and what they are compared with.

Promises that dp-fvd, JEDi, the kernel distance and the sketch go through the shipped finishes, and that noise is drawn in the
space of the sums. Each estimator has the whole budget of a round to itself: one Gaussian release of the sums of the reference
and of all models, whose squared sensitivity is that of one record's shares on every noised side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from dp_worlds import Values

from vdb_participant.measure.extractors.fitting import PublicFeatures
from vdb_shared.metrics.features import random_fourier_frequencies, svec
from vdb_shared.metrics.frechet import Moments, MomentSums, distance_from_root, fit, moments_of, symmetric_root
from vdb_shared.metrics.kernel import EmbeddingSums, kernel_family
from vdb_shared.metrics.sketch import Sketch, sketch_unit

MANIFEST: Final = "sha256:" + "0" * 64
RANDOM_FEATURES: Final = 1024
SKETCH_LANES: Final = 1024


@dataclass(frozen=True, slots=True)
class Map:
    """A public map as `metrics fit-map` makes it."""

    centre: Values
    basis: Values
    radius: float

    @classmethod
    def of(cls, public: PublicFeatures, dimension: int) -> Map:
        """Return the map that keeps so many axes."""
        tensors = public.tensors(dimension)
        return cls(tensors["centre"], tensors["basis"], float(tensors["radius"]))

    def __call__(self, features: Values) -> Values:
        """Return mapped features, (n, d), not yet shortened."""
        return np.asarray((features - self.centre) @ self.basis / self.radius)


def shortened(mapped: Values) -> Values:
    """Return features shortened to norm 1: `clip_to_ball` of every row."""
    return np.asarray(mapped / np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1.0))


@dataclass(frozen=True, slots=True)
class Estimator:
    """One way from features to an order of models.

    Attributes:
        dimension: axes of the public map that it takes.
        sums: of one side's mapped features, (n, d) becomes (lanes,).
        bound_squared: of one record's share on one side.
        values: from noised sums of the reference and of the models, the count, and the noise of a lane on either side.
    """

    dimension: int
    sums: Callable[[Values], Values]
    bound_squared: float
    values: Callable[[Values, Sequence[Values], int, tuple[float, float]], Values]

    def noise(self, multiplier: float, noised_models: int) -> float:
        """Return the deviation of the noise of a lane: one release for all noised sides."""
        return multiplier * math.sqrt((1 + noised_models) * self.bound_squared)


def moment_sums(mapped: Values) -> Values:
    """Return [sum x, svec(sum x x^T)] of shortened features."""
    inside = shortened(mapped)
    return np.concatenate([inside.sum(axis=0), svec(inside.T @ inside)])


def dp_fvd(dimension: int) -> Estimator:
    """Return the product's estimator."""
    return Estimator(dimension, moment_sums, 2.0, _shrunk)


def naive(dimension: int) -> Estimator:
    """Return what one would do first: negative eigenvalues become 0, nothing else."""
    return Estimator(dimension, moment_sums, 2.0, _clipped)


def jedi(dimension: int) -> Estimator:
    """Return the distance of second moments."""

    def sums(mapped: Values) -> Values:
        inside = shortened(mapped)
        return svec(inside.T @ inside)

    def values(reference: Values, models: Sequence[Values], count: int, noise: tuple[float, float]) -> Values:
        return _kernel_values(reference, models, count, noise, squares=lambda _: float(count), with_itself=True)

    return Estimator(dimension, sums, 1.0, values)


def mean_only(dimension: int) -> Estimator:
    """Return the distance of the means."""

    def values(reference: Values, models: Sequence[Values], count: int, noise: tuple[float, float]) -> Values:
        bias = reference.size * (noise[0] ** 2 + noise[1] ** 2) / count**2
        return np.array([float(np.sum((model - reference) ** 2)) / count**2 - bias for model in models])

    return Estimator(dimension, lambda mapped: shortened(mapped).sum(axis=0), 1.0, values)


def diagonal(dimension: int) -> Estimator:
    """Return the Fréchet distance of variances along the axes alone."""

    def sums(mapped: Values) -> Values:
        inside = shortened(mapped)
        return np.concatenate([inside.sum(axis=0), (inside**2).sum(axis=0)])

    def values(reference: Values, models: Sequence[Values], count: int, noise: tuple[float, float]) -> Values:
        def spread(side: Values) -> tuple[Values, Values]:
            mean = side[:dimension] / count
            return mean, np.sqrt(np.maximum(side[dimension:] / count - mean**2, 0.0))

        mean, deviation = spread(reference)
        bias = dimension * (noise[0] ** 2 + noise[1] ** 2) / count**2
        sides = [spread(model) for model in models]
        return np.array([float(np.sum((m - mean) ** 2) + np.sum((s - deviation) ** 2)) - bias for m, s in sides])

    return Estimator(dimension, sums, 2.0, values)


def random_features(dimension: int, bandwidth: float) -> Estimator:
    """Return the companion: a Gaussian kernel's distance by 1,024 random features."""
    frequencies = _frequencies(dimension, bandwidth)

    def sums(mapped: Values) -> Values:
        phases = mapped @ frequencies.T
        both = np.concatenate([np.cos(phases).sum(axis=0), np.sin(phases).sum(axis=0)])
        return np.asarray(both / math.sqrt(len(frequencies)))

    def values(reference: Values, models: Sequence[Values], count: int, noise: tuple[float, float]) -> Values:
        return _kernel_values(reference, models, count, noise)

    return Estimator(dimension, sums, 1.0, values)


def sketched(dimension: int) -> Estimator:
    """Return the degree-3 kernel's distance by a tensor sketch."""
    matrices = _sketch_matrices(dimension)

    def sums(mapped: Values) -> Values:
        augmented = np.column_stack([shortened(mapped) / math.sqrt(dimension), np.ones(len(mapped))])
        product = np.ones((len(mapped), SKETCH_LANES // 2 + 1), dtype=np.complex128)
        for matrix in matrices:
            product *= np.fft.rfft(augmented @ matrix, axis=1)
        found = shortened(np.fft.irfft(product, SKETCH_LANES, axis=1) / sketch_unit(dimension, 1.0))
        return np.append(found.sum(axis=0), float(np.sum(found**2)))

    def values(reference: Values, models: Sequence[Values], count: int, noise: tuple[float, float]) -> Values:
        squares = [float(side[-1]) for side in (reference, *models)]
        lanes = [side[:-1] for side in models]
        return _kernel_values(reference[:-1], lanes, count, noise, squares=lambda place: squares[place])

    return Estimator(dimension, sums, 2.0, values)


def _shrunk(reference: Values, models: Sequence[Values], count: int, noise: tuple[float, float]) -> Values:
    def side(sums: Values, deviation: float) -> MomentSums:
        return MomentSums(sums, float(count), deviation, ordered=True)

    found = fit(side(reference, noise[0]), {str(place): side(sums, noise[1]) for place, sums in enumerate(models)})
    return np.array(list(found.distances.values()))


def _clipped(reference: Values, models: Sequence[Values], count: int, noise: tuple[float, float]) -> Values:
    del noise

    def positive(sums: Values) -> Moments:
        found = moments_of(MomentSums(sums, float(count)))
        values, axes = np.linalg.eigh(found.covariance)
        return Moments(found.mean, (axes * np.maximum(values, 0.0)) @ axes.T)

    centre = positive(reference)
    root = symmetric_root(centre.covariance)
    return np.array([distance_from_root(centre, root, positive(model)) for model in models])


def _kernel_values(
    reference: Values,
    models: Sequence[Values],
    count: int,
    noise: tuple[float, float],
    *,
    squares: Callable[[int], float] | None = None,
    with_itself: bool = False,
) -> Values:
    def side(sums: Values, place: int) -> EmbeddingSums:
        known = None if squares is None else squares(place)
        return EmbeddingSums(sums, float(count), noise[min(place, 1)], 0.0, known, with_itself)

    family = kernel_family(
        side(reference, 0), {str(place): side(sums, place) for place, sums in enumerate(models, start=1)}
    )
    return np.array([estimate.value for estimate in family.estimates.values()])


def standard(bandwidth: float) -> Mapping[str, Estimator]:
    """Return every estimator of the study by name."""
    shrunk = {f"dp-fvd, {d} axes": dp_fvd(d) for d in (16, 32, 64, 128)}
    return shrunk | {
        "naive, 64 axes": naive(64),
        "naive, 400 axes": naive(400),
        "diagonal, 64 axes": diagonal(64),
        "mean alone, 128 axes": mean_only(128),
        "JEDi, 64 axes": jedi(64),
        "mmd-rff, 64 axes": random_features(64, bandwidth),
        "kvd3, 64 axes": sketched(64),
    }


@lru_cache(maxsize=4)
def _frequencies(dimension: int, bandwidth: float) -> Values:
    return random_fourier_frequencies(MANIFEST, dimension, RANDOM_FEATURES, bandwidth)


@lru_cache(maxsize=4)
def _sketch_matrices(dimension: int) -> tuple[Values, ...]:
    """Return the three count sketches as matrices, (d + 1, lanes)."""
    sketch = Sketch.of(MANIFEST, dimension, SKETCH_LANES)
    found = []
    for places, signs in zip(sketch.places, sketch.signs, strict=True):
        matrix = np.zeros((dimension + 1, SKETCH_LANES))
        matrix[np.arange(dimension + 1), places] = signs
        found.append(matrix)
    return tuple(found)
