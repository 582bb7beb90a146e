"""Bradley-Terry strengths: the likelihood's own, bounded shares, honest intervals, and a reason where there are none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.multiplicity import rank_sets, told_apart
from vdb_shared.metrics.preference import PreferenceSums, preference_family, preference_problem, preference_share

NAMES = ("alpha", "beta", "gamma", "delta")
STRENGTHS = np.array([1.0, 0.3, -0.3, -1.0])


def sums_of(votes: NDArray[np.float64], deviation: float = 0.0) -> PreferenceSums:
    """The sums of one table of wins, as it stands."""
    return PreferenceSums(votes[~np.eye(len(votes), dtype=bool)], len(votes), deviation)


def people(generator: np.random.Generator, count: int, votes: int = 8, taste: float = 0.7) -> NDArray[np.float64]:
    """The shares of people with a taste of their own, who each compare random pairs; shape (count, 12)."""
    pairs = np.array(list(itertools.combinations(range(4), 2)))
    strengths = STRENGTHS + taste * generator.normal(size=(count, 4))
    shown = pairs[generator.integers(0, 6, size=(count, votes))]
    rows = np.arange(count)[:, None]
    chances = expit(strengths[rows, shown[..., 0]] - strengths[rows, shown[..., 1]])
    first = generator.uniform(size=(count, votes)) < chances
    wins = np.zeros((count, 4, 4))
    winner, loser = np.where(first, shown[..., 0], shown[..., 1]), np.where(first, shown[..., 1], shown[..., 0])
    np.add.at(wins, (rows, winner, loser), 1.0)
    return np.array([preference_share(one) for one in wins])


def hunter(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log strengths by the minorise-maximise algorithm of Hunter 2004, eq. 3."""
    worth = np.ones(len(wins))
    pairs = wins + wins.T
    for _ in range(20_000):
        worth = wins.sum(axis=1) / (pairs / (worth[:, None] + worth[None, :])).sum(axis=1)
        worth /= math.exp(np.log(worth).mean())
    return np.asarray(np.log(worth))


def by_minimiser(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    def negative(strengths: NDArray[np.float64]) -> float:
        return -float((wins * log_expit(strengths[:, None] - strengths[None, :])).sum())

    found = minimize(negative, np.zeros(len(wins)), tol=1e-14).x
    return np.asarray(found - found.mean())


@pytest.mark.parametrize("seed", range(5))
def test_strengths_are_those_of_two_other_algorithms(seed: int) -> None:
    wins = np.random.default_rng(seed).uniform(0, 9, size=(5, 5)) * (1 - np.eye(5))
    found = sums_of(wins).strengths
    assert found is not None
    assert found == pytest.approx(hunter(wins), abs=1e-9)
    assert found == pytest.approx(by_minimiser(wins), abs=1e-5)


def test_two_models_have_the_shares_of_their_votes() -> None:
    """80 votes of 100, a tie counted as half for each."""
    family = preference_family(sums_of(np.array([[0.0, 80.0], [20.0, 0.0]])), ("alpha", "beta"))
    assert family.estimates["alpha"].value == pytest.approx(0.8, abs=1e-12)
    assert family.estimates["beta"].value == pytest.approx(0.2, abs=1e-12)
    deviation = math.sqrt(1 / 80 + 1 / 20)  # of a log odds
    assert family.comparisons["alpha", "beta"].deviation == pytest.approx(deviation, rel=1e-9)


def test_a_strong_win_over_few_and_a_weak_one_over_many_are_told_by_the_model() -> None:
    """Nobody compared alpha with gamma; beta links them."""
    wins = np.array([[0.0, 30, 0], [10, 0, 30], [0, 10, 0]])
    found = sums_of(wins).strengths
    assert found is not None
    assert found == pytest.approx(np.array([math.log(3), 0, -math.log(3)]), abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 1e6)).filter(lambda item: item[0] != item[1]),
        min_size=1,
    )
)
def test_one_raters_share_has_weight_one_and_at_most_length_one(votes: list[tuple[int, int, float]]) -> None:
    wins = np.zeros((4, 4))
    for winner, loser, count in votes:
        wins[winner, loser] += count
    if not wins.any():
        return
    share = preference_share(wins)
    assert share.shape == (12,)
    assert math.fsum(share) == pytest.approx(1)
    assert math.fsum(share**2) <= 1 + 1e-12


@pytest.mark.parametrize(
    "wins",
    [
        np.zeros((3, 3)),
        np.eye(3),
        np.full((3, 3), np.nan),
        -np.ones((3, 3)),
        np.ones((2, 3)),
        np.full((2, 2), np.inf),
        np.ones(4),
    ],
)
def test_what_are_no_votes_is_refused(wins: NDArray[np.float64]) -> None:
    with pytest.raises(StatisticError, match="vote"):
        preference_share(wins)


@pytest.mark.parametrize(
    ("wins", "words"),
    [
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], "0 people voted, at least 2 are needed"),
        ([[0, 5, 5], [0, 0, 5], [0, 5, 0]], "no vote prefers beta or gamma to alpha,"),
        ([[0, 5, 0], [5, 0, 0], [0, 0, 0]], "no vote prefers gamma to alpha or beta,"),
        ([[0, 5, 0], [0, 0, 5], [5, 0, 0]], None),
        ([[0, 5, 0], [5, 0, 1], [0, 1, 0]], None),
    ],
)
def test_strengths_that_do_not_exist_are_told_with_the_models(wins: list[list[int]], words: str | None) -> None:
    found = preference_problem(sums_of(np.array(wins, dtype=float)), NAMES[:3])
    assert found is None if words is None else found is not None and found.startswith(words)


def test_noise_that_drowns_votes_withholds_them() -> None:
    generator = np.random.default_rng(3)
    wins = people(generator, 60).sum(axis=0)
    level = 8.0
    noised = PreferenceSums(wins + generator.normal(size=12) * level, 4, level)
    problem = preference_problem(noised, NAMES)
    assert problem is not None
    assert problem.startswith("noise drowns the votes; more raters, fewer models")
    assert preference_problem(PreferenceSums(wins, 4, 0.01), NAMES) is None


def test_intervals_hold_the_truth_with_and_without_noise() -> None:
    """Whatever the votes of one person have in common, and in all models together with comparisons."""
    generator = np.random.default_rng(4)
    truth = preference_family(PreferenceSums(people(generator, 40_000).sum(axis=0), 4), NAMES).estimates
    for count, level in ((60, 0.0), (300, 0.0), (400, 5.0)):
        held = runs = 0
        for _ in range(80):
            wins = people(generator, count).sum(axis=0) + level * generator.normal(size=12)
            sums = PreferenceSums(wins, 4, level)
            if preference_problem(sums, NAMES) is None:
                family = preference_family(sums, NAMES)
                runs += 1
                held += sum(
                    family.estimates[name].low <= truth[name].value <= family.estimates[name].high for name in NAMES
                )
        assert runs >= 70
        assert held / (4 * runs) >= 0.93


def test_noise_does_not_move_the_mean_of_estimates() -> None:
    """Cut at 0, noised counts would pull every model toward one half."""
    generator = np.random.default_rng(5)
    strong = np.array([[0.0, 390, 396], [30, 0, 300], [0, 100, 0]])
    exact = preference_family(sums_of(strong), NAMES[:3]).estimates
    level, found = 12.0, []
    for _ in range(300):
        sums = sums_of(strong + level * generator.normal(size=(3, 3)), level)
        if preference_problem(sums, NAMES[:3]) is None:
            found.append(preference_family(sums, NAMES[:3]).estimates["alpha"].value)
    assert len(found) > 280
    assert np.mean(found) == pytest.approx(exact["alpha"].value, abs=4 * float(np.std(found)) / math.sqrt(len(found)))


def test_ranks_tell_models_apart_that_many_people_do() -> None:
    generator = np.random.default_rng(6)
    family = preference_family(PreferenceSums(people(generator, 2000).sum(axis=0), 4), NAMES)
    assert rank_sets(family, told_apart(family.comparisons, len(family.comparisons)), higher_is_better=True) == {
        "alpha": (1, 1),
        "beta": (2, 2),
        "gamma": (3, 3),
        "delta": (4, 4),
    }


def test_comparisons_are_known_as_well_as_there_are_people() -> None:
    family = preference_family(sums_of(np.array([[0.0, 8.0], [4.0, 0.0]])), NAMES[:2])
    assert family.comparisons["alpha", "beta"].degrees == pytest.approx(11)


def test_many_votes_of_few_people_do_not_narrow_the_interval() -> None:
    """Three people who click all night are three people."""
    wins = [np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 3.0], [1.0, 0.0]])]
    few, many = (
        preference_family(PreferenceSums(np.sum([preference_share(one * times) for one in wins], axis=0), 2), NAMES[:2])
        for times in (1, 10_000)
    )
    assert few == many
