"""What a plan predicts is what simulated sessions publish: lengths of intervals, grades, and pairs that are told apart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import pytest

from testkit.metric_specs import make_spec
from testkit.simulated import simulate
from vdb_shared.evaluation import Evaluation
from vdb_shared.planning.assumptions import NO_NOISE, Scenario, assume, scenario_of
from vdb_shared.planning.guess import Guess, Guesses, default_guesses, stretched
from vdb_shared.planning.plan import effort_of
from vdb_shared.planning.population import population_of
from vdb_shared.planning.prediction import forecast, half_width, noise_of_means
from vdb_shared.planning.resolution import resolutions_of
from vdb_shared.planning.whatif import need_of
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.spec import Spec

Widths = Mapping[tuple[str, str, str], float]

WITHIN = 1.20
"""Factor by which a predicted half-width may be off."""

SESSIONS = 30
INSTITUTIONS = 4

FRECHET = {"id": "frechet-videomae@1", "extractor": "tiny-videomae"}
KERNEL = {"id": "mmd-rff@1", "extractor": "tiny-videomae", "features": 32, "bandwidth": "1"}
COVERAGE = {"id": "coverage@1", "extractor": "tiny-videomae", "features": 4}
SCORE = {"id": "clip-score@1", "extractor": "tiny-clip"}
RATE = {"id": "dynamic-degree-dis@1"}


def spec_of(
    metrics: Sequence[tuple[Mapping[str, object], str]], *, records: int, epsilon: str, share: str, samples: int
) -> Spec:
    return make_spec(
        [{**metric, "inputs": side} for metric, side in metrics],
        generation={"private_share": share, "samples": samples},
        privacy={"maximum_records": records, "epsilon": epsilon},
    )


SPECS = {
    "public": spec_of(
        [(metric, "public") for metric in (FRECHET, KERNEL, COVERAGE, SCORE, RATE)],
        records=300,
        epsilon="16",
        share="0",
        samples=20,
    ),
    "scores": spec_of([(SCORE, "private"), (RATE, "private")], records=200, epsilon="1", share="0.5", samples=4),
    "distances": spec_of([(FRECHET, "private"), (KERNEL, "private")], records=300, epsilon="64", share="1", samples=1),
}


@cache
def planned(name: str) -> tuple[Scenario, Guesses]:
    spec = SPECS[name]
    guesses = default_guesses(spec)
    for key in guesses:
        if key[0] == "mmd-rff@1":
            guesses[key] = stretched(guesses[key], 2.0)  # near 0 the length of its interval is a matter of chance
    return scenario_of(spec, assume(spec, participants=INSTITUTIONS)), guesses


@cache
def sessions(name: str) -> list[Evaluation]:
    scenario, guesses = planned(name)
    counts = scenario.counts
    clips = {
        "reference": counts.reference // INSTITUTIONS,
        "public": next(iter(counts.public.values())) // INSTITUTIONS,
        "private": counts.private // INSTITUTIONS,
    }
    return [simulate(scenario.spec, guesses, clips, participants=INSTITUTIONS, seed=seed) for seed in range(SESSIONS)]


def measured(name: str) -> Widths:
    """Median half-widths of simulated sessions."""
    widths: dict[tuple[str, str, str], list[float]] = {}
    for session in sessions(name):
        for result in session.results:
            width = half_width(result)
            if width is not None:
                widths.setdefault((result.metric, result.inputs, result.model), []).append(width)
    return {key: statistics.median(found) for key, found in widths.items()}


def predicted(scenario: Scenario, guesses: Guesses, noise: NoiseLevel | None = None) -> Widths:
    effort, population = effort_of(scenario.spec), population_of(scenario.spec, guesses)
    found = forecast(scenario, population, sessions=effort.sessions, evaluated=effort.evaluated, noise=noise)
    return {
        (item.metric, item.inputs, item.model): item.half_width
        for item in found.expected
        if item.half_width is not None
    }


def off(some: Widths, others: Widths) -> dict[tuple[str, str, str], float]:
    """By which factor widths are off, at least 1."""
    assert some.keys() == others.keys()
    return {key: max(some[key] / others[key], others[key] / some[key]) for key in some}


@pytest.mark.parametrize("name", SPECS)
def test_predicted_intervals_are_as_long_as_those_of_simulated_sessions(name: str) -> None:
    factors = off(predicted(*planned(name)), measured(name))
    assert {key[:2] for key in factors} >= {(metric.id, metric.inputs) for metric in SPECS[name].metrics}
    assert max(factors.values()) <= WITHIN, factors


def test_a_prediction_without_the_noise_would_be_wrong() -> None:
    scenario, guesses = planned("scores")
    assert min(off(predicted(scenario, guesses, NO_NOISE), measured("scores")).values()) > WITHIN


def test_a_prediction_for_another_number_of_records_would_be_wrong() -> None:
    scenario, guesses = planned("scores")
    fewer = replace(scenario, counts=replace(scenario.counts, private=scenario.counts.private // 2))
    assert min(off(predicted(fewer, guesses), measured("scores")).values()) > WITHIN


def test_predicted_grades_are_those_of_simulated_sessions() -> None:
    for name in SPECS:
        scenario, guesses = planned(name)
        found = forecast(scenario, population_of(scenario.spec, guesses), sessions=9, evaluated=1)
        published = [(item.metric, item.inputs, item.model, item.grade) for item in sessions(name)[0].results]
        assert [(item.metric, item.inputs, item.model, item.grade) for item in found.expected] == published


def test_smallest_differences_are_those_that_half_of_simulated_sessions_tell_apart() -> None:
    """Models twice the predicted difference apart are told apart nearly always; models less than half of it nearly never."""
    scenario, guesses = planned("scores")
    found = forecast(scenario, population_of(scenario.spec, guesses), sessions=9, evaluated=2)
    smallest = resolutions_of(scenario, guesses, found, rounds=4)["clip-score@1", "private"].smallest
    assert smallest is not None
    clips = {"reference": 0, "public": 0, "private": scenario.counts.private // INSTITUTIONS}

    def told_apart(factor: float) -> int:
        key = "clip-score@1", "private"
        moved: dict[tuple[str, str], Guess] = {**guesses, key: stretched(guesses[key], factor * smallest / 2.0)}
        runs = [simulate(scenario.spec, moved, clips, participants=INSTITUTIONS, seed=500 + seed) for seed in range(10)]
        return sum(not run.not_apart[key] for run in runs)

    # by default models are 2 points apart
    assert told_apart(2.0) >= 9
    assert told_apart(0.4) <= 1


def test_what_a_withheld_metric_needs_makes_it_a_value() -> None:
    spec = spec_of([(FRECHET, "public"), (SCORE, "public")], records=100, epsilon="4", share="0", samples=10)
    assumed = assume(spec, participants=INSTITUTIONS)
    guesses = default_guesses(spec)
    scenario, key = scenario_of(spec, assumed), ("frechet-videomae@1", "public")

    def grades(records: int) -> set[str]:
        privacy = spec.privacy.model_copy(update={"maximum_records": records})
        larger = spec.model_copy(update={"privacy": privacy})
        other = scenario_of(larger, assume(larger, participants=INSTITUTIONS))
        found = forecast(other, population_of(larger, guesses), sessions=3, evaluated=1)
        return {item.grade for item in found.of(key)}

    need = need_of(scenario, population_of(spec, guesses), key)
    assert grades(100) == {"unavailable"}
    assert need.records is not None
    assert need.epsilon is not None
    assert grades(need.records) == {"noised"}
    assert grades(round(0.9 * need.records)) == {"coarse"}


def test_noise_of_a_mean_is_what_decides_whether_a_distance_is_published() -> None:
    scenario, _ = planned("public")
    level = noise_of_means(scenario)["frechet-videomae@1", "public"] / 2**0.5
    remark = next(item for item in sessions("public")[0].results if item.metric == "frechet-videomae@1")
    assert remark.grade == ("noised" if level <= 0.0015 else "coarse" if level <= 0.0035 else "unavailable")
