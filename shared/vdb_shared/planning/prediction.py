"""What a session would publish: values, intervals and grades, from evaluations of typical sessions of guessed clips.

Promises that every figure comes out of the very `evaluate` that results are published with, so that a changed interval changes
the plan too. Leaves the guess to `guess.py`, its sums to `population.py`, comparisons of models to `resolution.py`.

One session's intervals depend on chance. Where an evaluation is quick, medians over many sessions are taken; a Fréchet
distance's bootstrap takes long, so of as many sessions only a few are evaluated, those whose distances and shrinkage are the
most typical.

Source: protos/README.md §7.3.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vdb_shared.evaluation import Evaluation, Grade, Result, evaluate
from vdb_shared.families import moments_of_model, moments_of_reference
from vdb_shared.layout import layout_of
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.frechet import fit
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.planning.assumptions import Scenario, variant
from vdb_shared.planning.guess import kind_of
from vdb_shared.planning.population import Draw, Population, draw_session
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.spec import Metric
from vdb_shared.sums import SessionSums

Key = tuple[str, str]
"""Metric and inputs."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of one metric of one model.

    Attributes:
        metric, inputs, model: whose.
        value: median over sessions, in the metric's unit; None where most sessions withhold it.
        half_width: of the 95 % interval, likewise.
        grade: that most sessions give; "unavailable" where most withhold it.
        reason: of a session with that grade.
    """

    metric: str
    inputs: str
    model: str
    value: float | None
    half_width: float | None
    grade: Grade
    reason: str | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What sessions would publish.

    Attributes:
        expected: metrics in the spec's order, then models.
        evaluations: of typical sessions.
        typical: which sessions these are.
        quick: evaluations of the metrics that are quick to evaluate, one for each session.
        sessions: how many were drawn.
    """

    expected: tuple[Expected, ...]
    evaluations: tuple[Evaluation, ...]
    typical: tuple[Draw, ...]
    quick: tuple[Evaluation, ...]
    sessions: int

    def of(self, key: Key) -> tuple[Expected, ...]:
        """Return what is expected of a metric, models in the spec's order."""
        return tuple(item for item in self.expected if (item.metric, item.inputs) == key)

    def of_fewer(self, sessions: int) -> Forecast:
        """Return what is expected from the first sessions alone, and from the most typical one where metrics take long."""
        quick, first = self.quick[:sessions], self.evaluations[:1]
        return Forecast(_expected_of(first, quick), first, self.typical[:1], quick, min(sessions, self.sessions))


def forecast(
    scenario: Scenario, population: Population, *, sessions: int, evaluated: int, noise: NoiseLevel | None = None
) -> Forecast:
    """Return what sessions of guessed clips publish.

    Args:
        scenario: the session.
        population: its clips.
        sessions: how many are drawn.
        evaluated: how many of them, at most all, are evaluated as a whole.
        noise: in the sums, where it is not the scenario's.
    """
    level = scenario.noise if noise is None else noise
    drawn = [draw_session(scenario, population, level, number) for number in range(sessions)]
    quick = _evaluated_alone(scenario, [metric for metric in scenario.spec.metrics if _is_quick(metric)], drawn, level)
    order = {
        name: _most_typical(_facts(scenario, name, drawn, quick, level))
        for name in dict.fromkeys(metric.id for metric in scenario.spec.metrics)
    }
    typical = [
        Draw(place, {name: found[place] for name, found in order.items()}) for place in range(min(evaluated, sessions))
    ]
    evaluations = [evaluated_session(scenario, population, level, draw) for draw in typical]
    return Forecast(_expected_of(evaluations, quick), tuple(evaluations), tuple(typical), tuple(quick), sessions)


def evaluated_session(scenario: Scenario, population: Population, noise: NoiseLevel, draw: Draw | int) -> Evaluation:
    """Return what one session of guessed clips publishes.

    Args:
        scenario: the session.
        population: its clips.
        noise: in the sums.
        draw: which session.
    """
    return _evaluate(scenario, draw_session(scenario, population, noise, draw), noise)


def alone(scenario: Scenario, metrics: Sequence[Metric]) -> Scenario:
    """Return the session with some of its metrics only, all noised as in the whole."""
    spec = variant(scenario.spec, metrics=tuple(metrics))
    return replace(scenario, spec=spec, terms=replace(scenario.terms, layout=layout_of(spec)))


def half_width(result: Result) -> float | None:
    """Return half the length of a result's interval, or None where it is withheld."""
    return None if result.low is None or result.high is None else (result.high - result.low) / 2.0


def _evaluate(scenario: Scenario, sums: Statistics, noise: NoiseLevel) -> Evaluation:
    return evaluate(scenario.spec, sums, noise if noise.deviations else None)


def _is_quick(metric: Metric) -> bool:
    return kind_of(definition_of(metric.id)) != "frechet"


def _evaluated_alone(
    scenario: Scenario, metrics: Sequence[Metric], drawn: Sequence[Statistics], noise: NoiseLevel
) -> list[Evaluation]:
    """Return evaluations of some metrics of every session; none where there are no metrics."""
    if not metrics:
        return []
    part = alone(scenario, metrics)
    names = {block.name for block in part.layout.blocks}
    kept = NoiseLevel({name: deviation for name, deviation in noise.deviations.items() if name in names})
    return [_evaluate(part, {name: sums[name] for name in names}, kept) for sums in drawn]


def _facts(
    scenario: Scenario, name: str, drawn: Sequence[Statistics], quick: Sequence[Evaluation], noise: NoiseLevel
) -> NDArray[np.float64]:
    """Return what a session is known by as far as one metric is concerned, shape (sessions, facts)."""
    metrics = [metric for metric in scenario.spec.metrics if metric.id == name]
    if _is_quick(metrics[0]):
        rows = [
            [number for item in found.results if item.metric == name for number in _numbers(item)] for found in quick
        ]
    else:
        rows = [[fact for metric in metrics for fact in _shape(scenario, metric, sums, noise)] for sums in drawn]
    return np.array(rows, dtype=np.float64)


def _numbers(result: Result) -> tuple[float, float]:
    return result.value or 0.0, half_width(result) or 0.0


def _shape(scenario: Scenario, metric: Metric, sums: Statistics, noise: NoiseLevel) -> list[float]:
    """Return what a Fréchet distance and its interval follow from; zeros where a side has too few clips to divide by.

    By model: the distance, what shrinkage hides, how wide clips spread, and how wide along the way to the reference.
    """
    parts, definition = SessionSums(scenario.spec, sums, noise), definition_of(metric.id)
    models = [model.id for model in scenario.spec.models]
    counts = [parts.counts["reference", "clips"], *(parts.counts[metric.inputs, model] for model in models)]
    if any(count.problem() for count in counts):
        return [0.0] * (4 * len(models) + 1)
    sides = {model: moments_of_model(parts, metric, definition, model) for model in models}
    fitted = fit(moments_of_reference(parts, metric, definition), sides, drawn=True)
    facts = [fitted.reference.hidden]
    for model in models:
        found = fitted.models[model]
        gap = found.mean - fitted.reference.mean
        along = max(float(gap @ found.covariance @ gap), 0.0) ** 0.5
        facts += [fitted.distances[model], found.hidden, float(np.trace(found.covariance)), along]
    return facts


def _most_typical(facts: NDArray[np.float64]) -> list[int]:
    """Return the sessions, those first whose facts are all near the medians."""
    off = np.abs(facts - np.median(facts, axis=0))
    scale = np.median(off, axis=0)
    apart = np.where(scale > 0, off / np.where(scale > 0, scale, 1.0), 0.0).sum(axis=1)
    return [int(place) for place in np.argsort(apart, kind="stable")]


def _expected_of(evaluations: Sequence[Evaluation], quick: Sequence[Evaluation]) -> tuple[Expected, ...]:
    """Return medians: over all sessions where metrics are quick, else over those that were evaluated."""
    medians = {
        (item.metric, item.inputs, item.model): item
        for item in (_expected(found) for found in zip(*(one.results for one in quick), strict=True))
    }
    found = (_expected(found) for found in zip(*(one.results for one in evaluations), strict=True))
    return tuple(medians.get((item.metric, item.inputs, item.model), item) for item in found)


def _expected(found: Sequence[Result]) -> Expected:
    grade = statistics.mode(item.grade for item in found)
    of_grade = [item for item in found if item.grade == grade]
    first = of_grade[0]
    return Expected(
        metric=first.metric,
        inputs=first.inputs,
        model=first.model,
        value=_median([item.value for item in of_grade]),
        half_width=_median([half_width(item) for item in of_grade]),
        grade=grade,
        reason=first.reason,
    )


def _median(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def noise_of_means(scenario: Scenario) -> dict[Key, float]:
    """Return the noise in one coordinate of a mean contribution to a metric's first block, by metric; 0 where there is none.

    The larger of both sides: of the reference clips and of a model's.
    """
    found: dict[Key, float] = {}
    for metric in scenario.spec.metrics:
        levels: dict[tuple[str, str], float] = {}
        for block in scenario.layout.blocks:
            side, model, name, *_ = block.name.split("/")
            if name == metric.id and side in {"reference", metric.inputs}:
                clips = scenario.counts.of("reference" if side == "reference" else metric.inputs, model)
                levels.setdefault((side, model), scenario.noise.of(block.name) / max(clips, 1))
        found[metric.id, metric.inputs] = max(levels.values())
    return found
