"""Correlation of a metric with people: Pearson's on the pooled scores, bounded shares, intervals that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.correlation import (
    CorrelationSums,
    correlation_family,
    correlation_problem,
    correlation_share,
    of_models,
)
from vdb_shared.metrics.multiplicity import told_apart


def pairs(generator: np.random.Generator, count: int, truth: float) -> NDArray[np.float64]:
    """Normal pairs of a correlation, well inside [-1, 1]; shape (count, 2)."""
    x, y = generator.normal(size=(2, count))
    return np.clip(0.2 * np.stack([x, truth * x + math.sqrt(1 - truth**2) * y], axis=1) + [0.3, -0.2], -1, 1)


def sums_of(scores: NDArray[np.float64], deviation: float = 0.0) -> CorrelationSums:
    """One score of each person, all of one model."""
    shares = [
        correlation_share(scores[place : place + 1], np.zeros(1, dtype=np.int64), 1) for place in range(len(scores))
    ]
    return CorrelationSums(np.sum(shares, axis=0), deviation)


@pytest.mark.parametrize("truth", [-0.8, 0.0, 0.5, 0.99])
def test_it_is_numpys_on_the_pooled_scores(truth: float) -> None:
    scores = pairs(np.random.default_rng(1), 200, truth)
    assert sums_of(scores).value == pytest.approx(float(np.asarray(np.corrcoef(scores.T))[0, 1]), abs=1e-12)


def test_every_person_weighs_one_however_many_clips_they_scored() -> None:
    """Oracle: numpy's covariance with weights, of two models apart."""
    generator = np.random.default_rng(2)
    total, rows, weights, places = np.zeros(12), [], [], []
    for _ in range(40):
        clips = int(generator.integers(1, 9))
        scores, mine = pairs(generator, clips, 0.6), generator.integers(0, 2, size=clips)
        total += correlation_share(scores, mine, 2)
        rows.append(scores)
        weights.append(np.full(clips, 1 / clips))
        places.append(mine)
    found = of_models(total, ["alpha", "beta"], 0.0)
    assert found["alpha"].people + found["beta"].people == pytest.approx(40)
    for place, name in enumerate(("alpha", "beta")):
        chosen = np.concatenate(places) == place
        covariance = np.cov(np.concatenate(rows)[chosen].T, aweights=np.concatenate(weights)[chosen], ddof=0)
        wanted = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
        assert found[name].value == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 2)), min_size=1, max_size=40))
def test_one_raters_share_is_bounded(found: list[tuple[float, float, int]]) -> None:
    scores = np.array([item[:2] for item in found])
    share = correlation_share(scores, np.array([item[2] for item in found]), 3)
    assert share.shape == (18,)
    assert math.fsum(share**2) <= 6 * (1 + 1e-12)


@pytest.mark.parametrize("scores", [np.zeros((0, 2)), np.full((1, 2), np.nan), np.array([[0.0, 1.1]])])
def test_what_are_no_scores_is_refused(scores: NDArray[np.float64]) -> None:
    with pytest.raises(StatisticError, match="scores"):
        correlation_share(scores, np.zeros(len(scores), dtype=np.int64), 1)


def test_what_cannot_be_told_is_withheld_with_the_reason() -> None:
    generator = np.random.default_rng(3)
    scores = pairs(generator, 300, 0.5)
    assert correlation_problem(sums_of(scores), "alpha") is None
    few = correlation_problem(sums_of(scores[:4]), "alpha")
    assert few == "clips of alpha: the scores of 4 people, at least 5 are needed"
    flat = scores * [1, 0]
    assert correlation_problem(sums_of(flat), "alpha") == "clips of alpha: people's scores hardly differ"
    assert correlation_problem(sums_of(scores * [0, 1]), "alpha") == "clips of alpha: the metric's scores hardly differ"
    assert correlation_problem(CorrelationSums(sums_of(scores).moments, 40.0), "alpha") == (
        "clips of alpha: the scores of about 300 people with noise of deviation 40; at least 400 are needed, "
        "or a larger epsilon"
    )
    drowned = correlation_problem(CorrelationSums(sums_of(scores).moments, 8.0), "alpha")
    assert drowned == "clips of alpha: the metric's scores hardly differ, as far as noise lets see"


def test_intervals_hold_the_truth_with_and_without_noise() -> None:
    generator = np.random.default_rng(4)
    for count, level in ((40, 0.0), (2000, 6.0)):
        held = runs = 0
        for _ in range(200):
            scores = pairs(generator, count, 0.5)
            x, y = scores.T
            moments = np.array([np.full(count, 1.0), x, y, x * x, y * y, x * y]).sum(axis=1)
            sums = CorrelationSums(moments + level * generator.normal(size=6), level)
            if correlation_problem(sums, "alpha") is None:
                runs += 1
                found = correlation_family({"alpha": sums}).estimates["alpha"]
                held += found.low <= 0.5 <= found.high
                assert -1 <= found.low <= found.value <= found.high <= 1
        assert runs >= 190
        assert held / runs >= 0.92


def test_the_noise_in_means_is_taken_off_variances() -> None:
    """Squares of noised means are too large by the noise's variance; left there, variances would come out too small."""
    generator = np.random.default_rng(5)
    exact = sums_of(pairs(generator, 500, 0.5))
    level = 60.0
    found = [CorrelationSums(exact.moments + level * generator.normal(size=6), level).covariances for _ in range(4000)]
    excess = (level / 500) ** 2
    for mean, deviation, wanted in zip(np.mean(found, axis=0), np.std(found, axis=0), exact.covariances, strict=True):
        assert mean == pytest.approx(wanted, abs=3 * deviation / math.sqrt(len(found)) + 0.2 * excess)


def test_no_models_are_told_apart_however_far() -> None:
    """Pairs that are not normal can have a far larger deviation than Fisher's, which second moments do not show."""
    generator = np.random.default_rng(6)
    close, far = sums_of(pairs(generator, 400, 0.9)), sums_of(pairs(generator, 400, 0.1))
    family = correlation_family({"alpha": close, "beta": far})
    comparison = family.comparisons["alpha", "beta"]
    assert comparison.difference == pytest.approx(math.atanh(close.value) - math.atanh(far.value))
    assert not told_apart(family.comparisons, len(family.comparisons))
