"""Effective numbers of clips, from sums alone, are those of the matrix of all similarities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.diversity import SecondMomentSums, rke_family, vendi_family
from vdb_shared.metrics.features import direction, second_moment

Points = NDArray[np.float64]


def unit(points: Points) -> Points:
    return np.array([direction(point) for point in points])


def sums_of(points: Points) -> SecondMomentSums:
    return SecondMomentSums(np.sum([second_moment(point) for point in points], axis=0), float(len(points)))


def around_axes(seed: int, count: int, modes: int, dimension: int = 8, spread: float = 0.05) -> Points:
    generator = np.random.default_rng(seed)
    return unit(
        np.eye(dimension)[generator.integers(modes, size=count)] + spread * generator.normal(size=(count, dimension))
    )


def test_rke_is_one_over_the_mean_squared_similarity_of_all_pairs() -> None:
    points = unit(np.random.default_rng(0).normal(size=(40, 6)))
    found = rke_family({"m": sums_of(points)}).estimates["m"].value
    assert found == pytest.approx(1 / np.mean((points @ points.T) ** 2), rel=1e-12)


def test_vendi_is_the_entropy_of_the_matrix_of_all_similarities() -> None:
    points = unit(np.random.default_rng(1).normal(size=(40, 6)))
    values = np.linalg.eigvalsh(points @ points.T / len(points))
    values = values[values > 1e-12]
    found = vendi_family({"m": sums_of(points)}).estimates["m"].value
    assert found == pytest.approx(math.exp(-float(values @ np.log(values))), rel=1e-10)


@pytest.mark.parametrize("modes", [1, 2, 5])
def test_equal_clusters_count_as_so_many(modes: int) -> None:
    points = np.repeat(np.eye(8)[:modes], 6, axis=0)
    assert rke_family({"m": sums_of(points)}).estimates["m"].value == pytest.approx(modes)
    assert vendi_family({"m": sums_of(points)}).estimates["m"].value == pytest.approx(modes)


def test_intervals_hold_the_value_of_many_clips() -> None:
    truth = {
        "rke": rke_family({"m": sums_of(around_axes(0, 4000, 4))}).estimates["m"].value,
        "vendi": vendi_family({"m": sums_of(around_axes(0, 4000, 4))}).estimates["m"].value,
    }
    held = dict.fromkeys(truth, 0)
    for seed in range(1, 201):
        sums = {"m": sums_of(around_axes(seed, 120, 4))}
        for name, family in (("rke", rke_family(sums)), ("vendi", vendi_family(sums))):
            found = family.estimates["m"]
            held[name] += found.low <= truth[name] <= found.high
    assert min(held.values()) >= 180


def test_noise_does_not_move_rke_on_average_and_is_in_its_interval() -> None:
    quiet = sums_of(around_axes(3, 300, 4))
    truth = rke_family({"m": quiet}).estimates["m"].value
    generator = np.random.default_rng(4)
    values, held = [], 0
    for _ in range(200):
        noise = generator.normal(size=quiet.sums.size) * 4.0
        found = rke_family({"m": SecondMomentSums(quiet.sums + noise, quiet.count, 4.0)}).estimates["m"]
        values.append(found.value)
        held += found.low <= truth <= found.high
    assert np.mean(values) == pytest.approx(truth, rel=0.02)
    assert held >= 190
    uncorrected = float(np.sum((quiet.sums / quiet.count) ** 2)) + quiet.sums.size * (4.0 / quiet.count) ** 2
    assert abs(1 / uncorrected - truth) > 0.02


def test_more_modes_are_told_apart_from_fewer() -> None:
    family = rke_family({"few": sums_of(around_axes(5, 300, 2)), "many": sums_of(around_axes(6, 300, 6))})
    assert family.comparisons["few", "many"].apart(2.0)


def test_a_vector_without_direction_makes_the_clip_a_failed_one() -> None:
    for vector in (np.zeros(3), np.array([np.nan, 1.0]), np.array([np.inf, 1.0])):
        with pytest.raises(StatisticError, match="must count as failed"):
            direction(vector)


@pytest.mark.parametrize("count", [30, 200])
def test_intervals_reach_what_few_clips_hide_and_no_further_than_the_dimension(count: int) -> None:
    """Directions without any preference: the truth is the dimension, 64, and few clips cannot show so many."""
    for seed in range(20):
        points = unit(np.random.default_rng(seed).normal(size=(count, 64)))
        for family in (vendi_family({"m": sums_of(points)}), rke_family({"m": sums_of(points)})):
            found = family.estimates["m"]
            assert found.value <= found.high <= 64.0 + 1e-9
            assert found.high > 63.9


def test_equal_models_with_other_numbers_of_clips_are_not_told_apart() -> None:
    apart = 0
    for seed in range(40):
        few, many = (
            sums_of(unit(np.random.default_rng(seed + offset).normal(size=(count, 16))))
            for offset, count in ((0, 40), (500, 800))
        )
        for family in (vendi_family({"few": few, "many": many}), rke_family({"few": few, "many": many})):
            apart += family.comparisons["few", "many"].apart(1.96)
    assert apart <= 4
