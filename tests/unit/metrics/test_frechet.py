"""The Fréchet finish agrees with other people's code, is the pooled value without noise, and copes with noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.features import clip_to_ball, feature_moments, svec
from vdb_shared.metrics.frechet import Moments, MomentSums, fit, frechet_distance, moments_of
from vdb_shared.metrics.frechet_intervals import frechet_family
from vdb_shared.metrics.shrinkage import shrink
from vdb_shared.metrics.uncertainty import wishart_factors

Matrix = NDArray[np.float64]


def fitted(points: Matrix) -> Moments:
    return Moments(points.mean(axis=0), np.cov(points, rowvar=False, ddof=0).reshape(points.shape[1], -1))


def cloud(seed: int, count: int, dimension: int) -> Matrix:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(dimension, dimension)) / dimension
    return np.asarray(
        generator.standard_t(8, size=(count, dimension)) @ mixing + 0.1 * generator.normal(size=dimension)
    )


def sums_of(points: Matrix) -> MomentSums:
    return MomentSums(np.sum([feature_moments(clip_to_ball(point)[0]) for point in points], axis=0), float(len(points)))


def by_matrix_root(a: Moments, b: Moments) -> float:
    gap = a.mean - b.mean
    root = np.real(sqrtm(a.covariance @ b.covariance))
    return float(gap @ gap + np.trace(a.covariance + b.covariance - 2 * root))


def by_torchmetrics(a: Moments, b: Moments) -> float:
    values = (torch.from_numpy(part) for part in (a.mean, a.covariance, b.mean, b.covariance))
    return float(_compute_fid(*values))


@pytest.mark.parametrize("dimension", [1, 3, 16, 64])
def test_agrees_with_scipy_and_torchmetrics(dimension: int) -> None:
    a, b = fitted(cloud(1, 600, dimension)), fitted(cloud(2, 500, dimension))
    found = frechet_distance(a, b)
    assert found == pytest.approx(by_matrix_root(a, b), rel=1e-8)
    assert found == pytest.approx(by_torchmetrics(a, b), rel=1e-8)


def from_clips(a: Matrix, b: Matrix) -> float:
    """The distance without any covariance: tr (C_a C_b)^(1/2) is the sum of the singular values of A B^T / sqrt(n_a n_b)."""
    gap = a.mean(axis=0) - b.mean(axis=0)
    first, second = ((points - points.mean(axis=0)) / np.sqrt(len(points)) for points in (a, b))
    common = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(gap @ gap + np.sum(first**2) + np.sum(second**2) - 2 * common)


@pytest.mark.parametrize(("first", "second", "dimension"), [(40, 40, 64), (40, 500, 64), (500, 40, 64), (2, 3, 5)])
def test_is_exact_for_rank_deficient_covariances(first: int, second: int, dimension: int) -> None:
    """With fewer clips than dimensions eigenvalues vanish; the others' roots of rounding are off by some 1e-8."""
    a, b = cloud(1, first, dimension), cloud(2, second, dimension)
    found = frechet_distance(fitted(a), fitted(b))
    assert found == pytest.approx(from_clips(a, b), rel=1e-11)
    assert found == pytest.approx(by_torchmetrics(fitted(a), fitted(b)), rel=1e-6)


def test_with_sample_covariances_it_is_numpys() -> None:
    a, b = (points / np.linalg.norm(points, axis=1).max() for points in (cloud(3, 50, 6), cloud(4, 40, 6)))
    found = fit(replace(sums_of(a), ddof=1), {"m": replace(sums_of(b), ddof=1)}).distances["m"]
    wanted = frechet_distance(*(Moments(points.mean(axis=0), np.cov(points, rowvar=False)) for points in (a, b)))
    assert found == pytest.approx(wanted, rel=1e-9)
    assert found != pytest.approx(fit(sums_of(a), {"m": sums_of(b)}).distances["m"], rel=1e-3)


def test_intervals_with_sample_covariances_are_wider_by_their_factor() -> None:
    """Draws are normalised as the estimate is: with equal means both scale by n / (n - 1)."""
    centred = (points - points.mean(axis=0) for points in (cloud(3, 30, 4), cloud(4, 30, 4)))
    a, b = (points / np.linalg.norm(points, axis=1).max() for points in centred)
    plain = frechet_family(sums_of(a), {"m": sums_of(b)}, name="f").estimates["m"]
    sample = frechet_family(replace(sums_of(a), ddof=1), {"m": replace(sums_of(b), ddof=1)}, name="f").estimates["m"]
    assert sample.value == pytest.approx(plain.value * 30 / 29, rel=1e-9)
    assert plain.low <= plain.value <= sample.value <= sample.high
    assert sample.high > plain.high


def test_has_closed_form_for_commuting_covariances_also_singular_ones() -> None:
    a = Moments(np.array([1.0, 0.0, 0.0]), np.diag([4.0, 1.0, 0.0]))
    b = Moments(np.array([0.0, 2.0, 0.0]), np.diag([1.0, 0.0, 9.0]))
    assert frechet_distance(a, b) == pytest.approx(5.0 + 1.0 + 1.0 + 9.0, rel=1e-12)


def test_is_symmetric_and_zero_on_itself() -> None:
    a, b = fitted(cloud(1, 40, 16)), fitted(cloud(2, 50, 16))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert 0 <= frechet_distance(a, a) < 1e-9


def test_refuses_asymmetry_and_unequal_dimensions() -> None:
    good = Moments(np.zeros(2), np.eye(2))
    with pytest.raises(StatisticError, match="symmetric"):
        frechet_distance(good, Moments(np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]])))
    with pytest.raises(StatisticError, match="dimension"):
        frechet_distance(good, Moments(np.zeros(3), np.eye(3)))
    with pytest.raises(StatisticError, match="lanes"):
        moments_of(MomentSums(np.zeros(6), 10.0))


def test_without_noise_nothing_is_shrunk_or_corrected() -> None:
    points, others = cloud(3, 200, 8) / 4, cloud(4, 150, 8) / 4
    clipped = [np.array([clip_to_ball(point)[0] for point in group]) for group in (points, others)]
    pooled = frechet_distance(fitted(clipped[0]), fitted(clipped[1]))
    found = fit(sums_of(points), {"m": sums_of(others)})
    assert found.distances["m"] == pytest.approx(pooled, rel=1e-9)
    assert found.reference.covariance.tobytes() == moments_of(sums_of(points)).covariance.tobytes()
    assert found.models["m"].covariance.tobytes() == moments_of(sums_of(others)).covariance.tobytes()
    assert found.reference.hidden == found.models["m"].hidden == 0.0


def test_the_reported_value_is_the_fitted_one() -> None:
    reference, model = sums_of(cloud(3, 200, 8) / 4), sums_of(cloud(4, 150, 8) / 4)
    family = frechet_family(reference, {"m": model}, name="t", replicates=2)
    assert family.estimates["m"].value == fit(reference, {"m": model}).distances["m"]


def test_shrinking_by_nearly_nothing_changes_nearly_nothing_and_by_much_gives_the_anchor() -> None:
    covariance, anchor = fitted(cloud(1, 100, 6)).covariance, np.eye(6) * 0.3
    np.testing.assert_allclose(shrink(covariance, anchor, 1e-9).covariance, covariance, atol=1e-12)
    np.testing.assert_allclose(shrink(covariance, anchor, 1e3).covariance, anchor, atol=1e-12)


def test_shrinkage_moves_single_eigenvalues_as_its_formula_says() -> None:
    anchor = np.eye(2)
    found = shrink(anchor + np.diag([0.5, 0.1]), anchor, tau=0.1).covariance
    np.testing.assert_allclose(np.diag(found) - 1, [np.sqrt(0.25 - 4 * 2 * 0.01), 0.0], atol=1e-12)


def test_the_result_of_shrinkage_is_positive_semidefinite() -> None:
    covariance = np.diag([1.0, -0.5, 0.1])
    assert np.linalg.eigvalsh(shrink(covariance, np.eye(3) * 0.2, 0.01).covariance)[0] >= -1e-12


def test_the_hidden_error_is_bounded() -> None:
    """Over 200 draws the bound holds in at least 93 %, and is not idle: within 6 times the error on average."""
    generator = np.random.default_rng(2)
    truth = np.diag(0.2 * np.arange(1.0, 13.0) ** -1.2)
    anchor = truth + np.diag(0.02 * generator.normal(size=12))
    held, ratios = 0, []
    for _ in range(200):
        square = generator.normal(size=(12, 12)) * 0.004
        found = shrink(truth + (square + square.T) / np.sqrt(2), anchor, 0.004)
        error = float(np.linalg.norm(found.covariance - truth))
        held += error <= found.hidden
        ratios.append(found.hidden / error)
    assert held >= 186
    assert np.mean(ratios) < 6


def test_a_noised_model_is_shrunk_towards_the_reference() -> None:
    reference = sums_of(cloud(3, 200, 8) / 4)
    model = MomentSums(sums_of(cloud(4, 150, 8) / 4).sums, 150.0, deviation=7.5)
    found = fit(reference, {"m": model})
    np.testing.assert_allclose(found.models["m"].covariance, found.reference.covariance, atol=1e-9)


def noised(side: MomentSums, deviation: float, generator: np.random.Generator) -> MomentSums:
    noise = generator.normal(size=side.sums.size) * deviation
    return MomentSums(side.sums + noise, side.count + generator.normal() * deviation, deviation, deviation)


def spectrum_sums(generator: np.random.Generator, shift: float) -> MomentSums:
    points = generator.normal(size=(1500, 16)) @ np.diag(0.2 * np.arange(1, 17) ** -0.8) + shift
    return sums_of(points)


def test_denoising_brings_the_distance_nearer_to_the_truth_than_cutting_eigenvalues() -> None:
    generator = np.random.default_rng(9)
    reference, model = spectrum_sums(generator, 0.0), spectrum_sums(generator, 0.03)
    truth = frechet_distance(moments_of(reference), moments_of(model))
    denoised, naive = [], []
    for _ in range(20):
        drawn = noised(reference, 4.0, generator)
        denoised.append(fit(drawn, {"m": model}).distances["m"] - truth)
        raw = moments_of(drawn)
        values, vectors = np.linalg.eigh(raw.covariance)
        positive = (vectors * np.maximum(values, 0)) @ vectors.T
        naive.append(frechet_distance(Moments(raw.mean, (positive + positive.T) / 2), moments_of(model)) - truth)
    assert np.sqrt(np.mean(np.square(denoised))) < 0.3 * np.sqrt(np.mean(np.square(naive)))


def test_the_bias_of_noised_means_is_taken_off() -> None:
    """Noise on the mean alone: the distance of equal Gaussians, moved apart by 0.2, is 0.04 on average."""
    generator = np.random.default_rng(1)
    covariance = np.eye(4) * 0.04
    mean = np.array([0.2, 0, 0, 0])
    model = MomentSums(1000 * np.concatenate([mean, svec(covariance + np.outer(mean, mean))]), 1000.0)
    found = []
    for _ in range(300):
        gap = generator.normal(size=4) * 20
        sums = 1000 * np.concatenate([gap / 1000, svec(covariance)])
        found.append(fit(MomentSums(sums, 1000.0, 20.0), {"m": model}).distances["m"])
    assert abs(np.mean(found) - 0.04) < 4 * np.std(found) / np.sqrt(300) + 1e-4


def test_what_a_noised_mean_takes_from_the_covariance_is_put_back() -> None:
    """Noise on the mean alone; four eigenvalues of 0.04 against an anchor of 0 shrink to sqrt(0.04^2 - 16 tau^2) each."""
    generator = np.random.default_rng(1)
    model = MomentSums(np.zeros(14), 1000.0)
    wanted = 4 * np.sqrt(0.04**2 - 16 * 0.005**2 / 2)
    traces = []
    for _ in range(300):
        sums = np.concatenate([generator.normal(size=4) * 5.0, svec(np.eye(4) * 40)])
        traces.append(float(np.trace(fit(MomentSums(sums, 1000.0, 5.0), {"m": model}).reference.covariance)))
    assert abs(np.mean(traces) - wanted) < 4 * np.std(traces) / np.sqrt(300)


def test_wishart_draws_have_the_right_mean_and_rank() -> None:
    draws = wishart_factors([bytes([number]) for number in range(250)], 3, 7)
    mean = np.mean([draw @ draw.T for draw in draws], axis=0)
    np.testing.assert_allclose(mean, 7 * np.eye(3), atol=1.0)
    few = wishart_factors([b"few"], 5, 2)[0]
    assert np.linalg.matrix_rank(few @ few.T) == 2


def test_draws_are_the_same_for_everybody() -> None:
    reference, model = sums_of(cloud(3, 50, 3) / 4), sums_of(cloud(4, 50, 3) / 4)
    first, second = (frechet_family(reference, {"m": model}, name="t") for _ in range(2))
    assert first == second
    assert first.estimates != frechet_family(reference, {"m": model}, name="u").estimates
