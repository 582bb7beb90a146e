"""Forecasts that depend on no spec's digest.

The covariance behind mmd-rff's interval is sketched, by a sketch that follows from the digest of the spec: with another title
the same session publishes an interval that is up to a fifth longer or shorter. Nobody knows the digest of the spec that will
be sealed, and two specs that are compared have two. Promises forecasts that are the same whatever the digest is: everything
is drawn under agreed digests, and where sketches matter, what is expected is the mean over several. Leaves one sketch's
forecast to `prediction.py`.

Source: protos/README.md §7.2.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vdb_shared.canonical import digest_string
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.uncertainty import draw_seed
from vdb_shared.planning.assumptions import Scenario, under_digest, variant
from vdb_shared.planning.guess import Guesses, kind_of
from vdb_shared.planning.population import Population, population_of
from vdb_shared.planning.prediction import Expected, Forecast, alone, forecast
from vdb_shared.spec import Metric, Spec

SKETCHES: Final = 4
"""Sketches that are averaged: half-widths under one of them deviate by a tenth."""

_EACH: Final = 6
"""Sessions that are drawn under each sketch at most; theirs differ by a fifth, so that means are good to a twentieth or so."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many sessions a forecast rests on.

    Attributes:
        drawn: sessions that are drawn.
        evaluated: how many of them Fréchet distances are evaluated of.
    """

    drawn: int
    evaluated: int


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips that a plan draws its sessions from.

    Attributes:
        population: all of them, as the first sketch sees them.
        others: those of metrics that are sketched, as each further sketch sees them.
    """

    population: Population
    others: tuple[Population, ...]


def clips_of(spec: Spec, guesses: Guesses) -> Clips:
    """Return the clips that are guessed."""
    sketched = _sketched(spec)
    part = variant(spec, metrics=sketched)
    return Clips(
        population_of(_under(spec, 0), guesses),
        tuple(population_of(_under(part, number), guesses) for number in range(1, SKETCHES)) if sketched else (),
    )


def agreed(scenario: Scenario) -> Scenario:
    """Return the session under the digest that all plans draw under."""
    return replace(scenario, spec=_under(scenario.spec, 0))


def foreseen(scenario: Scenario, clips: Clips, sessions: Sessions) -> Forecast:
    """Return what a session publishes, whatever the digest of its spec, with evaluations of the whole of typical sessions.

    Args:
        scenario: the session.
        clips: that it may draw.
        sessions: how many are drawn; sketches share them.
    """
    found = forecast(agreed(scenario), clips.population, sessions=sessions.drawn, evaluated=sessions.evaluated)
    sketched = _sketched(scenario.spec)
    if not sketched:
        return found
    first = [item for item in found.of_fewer(_share(sessions)).expected if item.metric in _ids(sketched)]
    means = _means(first, _under_others(scenario, clips, sessions))
    return replace(
        found, expected=tuple(means.get((item.metric, item.inputs, item.model), item) for item in found.expected)
    )


def expected_of(scenario: Scenario, clips: Clips, sessions: Sessions) -> tuple[Expected, ...]:
    """Return the same expectations as `foreseen`, in any order, without evaluating sessions as a whole."""
    sketched = _sketched(scenario.spec)
    plain = [metric for metric in scenario.spec.metrics if metric.id not in _ids(sketched)]
    found: tuple[Expected, ...] = ()
    if plain:
        part = alone(agreed(scenario), plain)
        found = forecast(part, clips.population, sessions=sessions.drawn, evaluated=sessions.evaluated).expected
    if sketched:
        part = alone(agreed(scenario), sketched)
        first = forecast(part, clips.population, sessions=_share(sessions), evaluated=1).expected
        found += tuple(_means(first, _under_others(scenario, clips, sessions)).values())
    return found


def _under_others(scenario: Scenario, clips: Clips, sessions: Sessions) -> list[Expected]:
    """Return what is expected of sketched metrics under each sketch but the first."""
    part = alone(scenario, _sketched(scenario.spec))
    return [
        item
        for number, population in enumerate(clips.others, start=1)
        for item in forecast(
            replace(part, spec=_under(part.spec, number)), population, sessions=_share(sessions), evaluated=1
        ).expected
    ]


def _share(sessions: Sessions) -> int:
    """Return how many sessions are drawn under each sketch."""
    return min(_EACH, -(-sessions.drawn // SKETCHES))


def _ids(metrics: Sequence[Metric]) -> set[str]:
    return {metric.id for metric in metrics}


def _sketched(spec: Spec) -> tuple[Metric, ...]:
    """Return the metrics whose intervals rest on a sketch that follows from the spec's digest."""
    return tuple(metric for metric in spec.metrics if kind_of(definition_of(metric.id)) == "kernel")


def _under(spec: Spec, number: int) -> Spec:
    return under_digest(spec, digest_string(draw_seed("plan", "digest", replicate=number)))


def _means(first: Sequence[Expected], others: Sequence[Expected]) -> dict[tuple[str, str, str], Expected]:
    """Return means over the sketches under which a metric has the grade that it has under the first."""
    found: dict[tuple[str, str, str], Expected] = {}
    for item in first:
        key = item.metric, item.inputs, item.model
        alike = [item] + [
            other for other in others if (other.metric, other.inputs, other.model) == key and other.grade == item.grade
        ]
        found[key] = replace(
            item, value=_mean([one.value for one in alike]), half_width=_mean([one.half_width for one in alike])
        )
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None
