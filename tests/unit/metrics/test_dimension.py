"""How many axes to keep: fewer under more noise, never more than public features have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.dimension import DIMENSIONS, EDGE_SHARE, planned_noise, recommended_dimension

FALLING = (np.arange(1, 401) ** -1.2).tolist()
Z_AT_4 = 1.2679


def test_the_studys_cells_get_the_axes_that_it_found_best() -> None:
    """At epsilon 4 with five private models, for the study's spectrum: 500, 2,000 and 10,000 clips."""
    found = [recommended_dimension(FALLING, planned_noise(count, Z_AT_4, 5)) for count in (500, 2000, 10000)]
    assert found == [64, 128, 128]


def test_without_noise_all_are_kept_and_under_much_noise_the_fewest() -> None:
    assert recommended_dimension(FALLING, 0.0) == 128
    assert recommended_dimension(FALLING, 1.0) == 16


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_edge_is_where_the_last_axis_is_that_share_of_the_noises_largest_eigenvalue(dimension: int) -> None:
    last = FALLING[dimension - 1] / sum(FALLING[:dimension])
    edge = last / (EDGE_SHARE * 2 * math.sqrt(dimension))
    assert recommended_dimension(FALLING, edge * 0.999) >= dimension
    assert recommended_dimension(FALLING, edge * 1.001) < dimension or dimension == 16


def test_axes_without_variance_are_not_kept() -> None:
    assert recommended_dimension(FALLING[:40] + [0.0] * 100, 0.0) == 32
    assert recommended_dimension(FALLING[:40], 0.0) == 32


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=16, max_size=140),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_more_noise_never_asks_for_more_axes_and_units_do_not_matter(
    values: list[float], less: float, more: float
) -> None:
    falling = sorted(values, reverse=True)
    low, high = sorted((less, more))
    assert recommended_dimension(falling, low) >= recommended_dimension(falling, high)
    chosen = recommended_dimension(falling, low)
    assert chosen in DIMENSIONS
    assert chosen <= len(falling)
    assert recommended_dimension([value * 2.0**10 for value in falling], low) == chosen


def test_noise_is_that_of_one_release_for_all_private_sides() -> None:
    """A record's share on each of K + 1 sides has norm sqrt 2, and an entry off the diagonal is a lane over sqrt 2."""
    assert planned_noise(2000, 1.2, 5) == pytest.approx(1.2 * math.sqrt(2 * 6) / 2000 / math.sqrt(2))
    assert planned_noise(2000, 1.2) == pytest.approx(1.2 / 2000)


@pytest.mark.parametrize(
    ("values", "noise", "words"),
    [
        (FALLING[:15], 0.0, "at least 16"),
        ([math.nan, *FALLING[1:]], 0.0, "finite"),
        ([*FALLING[:20], -1.0], 0.0, "not negative"),
        (FALLING[::-1], 0.0, "rise"),
        ([0.0] * 20, 0.0, "above 0"),
        (FALLING, -1.0, "noise"),
        (FALLING, math.inf, "noise"),
    ],
)
def test_nonsense_is_refused(values: list[float], noise: float, words: str) -> None:
    with pytest.raises(StatisticError, match=words):
        recommended_dimension(values, noise)


def test_a_plan_without_records_is_refused() -> None:
    for records, models in ((0, 0), (10, -1)):
        with pytest.raises(StatisticError, match="records"):
            planned_noise(records, 1.0, models)
