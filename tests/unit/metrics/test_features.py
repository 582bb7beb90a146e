"""Contributions respect the bounds their blocks declare, and shared arithmetic is what its definition says."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from vdb_shared.errors import StatisticError
from vdb_shared.metrics import features

MANIFEST = "sha256:" + "a" * 64

vectors = st.integers(1, 12).flatmap(
    lambda size: arrays(np.float64, size, elements=st.floats(-1e6, 1e6, allow_nan=False))
)


@given(vectors)
def test_clipping_never_leaves_the_ball_and_keeps_the_direction(vector: NDArray[np.float64]) -> None:
    inside, clipped = features.clip_to_ball(vector)
    assert math.hypot(*inside) <= 1.0
    assert clipped == (math.hypot(*vector) > 1.0)
    if clipped:
        np.testing.assert_allclose(inside * math.hypot(*vector), vector, rtol=1e-12, atol=1e-12)
    else:
        assert inside.tobytes() == vector.tobytes()


@given(vectors)
def test_moments_of_a_clipped_vector_have_norm_at_most_root_two(vector: NDArray[np.float64]) -> None:
    inside, _ = features.clip_to_ball(vector)
    assert np.sum(features.feature_moments(inside) ** 2) <= 2.0 + 1e-12


@given(st.floats(0, 1))
def test_score_blocks_respect_their_bounds(score: float) -> None:
    assert np.sum(features.score_moments(score) ** 2) <= 2.0
    histogram = features.score_histogram(score)
    assert np.sum(histogram) == 1.0
    assert histogram[min(int(score * 32), 31)] == 1.0


@given(vectors, st.integers(1, 20))
def test_random_features_have_norm_one(vector: NDArray[np.float64], half: int) -> None:
    frequencies = features.random_fourier_frequencies(MANIFEST, vector.size, 2 * half, 0.7)
    assert np.sum(features.random_fourier_features(vector, frequencies) ** 2) == pytest.approx(1.0, abs=1e-12)


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_svec_keeps_norm_and_comes_back(dimension: int, seed: int) -> None:
    square = np.random.default_rng(seed).normal(size=(dimension, dimension))
    symmetric = square + square.T
    vector = features.svec(symmetric)
    assert np.sum(vector**2) == pytest.approx(np.sum(symmetric**2))
    np.testing.assert_allclose(features.unsvec(vector, dimension), symmetric, rtol=1e-14)


def test_svec_order_is_the_upper_triangle_by_rows() -> None:
    found = features.svec(np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]))
    np.testing.assert_allclose(found, [1, 2 * math.sqrt(2), 3 * math.sqrt(2), 4, 5 * math.sqrt(2), 6])


def test_random_features_approximate_the_gaussian_kernel() -> None:
    generator = np.random.default_rng(5)
    frequencies = features.random_fourier_frequencies(MANIFEST, 5, 16384, 1.5)
    for x, y in generator.normal(size=(20, 2, 5)):
        kernel = math.exp(-np.sum((x - y) ** 2) / (2 * 1.5**2))
        approximate = features.random_fourier_features(x, frequencies) @ features.random_fourier_features(
            y, frequencies
        )
        assert approximate == pytest.approx(kernel, abs=0.05)


def test_derived_normals_are_normal_and_fixed() -> None:
    normals = features.standard_normals(b"seed", 20_000)
    chances = [stats.kstest(features.standard_normals(bytes([seed]), 2000), "norm").pvalue for seed in range(100)]
    assert stats.kstest(chances, "uniform").pvalue > 0.001
    assert normals.tobytes() == features.standard_normals(b"seed", 20_000).tobytes()
    assert normals[0] != features.standard_normals(b"feed", 1)[0]


def test_uniforms_follow_the_written_definition() -> None:
    word = int.from_bytes(hashlib.shake_256(b"seed").digest(8), "little")
    assert features.uniforms(b"seed", 1)[0] == ((word >> 12) + 0.5) / 2**52


def test_frequencies_depend_on_weights_features_and_dimension_and_scale_with_bandwidth() -> None:
    base = features.random_fourier_frequencies(MANIFEST, 4, 8, 1.0)
    np.testing.assert_allclose(features.random_fourier_frequencies(MANIFEST, 4, 8, 2.0), base / 2)
    other = features.random_fourier_frequencies("sha256:" + "b" * 64, 4, 8, 1.0)
    assert not np.allclose(base, other)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(score: float) -> None:
    with pytest.raises(StatisticError, match="finite"):
        features.rescale(score, 0, 1)


def test_rescaling_clips_to_the_range() -> None:
    assert [features.rescale(score, -1, 1) for score in (-2, -1, 0, 0.5, 7)] == [0, 0, 0.5, 0.75, 1]


def test_features_outside_the_ball_or_not_finite_are_refused() -> None:
    with pytest.raises(StatisticError, match="norm"):
        features.feature_moments(np.array([0.9, 0.9]))
    with pytest.raises(StatisticError, match="failed"):
        features.clip_to_ball(np.array([0.0, math.nan]))
    with pytest.raises(StatisticError, match="shape"):
        features.random_fourier_features(np.zeros(3), np.zeros((4, 2)))
