"""The kernel finish is the U-statistic over all pairs, from sums alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vdb_shared.canonical import sha256_digest
from vdb_shared.metrics.covariance import CovarianceSums, covariance_share, covariance_sketch
from vdb_shared.metrics.features import random_fourier_features, random_fourier_frequencies
from vdb_shared.metrics.kernel import EmbeddingSums, kernel_family, squared_discrepancy

FREQUENCIES = random_fourier_frequencies("sha256:" + "a" * 64, 3, 256, 1.0)


def embed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    phases = points @ FREQUENCIES.T
    return np.asarray(np.hstack([np.cos(phases), np.sin(phases)]) / np.sqrt(len(FREQUENCIES)))


def test_the_shortcut_of_these_tests_is_the_shipped_feature_map() -> None:
    point = np.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(embed(point[None])[0], random_fourier_features(point, FREQUENCIES), rtol=1e-12)


def sums_of(points: NDArray[np.float64]) -> EmbeddingSums:
    return EmbeddingSums(embed(points).sum(axis=0), float(len(points)))


def over_pairs(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Gretton et al. 2012, eq. 3, by the definition."""
    a, b = embed(a), embed(b)

    def off_diagonal(points: NDArray[np.float64]) -> float:
        gram = points @ points.T
        return float((gram.sum() - np.trace(gram)) / (len(points) * (len(points) - 1)))

    return off_diagonal(a) + off_diagonal(b) - 2 * float((a @ b.T).mean())


def test_equals_the_sum_over_all_pairs() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(30, 3)), generator.normal(size=(20, 3)) + 0.4
    assert squared_discrepancy(sums_of(a), sums_of(b)) == pytest.approx(over_pairs(a, b), rel=1e-9)


def test_is_unbiased_under_equal_distributions_and_under_noise() -> None:
    generator = np.random.default_rng(1)
    found = []
    for _ in range(300):
        a, b = (sums_of(generator.normal(size=(20, 3))) for _ in range(2))
        drawn = EmbeddingSums(a.sums + generator.normal(size=256) * 0.5, a.count, deviation=0.5)
        found.append(squared_discrepancy(drawn, b))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(300)


def test_intervals_cover_and_equal_models_are_not_told_apart() -> None:
    """Without a sketch the sampling part is an upper bound, so coverage is above 95 %; it must not be below."""
    generator = np.random.default_rng(2)
    reference = generator.normal(size=(4000, 3))
    truth = squared_discrepancy(sums_of(reference), sums_of(reference + 0.8))
    covered, apart = 0, 0
    for _ in range(200):
        clips = sums_of(generator.normal(size=(60, 3)))
        drawn = EmbeddingSums(clips.sums + generator.normal(size=256) * 0.7, 60 + generator.normal() * 0.7, 0.7, 0.7)
        models = {name: sums_of(generator.normal(size=(60, 3)) + 0.8) for name in ("a", "b")}
        family = kernel_family(drawn, models)
        covered += family.estimates["a"].low <= truth <= family.estimates["a"].high
        apart += family.comparisons["a", "b"].apart(1.96)
    assert covered >= 186
    assert apart <= 20


def test_intervals_cover_large_samples_where_linear_terms_rule() -> None:
    generator = np.random.default_rng(6)
    points = generator.normal(size=(20_000, 3))
    truth = squared_discrepancy(sums_of(points), sums_of(points + 0.8))
    covered = 0
    for _ in range(60):
        clips, others = (sums_of(generator.normal(size=(1000, 3)) + shift) for shift in (0.0, 0.8))
        found = kernel_family(clips, {"m": others}).estimates["m"]
        covered += found.low <= truth <= found.high
    assert covered >= 55


def test_clearly_different_models_are_told_apart() -> None:
    generator = np.random.default_rng(3)
    reference = sums_of(generator.normal(size=(300, 3)))
    models = {name: sums_of(generator.normal(size=(300, 3)) + shift) for name, shift in (("near", 0.1), ("far", 1.5))}
    comparison = kernel_family(reference, models).comparisons["near", "far"]
    assert comparison.difference < 0
    assert comparison.apart(1.96)


def test_few_clips_that_hardly_vary_are_compared_with_the_spread_that_the_other_model_shows() -> None:
    """They may have missed what the other's many clips show: a tenth of equal models' clips may lie far away, say."""
    generator = np.random.default_rng(9)

    def model(count: int, spread: float) -> EmbeddingSums:
        return sums_of(spread * generator.normal(size=(count, 3)) + 1)

    reference, many = sums_of(0.2 * generator.normal(size=(400, 3))), model(200, 0.6)
    narrow, wide = (
        kernel_family(reference, {"few": model(15, spread), "many": many}).comparisons["few", "many"].deviation
        for spread in (0.02, 0.6)
    )
    assert narrow >= 0.7 * wide


def test_a_comparison_is_known_as_well_as_there_are_clips() -> None:
    """Student's t: few degrees of freedom where all varies along one direction and few clips show it, more with more clips."""
    generator = np.random.default_rng(10)

    def line(count: int, shift: float) -> EmbeddingSums:
        return sums_of(np.outer(shift + 0.3 * generator.normal(size=count), np.eye(3)[0]))

    found = {}
    for count in (4, 40):
        models = {name: line(count, 1.0) for name in ("a", "b")}
        found[count] = kernel_family(line(400, 0.0), models).comparisons["a", "b"].degrees
    assert 3 <= found[4] <= 12
    assert 39 <= found[40] <= 120


def sketched(points: NDArray[np.float64], session: int = 0) -> EmbeddingSums:
    """Sums with the covariance sketch of a session."""
    vectors, sketch = embed(points), covariance_sketch(sha256_digest(bytes([session])), "sha256:" + "a" * 64, 256)
    products = np.sum([covariance_share(vector, sketch) for vector in vectors], axis=0)
    return EmbeddingSums(vectors.sum(axis=0), float(len(points)), covariance=CovarianceSums(products, sketch))


def test_a_sketch_finds_the_variance_along_a_direction_and_the_product_of_two_covariances() -> None:
    """Averaged over 40 sessions' sketches, against the covariances themselves."""
    generator = np.random.default_rng(7)
    a, b = generator.normal(size=(150, 3)), generator.normal(size=(120, 3)) * 0.5 + 0.8
    first, second = (np.cov(embed(points), rowvar=False) for points in (a, b))
    step = embed(a).mean(axis=0) - embed(b).mean(axis=0)
    found, stated = [], []
    for session in range(40):
        one, other = sketched(a, session), sketched(b, session)
        (along, error), square, product = one.rate_along(one, other), one.square, one.product(other)
        found.append([along, square, product])
        stated.append(error)
    wanted = [step @ first @ step / (step @ step), np.sum(first * first), np.sum(first * second)]
    assert np.mean(found, axis=0) == pytest.approx(wanted, rel=0.1)
    assert 0.6 <= np.mean(stated) / np.std([along for along, _, _ in found]) <= 2.0


def test_shares_of_the_sketch_lie_in_the_unit_ball_and_are_hardly_ever_shortened() -> None:
    vectors = embed(np.random.default_rng(8).normal(size=(200, 3)) * 3)
    norms = []
    for session in range(5):
        sketch = covariance_sketch(sha256_digest(bytes([session])), "sha256:" + "a" * 64, 256)
        norms += [float(np.linalg.norm(covariance_share(vector, sketch))) for vector in vectors]
    assert max(norms) <= 1.0
    assert np.mean(np.array(norms) > 0.999) <= 0.02


def test_another_session_has_another_sketch() -> None:
    one, other = (covariance_sketch(sha256_digest(bytes([session])), "sha256:" + "a" * 64, 8) for session in (0, 1))
    assert (one.places != other.places).any()


def test_with_a_sketch_intervals_are_a_fraction_as_wide_as_with_the_trace() -> None:
    generator = np.random.default_rng(9)
    clips, others = (sketched(generator.normal(size=(400, 3)) + shift) for shift in (0.0, 0.8))
    narrow = kernel_family(clips, {"m": others}).estimates["m"]
    wide = kernel_family(replace(clips, covariance=None), {"m": replace(others, covariance=None)}).estimates["m"]
    assert narrow.value == wide.value
    assert (narrow.high - narrow.low) < 0.7 * (wide.high - wide.low)
