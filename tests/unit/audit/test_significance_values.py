"""Leads and chances digit by digit, against the formulas of protos/README.md §10.12 written down once more."""

from __future__ import annotations

import math

import pytest
from scipy.stats import t as student

from vdb_shared.audit.significance import DRAWS, FEWEST, Figure, Lead, lead, more_than_chance

MANY = 10_000


def chance(distance: float, degrees: float, sides: float) -> float:
    """Return the chance of a distance in units of the half length of a 95 % interval."""
    return min(sides * float(student.sf(distance * student.ppf(0.975, degrees), degrees)), 0.5)


def test_a_figures_sides_and_half_length() -> None:
    figure = Figure(0.5, 0.25, 1.25, 40.0)
    assert (figure.half, figure.least, figure.reference, figure.noised) == (0.5, 40.0, math.inf, False)
    assert Figure(0.5, 0.25, 1.25, 40.0, 30.0).least == 30.0


def test_exact_figures_of_others_add_in_squares_and_the_side_that_faces_the_other_counts() -> None:
    first, second = Figure(0.5, 0.1, 0.8, 21.0), Figure(2.0, 1.6, 3.0, 31.0)
    for found, difference in (
        (lead(first, second, finish="mean", independent=True), 1.5),
        (lead(second, first, finish="mean", independent=True), -1.5),
    ):
        assert (found.difference, found.ahead, found.degrees, found.twice) == (difference, 1.5, 20.0, False)
        assert found.reach == pytest.approx(math.hypot(0.4, 0.3))
        assert found.chance == pytest.approx(chance(1.5 / 0.5, 20, 1))


@pytest.mark.parametrize("finish", ["vendi", "rke", "inception", "coverage", "frechet", "mapped-frechet"])
def test_intervals_that_bound_other_errors_too_must_be_apart(finish: str) -> None:
    first, second = Figure(0.5, 0.1, 0.8, 30.0, 30.0), Figure(2.0, 1.6, 3.0, 30.0, 30.0)
    found = lead(first, second, finish=finish, independent=True)
    reach = max(0.7, 0.4) + max(0.35, 0.3)
    assert found.reach == pytest.approx(reach)
    assert found.ahead == pytest.approx(1.6 - 0.8 + reach)
    assert (found.twice, found.degrees) == (True, 29.0)
    assert found.chance == pytest.approx(chance(found.ahead / reach, 29, 2))


@pytest.mark.parametrize("finish", ["mean", "rate", "kernel", "sketch", "second-moment", "preference"])
def test_other_intervals_must_be_apart_only_where_errors_may_go_together(finish: str) -> None:
    first, second = Figure(0.5, 0.1, 0.8, 30.0), Figure(2.0, 1.6, 3.0, 30.0)
    assert not lead(first, second, finish=finish, independent=True).twice
    assert lead(first, second, finish=finish, independent=False).twice
    noised = Figure(0.5, 0.1, 0.8, 30.0, noised=True)
    assert lead(noised, second, finish=finish, independent=True).twice
    assert lead(second, noised, finish=finish, independent=True).twice


def test_the_longer_of_half_an_interval_and_the_side_that_faces_the_other_is_its_reach() -> None:
    lower, upper = Figure(0.0, -0.1, 0.5, 30.0), Figure(2.0, 1.0, 2.2, 30.0)
    assert lead(lower, upper, finish="mean", independent=False).reach == pytest.approx(1.0 + 0.5)
    lower, upper = Figure(0.0, -0.5, 0.1, 30.0), Figure(2.0, 1.9, 3.0, 30.0)
    assert lead(lower, upper, finish="mean", independent=False).reach == pytest.approx(0.55 + 0.3)


def test_a_bootstrap_knows_its_deviation_no_better_than_by_its_draws() -> None:
    for finish, degrees in (("frechet", DRAWS - 1), ("mapped-frechet", DRAWS - 1), ("vendi", MANY - 1)):
        pair = Figure(1.0, 0.9, 1.1, MANY, MANY), Figure(2.0, 1.9, 2.1, MANY, MANY)
        assert lead(*pair, finish=finish, independent=True).degrees == degrees
    few = Figure(1.0, 0.9, 1.1, 20.0, MANY)
    assert lead(few, Figure(2.0, 1.9, 2.1, MANY, 30.0), finish="frechet", independent=True).degrees == 19


def test_five_are_enough_and_fewer_on_any_side_are_not() -> None:
    enough, few = Figure(0.5, 0.4, 0.6, FEWEST, FEWEST), Figure(0.5, 0.4, 0.6, 4.9)
    assert lead(enough, enough, finish="mean", independent=True).degrees == 4
    for pair in ((few, enough), (enough, few)):
        with pytest.raises(ValueError, match=r"^4\.9 clips or people are too few to compare$"):
            lead(*pair, finish="mean", independent=True)


def ahead(first: Figure, second: Figure, finish: str = "second-moment") -> float:
    return lead(first, second, finish=finish, independent=True).ahead


def test_what_other_numbers_of_clips_explain_is_taken_off() -> None:
    """From n to m > n clips at most (1 - n/m) of the longer distance; of both, where either has more of one side."""
    first = Figure(5.0, 4.5, 6.0, 100.0, 1000.0)
    assert ahead(first, Figure(1.0, 0.5, 2.0, 100.0, 1000.0)) == 4.0
    assert ahead(first, Figure(1.0, 0.5, 2.0, 125.0, 1000.0)) == pytest.approx(4.0 - 0.2 * 6.0)
    assert ahead(first, Figure(1.0, 0.5, 2.0, 125.0, 2000.0)) == pytest.approx(4.0 - 0.5 * 6.0)
    assert ahead(first, Figure(1.0, 0.5, 2.0, 80.0, 1250.0)) == pytest.approx(4.0 - 0.2 * (6.0 + 2.0))
    assert ahead(first, Figure(1.0, 0.5, 2.0, 125.0, 800.0)) == pytest.approx(4.0 - 0.2 * (6.0 + 2.0))
    assert ahead(Figure(1.0, 0.5, 2.0, 125.0, 1000.0), first) == pytest.approx(4.0 - 0.2 * 6.0), "one side differs"
    assert ahead(first, Figure(1.0, 0.5, 2.0, 125.0, 1000.0), "kernel") == 4.0
    assert ahead(first, Figure(1.0, 0.5, 2.0, 10.0, 1000.0)) == 0.0, "not below 0"


def test_sides_without_clips_explain_nothing_and_neither_do_distances_below_zero() -> None:
    bare = Figure(5.0, 4.5, 6.0, 100.0)
    assert ahead(bare, Figure(1.0, 0.5, 2.0, 125.0)) == pytest.approx(4.0 - 0.2 * 6.0)
    assert ahead(bare, Figure(1.0, 0.5, 2.0, 100.0, 50.0)) == 4.0
    assert ahead(Figure(1.0, 0.5, 2.0, 100.0, 50.0), bare) == 4.0
    assert ahead(Figure(-5.0, -5.5, -4.5, 100.0), Figure(-1.0, -1.5, -0.5, 125.0)) == 4.0


def test_nothing_is_between_equal_figures_and_everything_between_exact_ones() -> None:
    assert Lead(0.0, 0.0, 0.0, 9.0, twice=False).chance == 0.5
    assert Lead(1.0, 1.0, 0.0, 9.0, twice=True).chance == 0.0
    assert Lead(0.1, 0.1, 1.0, 9.0, twice=True).chance == 0.5, "at most 1/2"
    assert Lead(1.0, 1.0, 1.0, 9.0, twice=False).chance == pytest.approx(0.025)
    assert Lead(1.0, 1.0, 1.0, 9.0, twice=True).chance == pytest.approx(0.05)


def with_chance(level: float) -> Lead:
    """Return a lead of this chance."""
    return Lead(1.0, float(student.isf(level, 9) / student.ppf(0.975, 9)), 1.0, 9.0, twice=False)


def test_holms_steps_go_over_both_directions_of_all_that_was_planned() -> None:
    """Of P pairs the i-th least chance is refused while it is at most 0.05 / (2P - i + 1)."""
    for planned, level in ((1, 0.025), (2, 0.0125), (10, 0.0025)):
        assert more_than_chance({"a": with_chance(level * 0.999)}, planned) == {"a"}
        assert not more_than_chance({"a": with_chance(level * 1.001)}, planned)
    pair = {"b": with_chance(0.05 / 3 * 0.999), "a": with_chance(0.05 / 4 * 0.999)}
    assert more_than_chance(pair, 2) == {"a", "b"}
    assert more_than_chance({"a": pair["b"], "b": pair["a"]}, 2) == {"a", "b"}, "whatever their names"
    assert more_than_chance({**pair, "b": with_chance(0.05 / 3 * 1.001)}, 2) == {"a"}
    assert not more_than_chance({**pair, "a": with_chance(0.05 / 4 * 1.001)}, 2)
    assert more_than_chance({}, 0) == frozenset()
    with pytest.raises(ValueError, match=r"^2 comparisons, of 1 that were planned$"):
        more_than_chance(pair, 1)
