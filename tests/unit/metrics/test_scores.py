"""Means of scores: pooled value, range, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
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
    """Squares are cut to the grid, which takes up to a unit from their mean: an error without it would be a lie."""
    unit, scores = 2.0**-14, np.random.default_rng(3).uniform(0.2, 0.27, size=400)
    cut = np.trunc(scores**2 / unit) * unit
    found = [ScoreSums(np.array([scores.sum(), cut.sum()]), 400.0, unit=one).spread for one in (0.0, unit)]
    assert found[0] < float(scores.var()) <= found[1] <= float(scores.var()) + unit


@pytest.mark.parametrize("score", [0.0, 1e-4, 0.3, 1.0])
@pytest.mark.parametrize("unit", [0.0, 2.0**-20])
def test_scores_that_are_all_the_same_are_not_certain(score: float, unit: float) -> None:
    """One more clip might be at either end of the range; what the grid cuts off does not hide that they are all the same."""
    cut = np.trunc(np.array([score, score**2]) / unit) * unit if unit else np.array([score, score**2])
    sums = ScoreSums(20 * cut, 20.0, unit=unit)
    assert sums.spread == pytest.approx(cut[0] * (1 - cut[0]) / 20)
    found = score_family({"m": sums}, low=0, high=1).estimates["m"]
    assert found.high - found.low > 0 if unit == 0 or cut[0] > 0 else found.high > 0


def test_two_constant_samples_of_two_clips_tell_nothing() -> None:
    for first, second in ((0.0, 1.0), (0.3, 0.7), (0.0, 0.5)):
        family = score_family({"a": sums_of([first] * 2), "b": sums_of([second] * 2)}, low=0, high=1)
        assert family.comparisons["a", "b"].chance > 0.025


def test_a_deviation_grows_with_the_distance_from_the_nearer_end_and_no_further_than_that_of_shares() -> None:
    sums = sums_of([0.1, 0.2, 0.15, 0.11])
    mirrored = sums_of([0.9, 0.8, 0.85, 0.89])
    mean = sums.mean
    assert sums.sampling_at(mean) == sums.sampling_at(mean / 2) == pytest.approx(sums.sampling)
    assert sums.sampling_at(2 * mean) == pytest.approx(4 * sums.sampling)
    assert mirrored.sampling_at(1 - 2 * mean) == pytest.approx(4 * sums.sampling)
    shares = sums_of([0.0, 0.0, 0.0, 1.0])
    assert shares.sampling_at(0.5) == pytest.approx(0.25 / 3)
    assert sums_of([0.0] * 4).sampling_at(0.5) == pytest.approx(0.25 / 3)
    assert sums_of([0.0] * 4).sampling_at(1.0) == pytest.approx(0.25 / 3)
    assert sums_of([5e-320] * 4).sampling_at(1.0) == pytest.approx(0.25 / 3)


LONG = "lognormal, and cut at 1"
POPULATIONS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda draws, count: np.clip(0.31 + 0.02 * draws.normal(size=count), 0, 1),
    "binary": lambda draws, count: (draws.uniform(size=count) < 0.1).astype(np.float64),
    "uniform": lambda draws, count: draws.uniform(size=count),
    LONG: lambda draws, count: np.minimum(np.exp(-4 + 2 * draws.normal(size=count)), 1),
}


def false_share(name: str, few: int, many: int, spread: float | None = None) -> float:
    """How often 600 pairs of equal means are told apart at 5 %: of one population, or one of them around its mean."""
    draws, false = np.random.default_rng(7), 0
    mean = float(POPULATIONS[name](np.random.default_rng(8), 200_000).mean())
    for _ in range(600):
        a = POPULATIONS[name](draws, few)
        b = POPULATIONS[name](draws, many) if spread is None else mean * (1 + spread * draws.normal(size=many))
        family = score_family({"a": sums_of(list(a)), "b": sums_of(list(b))}, low=0, high=1)
        false += family.comparisons["a", "b"].chance <= 0.025
    return false / 600


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize(("few", "many"), [(8, 8), (8, 100), (15, 15), (15, 500), (50, 50)])
def test_equal_means_of_few_clips_are_rarely_told_apart(name: str, few: int, many: int) -> None:
    """6 % and three standard errors. Welch's test would tell apart 73 % of binary scores and 21 % of those with a long tail."""
    assert false_share(name, few, many) <= 0.089


@pytest.mark.parametrize("few", [8, 15, 50])
def test_a_long_tail_is_rarely_told_from_narrow_scores_of_the_same_mean(few: int) -> None:
    """Welch's test would tell apart 30 %, 23 % and 11 %: the tail is not in the sample, and neither is the spread."""
    assert false_share(LONG, few, few, spread=0.05) <= 0.089


def test_unequal_numbers_of_clips_do_not_make_small_chances_of_equal_rates_too_small() -> None:
    """At 0.0008, the first step of 60 pairs: with two clips added alone it is 76 of 10,000, and with one share alone 290."""
    draws = np.random.default_rng(9)
    for share, few, many in ((0.5, 8, 100), (0.01, 8, 100)):
        pairs = zip(draws.binomial(few, share, 10_000), draws.binomial(many, share, 10_000), strict=True)
        false = 0
        for first, second in pairs:
            family = rate_family({"a": RateSums(float(first), few), "b": RateSums(float(second), many)})
            false += family.comparisons["a", "b"].chance <= 0.0004
        assert false <= 20
