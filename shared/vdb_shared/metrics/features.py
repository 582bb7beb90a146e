"""What one record contributes: the arithmetic between an extractor's output and a block of lanes.

Promises that every contribution respects the L2 bound that its block declares (metrics/catalogue.py), so that the
privacy of a session never rests on an extractor's good behaviour. Used by the participant for each clip and by the
tests; leaves frames and extractors to the participant.

Source: protos/README.md §7.2.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from vdb_shared import labels
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.errors import StatisticError

Vector = NDArray[np.float64]

HISTOGRAM_BINS: Final = 32
"""Bins of a score's histogram: fine enough for a chart, coarse enough to cost few lanes."""

_ROOT_2: Final = math.sqrt(2.0)

_PROBABILITY_SLACK: Final = 1e-3
"""How far the sum of a classifier's float32 probabilities may be from 1."""


def uniforms(seed: bytes, count: int) -> Vector:
    """Return numbers of the open interval (0, 1) that follow from a seed alone, shape (count,), float64.

    SHAKE-256 of the seed, read as little-endian u64; the upper 52 bits k give (k + 1/2) / 2^52, which float64 holds
    exactly. Not for noise: who knows the seed knows the numbers.

    Source: FIPS 202; protos/README.md §7.2.
    """
    stream = np.frombuffer(hashlib.shake_256(seed).digest(8 * count), dtype="<u8")
    return ((stream >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def standard_normals(seed: bytes, count: int) -> Vector:
    """Return standard normal numbers that follow from a seed alone, shape (count,), float64: the probit of `uniforms`."""
    return np.asarray(ndtri(uniforms(seed, count)), dtype=np.float64)


def rows_of_normals(seeds: Sequence[bytes], count: int) -> NDArray[np.float64]:
    """Return the `standard_normals` of each seed as a row, shape (seeds, count)."""
    return np.asarray(ndtri(np.stack([uniforms(seed, count) for seed in seeds])), dtype=np.float64)


def rescale(score: float, low: float, high: float) -> float:
    """Return a score on the scale of its lanes: clipped to [low, high], then mapped to [0, 1].

    Raises:
        StatisticError: the score is not finite.
    """
    if not math.isfinite(score):
        raise StatisticError(f"expected a finite score, found {score}; the clip must count as failed")
    return (min(max(score, low), high) - low) / (high - low)


def score_moments(rescaled: float) -> Vector:
    """Return [s, s^2] of a rescaled score, shape (2,), L2 norm at most sqrt(2)."""
    _check_rescaled(rescaled)
    return np.array([rescaled, rescaled * rescaled])


def score_histogram(rescaled: float) -> Vector:
    """Return the one-hot bin of a rescaled score, shape (32,): bin floor(32 s), and 1 belongs to the last."""
    _check_rescaled(rescaled)
    bins = np.zeros(HISTOGRAM_BINS)
    bins[min(int(rescaled * HISTOGRAM_BINS), HISTOGRAM_BINS - 1)] = 1.0
    return bins


def outcome(succeeded: bool) -> Vector:
    """Return the one-hot pair [succeeded, failed] of a clip, shape (2,)."""
    return np.array([1.0, 0.0]) if succeeded else np.array([0.0, 1.0])


def clip_to_ball(vector: Vector) -> tuple[Vector, bool]:
    """Return the nearest vector of the closed unit ball, and whether it had to move; shape (d,), float64.

    The result's norm, as float64 computes it, is at most 1: a last scaling takes back what rounding added.

    Raises:
        StatisticError: the vector is not one-dimensional or holds a value that is not finite.
    """
    values = np.asarray(vector, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise StatisticError(
            f"expected one finite feature vector, found shape {values.shape}; the clip must count as failed"
        )
    norm = math.hypot(*values)
    if norm <= 1.0:
        return values, False
    inside = values / norm
    while math.hypot(*inside) > 1.0:
        inside = inside * (1.0 - 2.0**-52)
    return inside, True


@lru_cache(maxsize=8)
def _upper_triangle(dimension: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the entries of an upper triangle, row by row; a bootstrap asks for the same often."""
    rows, columns = np.triu_indices(dimension)
    rows.setflags(write=False)
    columns.setflags(write=False)
    return rows, columns


def svec(matrix: Vector) -> Vector:
    """Return a symmetric matrix as a vector of the same Euclidean norm, shape (d(d+1)/2,).

    The upper triangle, row by row, off-diagonal entries times the root of 2.

    Args:
        matrix: shape (d, d), symmetric; only the upper triangle is read.
    """
    dimension = matrix.shape[0]
    rows, columns = _upper_triangle(dimension)
    values = np.asarray(matrix, dtype=np.float64)[rows, columns]
    return np.where(rows == columns, values, values * _ROOT_2)


def unsvec(vector: Vector, dimension: int) -> Vector:
    """Return the symmetric matrix of an `svec`, shape (d, d).

    Raises:
        StatisticError: the vector has not d(d+1)/2 entries.
    """
    size = dimension * (dimension + 1) // 2
    if vector.shape != (size,):
        raise StatisticError(f"expected {size} entries for dimension {dimension}, found shape {vector.shape}")
    rows, columns = _upper_triangle(dimension)
    values = np.where(rows == columns, vector, vector / _ROOT_2)
    matrix = np.zeros((dimension, dimension))
    matrix[rows, columns] = values
    matrix[columns, rows] = values
    return matrix


def feature_moments(vector: Vector) -> Vector:
    """Return [x, svec(x x^T)], shape (d + d(d+1)/2,), of a vector of the unit ball; L2 norm at most sqrt(2).

    Raises:
        StatisticError: the vector lies outside the unit ball; `clip_to_ball` comes first.
    """
    norm = math.hypot(*vector)
    if not norm <= 1.0:
        raise StatisticError(f"expected a feature vector clipped to norm 1, found norm {norm}")
    return np.concatenate([vector, svec(np.outer(vector, vector))])


def second_moment(vector: Vector) -> Vector:
    """Return svec(x x^T), shape (d(d+1)/2,), of a vector of the unit ball; L2 norm |x|^2, at most 1.

    Raises:
        StatisticError: the vector lies outside the unit ball; `clip_to_ball` comes first.
    """
    return feature_moments(vector)[vector.size :]


def direction(vector: Vector) -> Vector:
    """Return x / |x|, shape (d,), float64.

    Raises:
        StatisticError: the vector is not finite, or has no direction.
    """
    values = np.asarray(vector, dtype=np.float64)
    norm = math.hypot(*values)
    if not (math.isfinite(norm) and norm > 0):
        raise StatisticError(
            f"expected a feature vector with a direction, found norm {norm}; the clip must count as failed"
        )
    return clip_to_ball(values / norm)[0]


def posterior(probabilities: Vector) -> tuple[Vector, Vector]:
    """Return a classifier's probabilities, (K,), and their negative entropy over log K, (1,), in [-1, 0].

    The probabilities are divided by their sum; both have an L2 norm of at most 1.

    Args:
        probabilities: shape (K,), K >= 2, not negative, of sum 1 but for rounding.

    Raises:
        StatisticError: they are no probabilities.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all() or (values < 0).any():
        raise StatisticError(
            f"expected probabilities of classes, found shape {values.shape}; the clip must count as failed"
        )
    total = math.fsum(values)
    if abs(total - 1.0) > _PROBABILITY_SLACK:
        raise StatisticError(f"expected probabilities of sum 1, found {total}; the clip must count as failed")
    chances = clip_to_ball(values / total)[0]
    positive = chances[chances > 0]
    return chances, np.array([min(max(math.fsum(positive * np.log(positive)) / math.log(values.size), -1.0), 0.0)])


def one_hot(place: int, size: int) -> Vector:
    """Return the vector of `size` zeros with a 1 at `place`."""
    chosen = np.zeros(size)
    chosen[place] = 1.0
    return chosen


def random_fourier_frequencies(manifest: str, dimension: int, features: int, bandwidth: float) -> Vector:
    """Return the frequencies of `mmd-rff`, shape (features / 2, dimension), float64: normals of deviation 1 / bandwidth.

    They follow from the extractor's weights and the number of features alone, so every session that uses the same
    extractor measures with the same kernel approximation.

    Args:
        manifest: digest of the extractor's weights, "sha256:…".
        dimension: length of a feature vector.
        features: m, even.
        bandwidth: of the Gaussian kernel exp(-|x - y|^2 / (2 bandwidth^2)), in feature units.

    Source: Rahimi & Recht 2007, algorithm 1; protos/README.md §7.2.
    """
    if features < 2 or features % 2 or dimension < 1 or not bandwidth > 0:
        raise ValueError(f"no random features for m={features}, dimension={dimension}, bandwidth={bandwidth}")
    seed = labelled_hash(
        labels.HASH_RFF, digest_bytes(manifest), dimension.to_bytes(8, "little"), features.to_bytes(8, "little")
    )
    return standard_normals(seed, features // 2 * dimension).reshape(features // 2, dimension) / bandwidth


def random_fourier_features(vector: Vector, frequencies: Vector) -> Vector:
    """Return sqrt(2/m) [cos(Wx), sin(Wx)], shape (m,), whose L2 norm is 1 whatever x is.

    Raises:
        StatisticError: x is not finite or has another length than the frequencies.
    """
    if vector.shape != frequencies.shape[1:] or not np.isfinite(vector).all():
        raise StatisticError(f"expected a finite feature vector of shape {frequencies.shape[1:]}, found {vector.shape}")
    phases = frequencies @ np.asarray(vector, dtype=np.float64)
    if not np.isfinite(phases).all():
        raise StatisticError("expected finite phases of random features; the clip must count as failed")
    return np.concatenate([np.cos(phases), np.sin(phases)]) / math.sqrt(frequencies.shape[0])


def _check_rescaled(rescaled: float) -> None:
    if not 0.0 <= rescaled <= 1.0:
        raise StatisticError(f"expected a score rescaled to [0, 1], found {rescaled}")
