"""Intervals cover, ranks are sets, and both are the same for everybody."""

from __future__ import annotations

import numpy as np
import pytest

from vdb_shared.metrics.features import svec
from vdb_shared.metrics.frechet import Moments, MomentSums, frechet_distance
from vdb_shared.metrics.frechet_intervals import frechet_family
from vdb_shared.metrics.multiplicity import rank_sets, told_apart
from vdb_shared.metrics.uncertainty import Comparison, pivot_interval

SEEDS = 300
SEEDS_WITH_NOISE = 120


def draw_sums(generator: np.random.Generator, mean: float, count: int, deviation: float) -> tuple[MomentSums, Moments]:
    """Sums of a 3-dimensional Gaussian sample, noised, and the sample's own moments."""
    points = generator.normal(size=(count, 3)) * np.array([0.2, 0.1, 0.05]) + mean
    second = points.T @ points
    sums = np.concatenate([points.sum(axis=0), svec(second)])
    exact = Moments(points.mean(axis=0), np.cov(points, rowvar=False, ddof=0))
    noised = sums + generator.normal(size=sums.size) * deviation
    return MomentSums(noised, count + generator.normal() * deviation, deviation, deviation), exact


@pytest.mark.parametrize(
    ("shift", "deviation", "private_models", "most"),
    [
        (0.1, 0.0, False, 0.985),
        (0.0, 0.0, False, 1.0),
        (0.1, 1.2, False, 1.0),
        (0.0, 1.2, False, 1.0),
        (0.1, 1.2, True, 1.0),
    ],
)
def test_coverage_of_frechet_intervals(shift: float, deviation: float, private_models: bool, most: float) -> None:
    """The average over seeds of the noise-free distance is the truth that 95 % of the intervals must hold.

    300 seeds: 3 standard errors are 3.8 %. Where distances are near 0, or shrinkage may hide something, intervals are
    cautious, so fewer seeds do; a plain one must not be.
    """
    seeds = SEEDS_WITH_NOISE if deviation else SEEDS
    generator = np.random.default_rng(17)
    intervals, exact = [], []
    for _ in range(seeds):
        reference, own = draw_sums(generator, 0.0, 300, deviation)
        model, other = draw_sums(generator, shift, 200, deviation if private_models else 0.0)
        exact.append(frechet_distance(own, other))
        intervals.append(frechet_family(reference, {"m": model}, name="coverage", replicates=40).estimates["m"])
    truth = float(np.mean(exact))
    covered = sum(interval.low <= truth <= interval.high for interval in intervals)
    assert 0.92 <= covered / seeds <= most


@pytest.mark.parametrize("deviation", [0.0, 4.0])
def test_the_bootstrap_shows_the_spread_of_differences(deviation: float) -> None:
    """Models that differ in covariance alone, so that both the Wishart draws and the noise matter for the spread."""
    generator = np.random.default_rng(8)
    models = {}
    for name, stretch in (("a", 1.2), ("b", 3.0)):
        covariance = np.diag([0.04, 0.01, 0.0025]) * stretch
        models[name] = MomentSums(1e6 * np.concatenate([np.zeros(3), svec(covariance)]), 1e6)
    differences, stated = [], []
    for _ in range(80):
        reference, _ = draw_sums(generator, 0.0, 2000, deviation)
        comparison = frechet_family(reference, models, name="spread", replicates=40).comparisons["a", "b"]
        differences.append(comparison.difference)
        stated.append(comparison.deviation)
    assert 0.7 <= np.mean(stated) / np.std(differences) <= 1.6


def test_equal_models_are_rarely_told_apart_although_they_share_a_noisy_reference() -> None:
    generator = np.random.default_rng(3)
    apart = 0
    for _ in range(100):
        reference, _ = draw_sums(generator, 0.0, 300, 1.2)
        models = {name: draw_sums(generator, 0.1, 200, 0.0)[0] for name in ("a", "b")}
        apart += bool(told_apart(frechet_family(reference, models, name="pairs", replicates=40).comparisons, 1))
    assert apart <= 12


def test_models_with_other_numbers_of_clips_are_compared_as_if_with_as_many() -> None:
    """Few clips raise a distance: 15 against 200 of the same population would be apart in a tenth of the runs."""
    generator, false = np.random.default_rng(5), 0
    for _ in range(120):
        reference, _ = draw_sums(generator, 0.0, 300, 0.0)
        models = {name: draw_sums(generator, 0.05, count, 0.0)[0] for name, count in (("few", 15), ("many", 200))}
        found = frechet_family(reference, models, name="uneven", replicates=40).comparisons["few", "many"]
        assert found.degrees < 14
        assert found.allowance > 0
        false += found.chance <= 0.025
    assert false <= 8


def test_different_models_are_told_apart_by_their_shared_reference() -> None:
    generator = np.random.default_rng(4)
    reference, _ = draw_sums(generator, 0.0, 300, 1.2)
    models = {name: draw_sums(generator, shift, 300, 0.0)[0] for name, shift in (("near", 0.02), ("far", 0.3))}
    family = frechet_family(reference, models, name="pairs")
    assert rank_sets(family, told_apart(family.comparisons, len(family.comparisons)), higher_is_better=False) == {
        "near": (1, 1),
        "far": (2, 2),
    }


def test_a_systematic_error_widens_and_stands_between_models() -> None:
    errors = np.array([-0.1, 0.0, 0.1])
    plain, wide = (pivot_interval(1.0, errors, floor=0.0, allowance=allowance) for allowance in (0.0, 0.25))
    assert (plain.low - wide.low, wide.high - plain.high) == pytest.approx((0.25, 0.25))
    assert Comparison(3.0, 1.0).apart(1.96)
    assert not Comparison(3.0, 1.0, allowance=1.5).apart(1.96)


def test_a_pivot_interval_takes_out_bias_and_holds_the_value() -> None:
    found = pivot_interval(1.0, np.array([0.4, 0.5, 0.6]), floor=0.0)
    assert found.value == 1.0 == found.high
    assert found.low == pytest.approx(0.5 - 4.3026527 * 0.1)
    assert pivot_interval(0.1, np.array([-1.0, 1.0]), floor=0.0).low == 0.0
