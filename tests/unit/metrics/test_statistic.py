"""Layouts are ordered and bounded; tallies add exactly."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.statistic import Block, Layout, Tally, pooled

LAYOUT = Layout(
    (
        Block("reference/clips/count", 1, 1, private=True),
        Block("reference/clips/x/moments", 5, 2, private=True, weight=Decimal("0.5")),
        Block("public/alpha/x/moments", 5, 2, private=False),
    )
)


def test_lanes_lie_in_the_order_of_the_blocks() -> None:
    assert LAYOUT.lanes == 11
    assert LAYOUT.private_lanes == 6
    assert LAYOUT.slice_of("reference/clips/x/moments") == slice(1, 6)
    assert LAYOUT.slice_of("public/alpha/x/moments") == slice(6, 11)


def test_the_clipping_norm_sums_weighted_private_bounds() -> None:
    assert LAYOUT.clip_norm_squared() == Decimal("1.5")


def test_the_digest_names_order_bounds_and_weights() -> None:
    other = Layout((LAYOUT.blocks[1], LAYOUT.blocks[0], LAYOUT.blocks[2]))
    heavier = Layout((Block("reference/clips/count", 1, 1, private=True, weight=Decimal(2)), *LAYOUT.blocks[1:]))
    assert len({LAYOUT.digest, other.digest, heavier.digest}) == 3


def test_a_layout_refuses_repeated_names_and_empty_blocks() -> None:
    with pytest.raises(ValueError, match="same name"):
        Layout((LAYOUT.blocks[0], LAYOUT.blocks[0]))
    with pytest.raises(ValueError, match="positive"):
        Block("x", 0, 1, private=True)


@given(st.integers(0, 2**32 - 1), st.permutations(range(30)), st.integers(1, 29))
def test_sums_do_not_depend_on_order_or_grouping(seed: int, order: list[int], cut: int) -> None:
    records = np.random.default_rng(seed).normal(size=(30, 5))
    records /= np.linalg.norm(records, axis=1, keepdims=True)
    name = "reference/clips/x/moments"
    whole, first, second = (Tally(LAYOUT, capacity=100) for _ in range(3))
    for record in records:
        whole.add(name, record)
    for place, index in enumerate(order):
        (first if place < cut else second).add(name, records[index])
    together = pooled(LAYOUT, (first.sums(), second.sums()))
    assert together[name].tobytes() == whole.sums()[name].tobytes()


def test_cutting_to_the_grid_moves_a_lane_by_less_than_its_unit_and_never_outward() -> None:
    tally = Tally(LAYOUT, capacity=1000)
    record = np.array([0.1, -0.2, 0.3, -0.4, math.sqrt(0.5)])
    tally.add("public/alpha/x/moments", record)
    found = tally.sums()["public/alpha/x/moments"]
    assert np.all(np.abs(found) <= np.abs(record))
    assert np.max(np.abs(found - record)) < 2.0**-37  # 1000 2^37 fits 47 bits, 1000 2^38 does not
    assert np.all(found * 2.0**37 == np.rint(found * 2.0**37))


@pytest.mark.parametrize(
    ("contribution", "problem"),
    [
        (np.array([1.0, 1.0, 1.0, 0.0, 0.0]), "squared norm"),
        (np.array([1.0]), "5 finite lanes"),
        (np.array([math.nan, 0, 0, 0, 0]), "5 finite lanes"),
    ],
)
def test_a_contribution_beyond_its_bound_or_shape_is_refused(contribution: NDArray[np.float64], problem: str) -> None:
    with pytest.raises(StatisticError, match=problem):
        Tally(LAYOUT, capacity=10).add("reference/clips/x/moments", contribution)


def test_a_clip_of_several_gets_its_part_of_the_bound() -> None:
    layout = Layout((Block("private/alpha/count", 2, 9, private=True, clips=3),))
    tally = Tally(layout, capacity=10)
    tally.add("private/alpha/count", np.array([1.0, 0.0]))
    with pytest.raises(StatisticError, match="squared norm"):
        tally.add("private/alpha/count", np.array([2.0, 0.0]))


def test_rounding_beyond_the_bound_is_scaled_away() -> None:
    tally = Tally(LAYOUT, capacity=1)
    tally.add("reference/clips/count", np.array([1.0 + 1e-12]))
    assert tally.sums()["reference/clips/count"][0] <= 1.0


def test_a_tally_refuses_more_contributions_than_it_was_made_for() -> None:
    tally = Tally(LAYOUT, capacity=2)
    for _ in range(2):
        tally.add("reference/clips/count", np.ones(1))
    with pytest.raises(StatisticError, match="more than the 2"):
        tally.add("reference/clips/count", np.ones(1))
    with pytest.raises(StatisticError, match="16777216"):
        Tally(LAYOUT, capacity=2**24 + 1)


def test_statistics_that_do_not_fit_are_refused() -> None:
    good = Tally(LAYOUT, capacity=1).sums()
    LAYOUT.check(good)
    for bad in (
        {name: values for name, values in good.items() if name != "reference/clips/count"},
        good | {"unknown": np.zeros(1)},
        good | {"reference/clips/count": np.zeros(2)},
        good | {"reference/clips/count": np.full(1, math.inf)},
    ):
        with pytest.raises(StatisticError):
            LAYOUT.check(bad)
