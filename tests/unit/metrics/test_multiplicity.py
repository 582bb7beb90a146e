"""All comparisons of a session hold together, and ranks are sets that follow from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.multiplicity import Key, pairs_not_apart, planned_comparisons, rank_sets
from vdb_shared.metrics.multiplicity import told_apart as told_apart_of
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family


def told_apart(comparisons: Mapping[Key, Comparison]) -> frozenset[Key]:
    """Where all planned comparisons can be made."""
    return told_apart_of(comparisons, len(comparisons))


def family_of(*comparisons: tuple[str, str, float]) -> Family:
    models = dict.fromkeys(name for pair in comparisons for name in pair[:2])
    return Family(
        dict.fromkeys(models, Estimate(0, 0, 0)),
        {(first, second): Comparison(difference, 1.0) for first, second, difference in comparisons},
    )


def test_ranks_are_sets_that_overlap_where_pairs_are_not_apart() -> None:
    family = family_of(("a", "b", 0.5), ("a", "c", 9.0), ("b", "c", 9.0))
    apart = told_apart(family.comparisons)
    assert rank_sets(family, apart, higher_is_better=True) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    assert rank_sets(family, apart, higher_is_better=False) == {"a": (2, 3), "b": (2, 3), "c": (1, 1)}
    assert pairs_not_apart(family, apart) == (("a", "b"),)


@pytest.mark.parametrize(("pairs", "needed"), [(1, 1.959964), (10, 2.807034)])
def test_the_first_step_is_bonferronis(pairs: int, needed: float) -> None:
    for lead, apart in ((needed - 1e-5, 0), (needed + 1e-5, 1)):
        session = {place: Comparison(lead if place == 0 else 0.0, 1.0) for place in range(pairs)}
        assert len(told_apart(session)) == apart


def test_every_pair_told_apart_makes_the_next_one_easier() -> None:
    """Of 10 pairs 9 are beyond doubt, so the last chance has to be below 0.05 / 11 and not 0.05 / 20."""
    between = float(stats.norm.isf(0.05 / 15))
    clear = {place: Comparison(50.0, 1.0) for place in range(9)}
    assert 9 not in told_apart({9: Comparison(between, 1.0)} | {place: Comparison(0.0, 1.0) for place in range(9)})
    assert 9 in told_apart({9: Comparison(between, 1.0)} | clear)
    assert 9 not in told_apart({9: Comparison(float(stats.norm.isf(0.05 / 10.9)), 1.0)} | clear)


def test_more_metrics_need_more_distance() -> None:
    one = {("score", 0): Comparison(2.2, 1.0)}
    assert told_apart(one)
    assert not told_apart(one | {("other", place): Comparison(0.0, 1.0) for place in range(5)})


def test_few_degrees_of_freedom_and_systematic_errors_stand_between_models() -> None:
    assert told_apart({0: Comparison(2.2, 1.0)})
    assert not told_apart({0: Comparison(2.2, 1.0, degrees=4.0)})
    assert not told_apart({0: Comparison(2.2, 1.0, allowance=0.5)})


def test_what_has_no_error_is_apart_or_equal() -> None:
    assert told_apart({0: Comparison(0.1, 0.0), 1: Comparison(0.0, 0.0)}) == {0}


def test_what_is_withheld_counts_as_planned_and_makes_nothing_easier() -> None:
    """One pair of ten is left; it has to be as far apart as if the others were there."""
    assert planned_comparisons(metrics=1, models=5) == 10
    for lead, apart in ((2.807034 - 1e-5, 0), (2.807034 + 1e-5, 1)):
        assert len(told_apart_of({"left": Comparison(lead, 1.0)}, 10)) == apart
    assert told_apart({"left": Comparison(2.0, 1.0)})


def test_withholding_what_looks_equal_would_raise_the_level_but_for_the_plan() -> None:
    """1000 sessions of 20 equal pairs, of which the 15 nearest to 0 are withheld. By what is left it would be 15 %."""
    generator = np.random.default_rng(4)
    false = loose = 0
    for leads in generator.normal(size=(1000, 20)):
        left = {place: Comparison(leads[place], 1.0) for place in np.argsort(-np.abs(leads))[:5]}
        false += bool(told_apart_of(left, 20))
        loose += bool(told_apart(left))
    assert false <= 72
    assert loose >= 120


def test_more_comparisons_than_planned_are_refused() -> None:
    with pytest.raises(StatisticError, match="at most the 1 planned"):
        told_apart_of({0: Comparison(1.0, 1.0), 1: Comparison(1.0, 1.0)}, 1)


def test_among_equal_models_a_false_difference_is_rare_in_a_whole_session() -> None:
    """500 sessions of 5 models and 4 metrics: 5 % + 3 standard errors is 8 %. Decided metric by metric it would be 19 %."""
    generator = np.random.default_rng(0)
    false = 0
    for _ in range(500):
        values = generator.normal(size=(4, 5))
        session = {
            (metric, first, second): Comparison(values[metric, first] - values[metric, second], np.sqrt(2))
            for metric in range(4)
            for first in range(5)
            for second in range(first)
        }
        false += bool(told_apart(session))
    assert false <= 40


def test_the_steps_are_never_weaker_than_bonferroni_and_often_stronger() -> None:
    generator = np.random.default_rng(1)
    stronger = 0
    for _ in range(200):
        session = {
            place: Comparison(shift + generator.normal(), 1.0) for place, shift in enumerate(np.linspace(0, 6, 20))
        }
        apart = told_apart(session)
        single = {place for place, found in session.items() if found.chance <= 0.05 / 40}
        assert single <= apart
        stronger += len(apart) > len(single)
    assert stronger >= 20
