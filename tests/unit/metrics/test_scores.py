"""Means of scores: pooled value, range, errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vdb_shared.metrics.scores import RateSums, ScoreSums, rate_family, score_family


def sums_of(scores: list[float]) -> ScoreSums:
    values = np.array(scores)
    return ScoreSums(np.array([values.sum(), np.sum(values**2)]), float(values.size))


def test_intervals_of_narrow_scores_are_the_t_intervals_of_scipy() -> None:
    """Their variance hardly changes with the mean."""
    scores = list(0.4 + 0.002 * np.random.default_rng(5).normal(size=30))
    found = score_family({"m": sums_of(scores)}, low=-1, high=1).estimates["m"]
    wanted = stats.ttest_1samp([2 * score - 1 for score in scores], 0).confidence_interval(0.95)
    assert found.value == pytest.approx(2 * np.mean(scores) - 1, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-5)


def test_the_ends_of_an_interval_are_the_means_that_a_test_just_refuses() -> None:
    scores = [0.1, 0.4, 0.35, 0.8, 0.6]
    found = score_family({"m": sums_of(scores)}, low=0, high=1).estimates["m"]
    mean = float(np.mean(scores))
    part = float(np.var(scores)) / (mean * (1 - mean))
    for end in (found.low, found.high):
        deviation = np.sqrt(part * end * (1 - end) / 4)
        assert abs(mean - end) / deviation == pytest.approx(float(stats.t.ppf(0.975, 4)), rel=1e-9)


def test_intervals_of_rates_are_those_of_wilson() -> None:
    for events, count in ((0, 40), (3, 40), (200, 210)):
        found = rate_family({"m": RateSums(float(events), float(count))}).estimates["m"]
        wanted = stats.binomtest(events, count).proportion_ci(0.95, method="wilson")
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9, abs=1e-12)


def test_intervals_stay_in_the_range_of_the_score() -> None:
    found = score_family({"m": sums_of([0.0, 1.0])}, low=0, high=30).estimates["m"]
    assert 0 <= found.low < found.value == 15 < found.high <= 30


def test_scores_that_are_all_the_same_end_of_the_range_are_not_certain() -> None:
    found = score_family({"m": sums_of([1.0] * 30)}, low=0, high=1).estimates["m"]
    assert found.value == found.high == 1.0
    assert 0.8 < found.low < 0.9


def test_noise_can_not_push_a_value_out_of_its_range() -> None:
    found = score_family({"m": ScoreSums(np.array([25.0, 30.0]), 20.0, 2.0, 2.0)}, low=0, high=1).estimates["m"]
    assert found.value == 1.0
    assert found.low < 1.0 == found.high


def test_noise_widens_by_the_delta_method() -> None:
    quiet = ScoreSums(np.array([500.0, 260.0]), 1000.0)
    loud = ScoreSums(quiet.moments, quiet.count, deviation=10.0, count_deviation=10.0)
    assert loud.error**2 - quiet.error**2 == pytest.approx((10.0**2 + 5.0**2) / 1000**2)


def test_coverage_of_noised_means() -> None:
    """500 seeds: 95 % +- 3 standard errors of the count is 92 % to 98 %."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        scores = generator.beta(2, 5, size=400)
        noise = generator.normal(size=3) * 6.0
        sums = ScoreSums(np.array([scores.sum(), np.sum(scores**2)]) + noise[:2], 400 + noise[2], 6.0, 6.0)
        found = score_family({"m": sums}, low=0, high=1).estimates["m"]
        covered += found.low <= 2 / 7 <= found.high
    assert 460 <= covered <= 490


def test_models_are_compared_on_the_scale_of_the_metric() -> None:
    family = score_family({"a": sums_of([0.2, 0.3, 0.25]), "b": sums_of([0.8, 0.7, 0.75])}, low=0, high=100)
    comparison = family.comparisons["a", "b"]
    assert comparison.difference == pytest.approx(-50)
    assert comparison.apart(1.96)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.97, 1.0])
def test_intervals_of_rates_hold_the_true_share_also_near_the_ends(share: float) -> None:
    generator = np.random.default_rng(0)
    held = 0
    for events in generator.binomial(40, share, size=400):
        found = rate_family({"m": RateSums(float(events), 40.0)}).estimates["m"]
        held += found.low <= share <= found.high
        assert found.low <= found.value == events / 40 <= found.high
    assert held >= 372


def test_a_rate_of_all_clips_is_not_certain() -> None:
    found = rate_family({"m": RateSums(24.0, 24.0)}).estimates["m"]
    assert found.value == found.high == 1.0
    assert found.low < 0.9


def test_noised_rates_hold_the_truth_and_stay_in_range() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        events, count = generator.binomial(300, 0.05) + 8 * generator.normal(), 300 + 8 * generator.normal()
        found = rate_family({"m": RateSums(float(events), float(count), 8.0, 8.0)}).estimates["m"]
        held += found.low <= 0.05 <= found.high
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert held >= 372


def test_equal_rates_are_rarely_told_apart_and_different_ones_often() -> None:
    generator = np.random.default_rng(2)
    false = true = 0
    for _ in range(400):
        a, b, c = generator.binomial(60, 0.9), generator.binomial(60, 0.9), generator.binomial(60, 0.5)
        family = rate_family({"a": RateSums(a, 60.0), "b": RateSums(b, 60.0), "c": RateSums(c, 60.0)})
        false += family.comparisons["a", "b"].apart(1.96)
        true += family.comparisons["a", "c"].apart(1.96)
    assert false <= 32
    assert true >= 390


def test_what_the_grid_takes_from_a_variance_is_put_back() -> None:
    """Scores so far below the limit that their squares vanish on the grid: an error of 0 would be a lie."""
    unit, scores = 2.0**-20, np.random.default_rng(3).uniform(2e-4, 8e-4, size=400)
    cut = np.trunc(scores**2 / unit) * unit
    assert ScoreSums(np.array([scores.sum(), cut.sum()]), 400.0).error == 0.0
    found = ScoreSums(np.array([scores.sum(), cut.sum()]), 400.0, unit=unit).error
    assert found >= float(scores.std(ddof=1)) / 20
