"""Differences between two results: those that are none are not seen, those that are real are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from testkit.twins import ONE, OTHER, as_published, score_spec, scored_session
from vdb_shared.audit.compare import Comparison, compare
from vdb_shared.audit.significance import FEWEST, Figure, Lead, lead, more_than_chance
from vdb_shared.metrics.uncertainty import TAIL, quantile, wilson_interval


def at(value: float, half: float = 0.1, count: float = 10_000, reference: float = math.inf) -> Figure:
    return Figure(value, value - half, value + half, count, reference)


def decided(*leads: Lead, planned: int | None = None) -> set[int]:
    return set(more_than_chance(dict(enumerate(leads)), planned or len(leads)))


def test_one_pair_alone_is_decided_where_its_95_percent_interval_ends() -> None:
    reach = math.hypot(0.1, 0.1)
    assert decided(lead(at(0.5), at(0.5 + reach * 1.001), finish="mean", independent=True)) == {0}
    assert not decided(lead(at(0.5), at(0.5 + reach * 0.999), finish="mean", independent=True))


def test_with_something_in_common_intervals_must_be_apart_and_more() -> None:
    touching = lead(at(0.5), at(0.7), finish="mean", independent=False)
    assert touching.chance == pytest.approx(0.05, rel=1e-3)
    assert not decided(touching)
    assert decided(lead(at(0.5), at(0.74), finish="mean", independent=False)) == {0}


@given(st.floats(0, 1), st.floats(0.01, 0.3), st.floats(0.01, 0.3), st.integers(FEWEST, 500))
def test_common_institutions_never_make_a_difference_likelier_to_count(
    gap: float, half: float, other: float, count: int
) -> None:
    figures = at(0.0, half, count), at(gap, other, count)
    assert (
        lead(*figures, finish="mean", independent=False).chance
        >= lead(*figures, finish="mean", independent=True).chance
    )


def test_noise_is_in_the_length_of_an_interval_too() -> None:
    exact, noised = at(0.7), Figure(0.7, 0.6, 0.8, 10_000, noised=True)
    assert decided(lead(at(0.5), exact, finish="mean", independent=True)) == {0}
    for pair in ((at(0.5), noised), (noised, at(0.5))):
        assert lead(*pair, finish="mean", independent=True).twice
        assert not decided(lead(*pair, finish="mean", independent=True))


@given(st.floats(0.01, 2), st.integers(FEWEST, 200))
def test_direction_and_order_do_not_matter(gap: float, count: int) -> None:
    there = lead(at(0.0, 0.1, count), at(gap, 0.2, count), finish="mean", independent=True)
    back = lead(at(gap, 0.2, count), at(0.0, 0.1, count), finish="mean", independent=True)
    assert there.difference == -back.difference == gap
    assert there.chance == back.chance


def test_the_side_that_faces_the_other_figure_counts() -> None:
    near = Figure(0.9, 0.5, 0.91, 100)
    assert not decided(lead(at(0.6), near, finish="mean", independent=True))
    assert decided(lead(Figure(0.9, 0.89, 1.3, 100), at(0.6), finish="mean", independent=True)) == {0}


def test_few_clips_need_a_longer_lead() -> None:
    """At the stricter level that many comparisons ask for, an interval of five clips stretches more than one of many."""
    gap = 0.3
    few = lead(at(0, count=FEWEST), at(gap, count=FEWEST), finish="mean", independent=True)
    many = lead(at(0), at(gap), finish="mean", independent=True)
    assert few.chance > 4 * many.chance
    with pytest.raises(ValueError, match="too few"):
        lead(at(0, count=FEWEST - 1), at(gap), finish="mean", independent=True)
    with pytest.raises(ValueError, match="too few"):
        lead(at(0), at(gap, reference=4), finish="kernel", independent=True)


def test_distances_of_other_numbers_of_clips_are_given_room() -> None:
    """Half as many clips can double the part of a distance that is owed to their number."""
    longer, shorter = at(2.0, 0.1, 100, 1000), at(1.2, 0.1, 200, 1000)
    assert lead(longer, shorter, finish="frechet", independent=True).ahead == 0.0
    same = at(1.2, 0.1, 100, 1000)
    assert decided(lead(longer, same, finish="frechet", independent=True)) == {0}
    assert decided(lead(longer, shorter, finish="kernel", independent=True)) == {0}


def test_room_covers_what_the_number_of_clips_does_to_a_frechet_distance() -> None:
    """Equal populations, so that all of a distance is owed to the number of clips; also with fewer clips than dimensions."""
    generator = np.random.default_rng(1)
    lengths = {n: float(np.mean([null_distance(n, generator) for _ in range(40)])) for n in (8, 16, 32, 64, 128)}
    for few, many in ((8, 16), (16, 32), (32, 64), (8, 64), (64, 128)):
        assert lengths[few] - lengths[many] <= 1.05 * (1 - few / many) * lengths[few]


def null_distance(count: int, generator: np.random.Generator, dimension: int = 24) -> float:
    first, second = generator.normal(size=(2, count, dimension))
    shift = first.mean(0) - second.mean(0)
    one, two = (np.cov(side.T, bias=True) for side in (first, second))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(one @ two).real, 0))
    return float(shift @ shift + np.trace(one) + np.trace(two) - 2 * roots.sum())


def test_what_is_withheld_does_not_change_the_level() -> None:
    """One clear and one unclear pair; a spec that asked for 200 pairs, most of which were withheld, decides more strictly."""
    pair = lead(at(0.5), at(0.66), finish="mean", independent=True)
    assert decided(pair) == {0}
    assert not decided(pair, planned=200)
    with pytest.raises(ValueError, match="planned"):
        more_than_chance({0: pair, 1: pair}, 1)


def test_steps_end_at_the_first_that_may_be_chance() -> None:
    clear, unclear = (lead(at(0.5), at(0.5 + gap), finish="mean", independent=True) for gap in (0.9, 0.15))
    assert decided(unclear, clear, unclear) == {1}


def test_equal_figures_are_not_apart_however_narrow() -> None:
    assert not decided(lead(at(0.5, 0.0), at(0.5, 0.0), finish="mean", independent=True))


@pytest.mark.parametrize("counts", [(5, 5), (8, 30), (20, 20), (20, 100)])
def test_shares_of_few_clips_are_seldom_apart_by_chance_counted_exactly(counts: tuple[int, int]) -> None:
    """Every outcome of two binomial draws of one rate: false statements stay near 5 %, at stricter levels well below."""
    figures = [[share(hits, count) for hits in range(count + 1)] for count in counts]
    chances = np.array([[lead(a, b, finish="rate", independent=True).chance for b in figures[1]] for a in figures[0]])
    for rate in (0.01, 0.03, 0.1, 0.3, 0.5, 0.9):
        one, two = (binom.pmf(range(count + 1), count, rate) for count in counts)
        for level, slack in ((0.05, 1.25), (0.005, 1.0), (0.001, 1.0)):
            assert np.outer(one, two)[chances <= level / 2].sum() <= slack * level


def share(hits: int, count: int) -> Figure:
    """A rate as §7.3 publishes it."""
    found = wilson_interval(hits / count, 1 / count, 0.0, quantile(math.inf, TAIL))
    return Figure(found.value, found.low, found.high, count)


def twins(seed: int, *, same_institutions: bool) -> Comparison:
    """Two sessions over one population: other clips, other records."""
    generator = np.random.default_rng(seed)
    clips = {"public": int(generator.integers(6, 60)), "private": int(generator.integers(100, 400))}
    specs = score_spec(0), score_spec(1)
    sites = (ONE, ONE if same_institutions else OTHER)
    first, second = (
        as_published(f"{seed}/{place}", spec, scored_session(spec, clips, generator), names)
        for place, (spec, names) in enumerate(zip(specs, sites, strict=True))
    )
    return compare(first, second)


@pytest.mark.parametrize("same_institutions", [False, True])
def test_sessions_over_one_population_seldom_differ_in_anything(same_institutions: bool) -> None:
    pairs = 120
    found = [twins(seed, same_institutions=same_institutions) for seed in range(pairs)]
    assert all(item.independent is not same_institutions for item in found)
    assert sum(len(item.compared) for item in found) >= 9 * pairs
    assert sum(bool(item.apart) for item in found) <= 0.05 * pairs


def test_a_real_difference_is_found_and_only_there() -> None:
    generator = np.random.default_rng(5)
    clips = {"public": 200, "private": 900}
    specs = score_spec(0), score_spec(1)
    first = as_published("a", specs[0], scored_session(specs[0], clips, generator), ONE)
    better = scored_session(specs[1], clips, generator, means={"beta": 0.75})
    found = compare(first, as_published("b", specs[1], better, OTHER))
    assert {item.model for item in found.apart} == {"beta"}
    assert len(found.apart) >= 3
    assert {item.better for item in found.apart} == {"second"}
