"""Features of guessed clips, and what they contribute to the blocks of distances and diversity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_shared.layout import feature_dimension
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.covariance import UNIT, covariance_sketch
from vdb_shared.metrics.features import Vector, random_fourier_frequencies, standard_normals, svec
from vdb_shared.metrics.finishes import FinishName
from vdb_shared.metrics.sketch import Sketch, sketch_unit
from vdb_shared.metrics.uncertainty import draw_seed
from vdb_shared.planning.atoms import Atoms, Sum, power_law, summed_by
from vdb_shared.planning.guess import FeatureGuess, kind_of
from vdb_shared.spec import Metric, Spec

FEATURE_ATOMS: Final = 4096
"""Clips whose covariance counts: enough that covariances of a few dozen dimensions are those of the guess."""

FEWEST_ATOMS: Final = 512
_NUMBERS: Final = 2**22
"""Numbers that the atoms of one model may have together; in high dimensions there are fewer atoms."""


def features_of(spec: Spec, metric: Metric, guess: FeatureGuess, place: int) -> Atoms:
    """Return the clips of the reference (place 0) or of a model (places from 1), as far as a metric's features go."""
    dimension = feature_dimension(spec, metric)
    wanted = FEWEST_ATOMS if metric.features else FEATURE_ATOMS
    size = max(FEWEST_ATOMS, min(wanted, _NUMBERS // max(dimension, metric.features or 1)))
    vectors = feature_vectors(guess, place, dimension, _normals(metric.id, dimension, size))
    return Atoms(size, _PARTS[kind_of(definition_of(metric.id))](spec, metric, vectors))


@lru_cache(maxsize=4)
def _normals(name: str, dimension: int, size: int) -> NDArray[np.float64]:
    """Return standard normal vectors of mean 0, shape (size, d): the same for all sides of a metric."""
    drawn = standard_normals(draw_seed("plan", name, replicate=0), size * dimension).reshape(size, dimension)
    centred: NDArray[np.float64] = drawn - drawn.mean(axis=0)
    return centred


def feature_vectors(
    guess: FeatureGuess, place: int, dimension: int, normals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return features that a guess describes, before clipping, shape (n, d).

    Args:
        guess: the guess.
        place: 0 for reference clips, else the number of the model.
        dimension: d.
        normals: standard normal, shape (n, d).
    """
    trace = guess.norm**2 * (1.0 - guess.centre)
    deviations = np.sqrt(trace * power_law(guess.exponent, dimension))
    centre = guess.norm * np.sqrt(guess.centre) * np.ones(dimension)
    shift = guess.apart * place * np.sqrt(trace) * np.where(np.arange(dimension) % 2, -1.0, 1.0)
    return np.asarray(normals * deviations + (centre + shift) / np.sqrt(dimension), dtype=np.float64)


def _inside(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest vectors of the unit ball."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1.0), dtype=np.float64)


def _directions(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float64).tiny), dtype=np.float64)


def _gram(vectors: NDArray[np.float64]) -> Sum:
    """Return the sum of svec(x x^T), without ever holding it for every clip."""

    def summed(counts: Vector) -> Vector:
        drawn = counts != 0
        few = vectors[drawn]
        return svec((few * counts[drawn, np.newaxis]).T @ few)

    return summed


def _moments(_: Spec, __: Metric, vectors: NDArray[np.float64]) -> Mapping[str, Sum]:
    inside = _inside(vectors)
    first, second = summed_by(inside), _gram(inside)
    return {"moments": lambda counts: np.concatenate([first(counts), second(counts)])}


def _second(_: Spec, __: Metric, vectors: NDArray[np.float64]) -> Mapping[str, Sum]:
    return {"second": _gram(_inside(vectors))}


def _second_of_directions(_: Spec, __: Metric, vectors: NDArray[np.float64]) -> Mapping[str, Sum]:
    return {"second": _gram(_directions(vectors))}


def _embedding(spec: Spec, metric: Metric, vectors: NDArray[np.float64]) -> Mapping[str, Sum]:
    """The vectors are in units of the bandwidth."""
    frequencies = _frequencies(spec.extractor(str(metric.extractor)).manifest, vectors.shape[1], metric.features or 2)
    phases = vectors @ frequencies.T
    waves = np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / np.sqrt(frequencies.shape[0])
    sketch = covariance_sketch(spec.digest, spec.extractor(str(metric.extractor)).manifest, waves.shape[1])
    products = _inside(sketches_of(waves, sketch) / UNIT)
    return {"embedding": summed_by(waves), "covariance": summed_by(products)}


def sketches_of(vectors: NDArray[np.float64], sketch: Sketch) -> NDArray[np.float64]:
    """Return the sketch of every row, (n, d) becomes (n, lanes): what `Sketch` returns of one vector, of all at once."""
    product = np.ones((vectors.shape[0], sketch.lanes // 2 + 1), dtype=np.complex128)
    for places, signs in zip(sketch.places, sketch.signs, strict=True):
        counted = np.zeros((sketch.lanes, vectors.shape[0]))
        for place, entries in zip(places, vectors.T * signs[:, np.newaxis], strict=True):
            counted[place] += entries
        product *= np.fft.rfft(counted.T)
    return np.asarray(np.fft.irfft(product, sketch.lanes), dtype=np.float64)


@lru_cache(maxsize=4)
def _frequencies(manifest: str, dimension: int, features: int) -> NDArray[np.float64]:
    return random_fourier_frequencies(manifest, dimension, features, 1.0)


def _sketched(spec: Spec, metric: Metric, vectors: NDArray[np.float64]) -> Mapping[str, Sum]:
    """The vectors are in units of the norm to which features are clipped."""
    limit, dimension = float(metric.limit or 1), vectors.shape[1]
    sketch = Sketch.of(spec.extractor(str(metric.extractor)).manifest, dimension, metric.features or 2)
    scaled = _inside(vectors) * (limit / math.sqrt(dimension))
    augmented = np.column_stack([scaled, np.ones(len(scaled))])
    shortened = _inside(sketches_of(augmented, sketch) / sketch_unit(dimension, limit))
    squares = np.minimum(np.square(shortened).sum(axis=1), 1.0)
    return {"sketch": summed_by(np.column_stack([shortened, squares]))}


_PARTS: Final[Mapping[FinishName, Callable[[Spec, Metric, NDArray[np.float64]], Mapping[str, Sum]]]] = {
    "frechet": _moments,
    "kernel": _embedding,
    "sketch": _sketched,
    "second-moment": _second,
    "vendi": _second_of_directions,
    "rke": _second_of_directions,
}
