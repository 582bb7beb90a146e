"""The Inception score from two sums is its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.features import posterior
from vdb_shared.metrics.inception import PosteriorSums, inception_family

Points = NDArray[np.float64]


def sums_of(chances: Points) -> PosteriorSums:
    shares = [posterior(row) for row in chances]
    total = np.sum([share[0] for share in shares], axis=0)
    return PosteriorSums(total, math.fsum(float(share[1][0]) for share in shares), float(len(chances)))


def score(chances: Points) -> float:
    return inception_family({"m": sums_of(chances)}).estimates["m"].value


def drawn(seed: int, count: int, classes: int = 12, sharpness: float = 0.2) -> Points:
    return np.random.default_rng(seed).dirichlet(np.full(classes, sharpness), size=count)


def test_equals_the_definition() -> None:
    chances = np.clip(drawn(0, 60), 1e-9, None)
    chances /= chances.sum(axis=1, keepdims=True)
    marginal = chances.mean(axis=0)
    divergences = np.sum(chances * (np.log(chances) - np.log(marginal)), axis=1)
    assert score(chances) == pytest.approx(math.exp(np.mean(divergences)), rel=1e-12)


def test_is_one_where_all_clips_are_alike_and_the_number_of_classes_where_each_is_sure() -> None:
    assert score(np.full((9, 5), 0.2)) == pytest.approx(1.0, abs=1e-12)
    assert score(np.repeat(np.eye(5), 4, axis=0)) == pytest.approx(5.0)


def test_intervals_hold_the_score_of_many_clips() -> None:
    truth = score(drawn(0, 20_000))
    held = 0
    for seed in range(1, 151):
        found = inception_family({"m": sums_of(drawn(seed, 400))}).estimates["m"]
        held += found.low <= truth <= found.high
    assert held >= 140


@pytest.mark.parametrize(("classes", "count"), [(400, 500), (100, 60), (12, 40)])
def test_intervals_reach_what_few_clips_hide(classes: int, count: int) -> None:
    """With fewer clips than classes the score itself is far too low; its interval must say so."""
    truth = score(drawn(0, 40_000, classes, 0.05))
    held = 0
    for seed in range(1, 101):
        found = inception_family({"m": sums_of(drawn(seed, count, classes, 0.05))}).estimates["m"]
        held += found.low <= truth <= found.high
    assert held >= 95


def test_equal_models_with_other_numbers_of_clips_are_not_told_apart() -> None:
    apart = 0
    for seed in range(60):
        few, many = sums_of(drawn(seed, 50, 100, 0.05)), sums_of(drawn(seed + 500, 1000, 100, 0.05))
        apart += inception_family({"few": few, "many": many}).comparisons["few", "many"].apart(1.96)
    assert apart <= 3


def test_sums_that_nobody_vouches_for_are_no_crash() -> None:
    for posterior_sum in (np.zeros(5), np.full(5, -3.0)):
        found = inception_family({"m": PosteriorSums(posterior_sum, 0.0, 900.0)}).estimates["m"]
        assert 1.0 <= found.low <= found.value <= found.high <= 5.0 + 1e-9


@pytest.mark.parametrize(
    "chances",
    [np.array([0.5, np.nan]), np.array([1.2, -0.2]), np.array([0.5, 0.4]), np.array([1.0]), np.full((2, 2), 0.25)],
)
def test_what_is_no_probability_makes_the_clip_a_failed_one(chances: Points) -> None:
    with pytest.raises(StatisticError, match="must count as failed"):
        posterior(chances)


@pytest.mark.parametrize("classes", [2, 3, 400])
def test_shares_stay_in_their_bounds(classes: int) -> None:
    for row in (np.eye(classes)[0], np.full(classes, 1 / classes), np.float32(np.full(classes, 1 / classes))):
        chances, negentropy = posterior(np.asarray(row, dtype=np.float64))
        assert math.fsum(chances**2) <= 1.0
        assert -1.0 <= float(negentropy[0]) <= 0.0
