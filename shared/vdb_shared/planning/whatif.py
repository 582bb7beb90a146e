"""What another session would tell: more records, a larger epsilon, other weights; and what a withheld metric needs.

Promises the ratios that two plans have, of the spec and of the changed one: the same guessed clips, the same draws, as many
sessions. Leaves the drawing to `sketches.py`.

Source: protos/README.md §7.3, §8.1.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from vdb_shared.errors import PrivacyError, SpecError, UsageError
from vdb_shared.evaluation import Grade
from vdb_shared.metrics.catalogue import COUNT, definition_of
from vdb_shared.metrics.statistic import MAX_CONTRIBUTIONS
from vdb_shared.planning.assumptions import Assumptions, Counts, Scenario, of_clips, scenario_of, variant
from vdb_shared.planning.budget import is_private, with_weights
from vdb_shared.planning.population import Population, side_named
from vdb_shared.planning.prediction import Expected, Forecast, Key, alone, evaluated_session
from vdb_shared.planning.sketches import Clips, Sessions, agreed, expected_of
from vdb_shared.spec import Metric, Privacy, Spec

MOST_EPSILON: Final = Decimal(64)
PROPOSED_WEIGHTS: Final = "proposed weights"
_STEPS: Final = 5
"""Halvings of a search after it was bracketed within a factor of 2: the answer is known to 2 %."""

_WORST_FIRST: Final[tuple[Grade, ...]] = ("unavailable", "coarse", "noised", "exact")
_VALUED: Final = frozenset({"exact", "noised"})


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one metric.

    Attributes:
        ratio: of the new half-width to that of the plan, median over models; None where one of them is withheld.
        grade: the worst over models.
    """

    ratio: float | None
    grade: Grade


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Another session.

    Attributes:
        name: what is different.
        changes: by metric and inputs of the plan.
        problem: why no such session is possible, or None.
    """

    name: str
    changes: Mapping[Key, Change]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """From where on a metric that is withheld or coarse would be published as a value.

    Attributes:
        records: of each institution, or None where no number does.
        epsilon: or None where none up to 64 does.
    """

    records: int | None
    epsilon: Decimal | None


@dataclass(frozen=True, slots=True)
class Basis:
    """What other sessions are compared with.

    Attributes:
        scenario: the plan's.
        clips: that its sessions draw.
        sessions: how many.
        found: what the plan expects.
    """

    scenario: Scenario
    clips: Clips
    sessions: Sessions
    found: Forecast


def what_ifs(basis: Basis, weights: Mapping[str, float]) -> tuple[WhatIf, ...]:
    """Return the other sessions that are worth a look.

    Args:
        basis: the plan.
        weights: that are proposed, by metric.
    """
    scenario = basis.scenario
    spec, assumed = scenario.spec, scenario.assumed
    rows: list[tuple[str, Callable[[], Scenario]]] = []
    if any(is_private(metric) for metric in spec.metrics):
        rows += [
            ("twice the records", lambda: _more_records(spec, assumed, 2)),
            ("twice the epsilon", lambda: _larger_epsilon(spec, assumed, 2)),
            (PROPOSED_WEIGHTS, lambda: scenario_of(with_weights(spec, weights), assumed)),
        ]
    if any(metric.inputs == "private" for metric in spec.metrics):
        rows.append(("private prompts made public", lambda: _public(scenario)))
    return tuple(_compared(name, basis, changed) for name, changed in rows)


def double_weight(scenario: Scenario, metric_id: str) -> tuple[float, float] | str:
    """Return what doubling one metric's weight makes of its own noise and of every other block's, as factors.

    Returns:
        Both factors; or why the session would not be possible.
    """
    spec = scenario.spec
    metrics = tuple(
        metric.model_copy(update={"weight": 2 * metric.weight})
        if metric.id == metric_id and is_private(metric)
        else metric
        for metric in spec.metrics
    )
    try:
        other = scenario_of(variant(spec, metrics=metrics), scenario.assumed)
    except (PrivacyError, SpecError, UsageError) as error:
        return str(error)
    before, after = scenario.terms.calibration.scale, other.terms.calibration.scale
    factor = float((before or Decimal(1)) / (after or Decimal(1)))
    return factor / 2.0, factor


def need_of(scenario: Scenario, population: Population, key: Key) -> Need:
    """Return what a metric that is withheld or coarse needs to be published as a value.

    Args:
        scenario: the session.
        population: its clips, as `clips_of` draws them.
        key: the metric.
    """
    spec, assumed = agreed(scenario).spec, scenario.assumed

    def records(factor: float) -> Scenario:
        return _more_records(spec, assumed, factor)

    def epsilon(factor: float) -> Scenario:
        return _larger_epsilon(spec, assumed, factor)

    more = _least_factor(lambda factor: _valued(records(factor), population, key))
    larger = _least_factor(lambda factor: _valued(epsilon(factor), population, key))
    return Need(
        None if more is None else records(more).assumed.records,
        None if larger is None else epsilon(larger).spec.privacy.epsilon,
    )


def _compared(name: str, basis: Basis, other: Callable[[], Scenario]) -> WhatIf:
    try:
        changed = other()
    except (PrivacyError, SpecError, UsageError) as error:
        return WhatIf(name, {}, str(error))
    touched = _touched(basis.scenario, changed)
    part = alone(changed, [metric for metric in changed.spec.metrics if metric.id in touched])
    found = expected_of(part, _also_public(basis.clips), basis.sessions) if touched else ()
    there = {(item.id, item.inputs) for item in changed.spec.metrics}
    changes: dict[Key, Change] = {}
    for metric in of_clips(basis.scenario.spec):
        mine: Key = (metric.id, metric.inputs)
        before = basis.found.of(mine)
        theirs: Key = mine if mine in there else (metric.id, "public")
        after = [item for item in found if (item.metric, item.inputs) == theirs] if metric.id in touched else before
        changes[mine] = _change(before, after)
    return WhatIf(name, changes)


def _touched(scenario: Scenario, changed: Scenario) -> set[str]:
    """Return the metrics of which the change makes other sums, or other noise in them."""
    return {
        metric.id
        for metric in of_clips(scenario.spec)
        if _what_enters(scenario, metric.id) != _what_enters(changed, metric.id)
    }


def _what_enters(scenario: Scenario, metric_id: str) -> object:
    """Return the clips and the noise that a metric is computed from, and those of its counts."""
    sides: set[str] = {metric.inputs for metric in scenario.spec.metrics if metric.id == metric_id}
    if definition_of(metric_id).compares_with_reference:
        sides.add("reference")
    entering = []
    for block in scenario.layout.blocks:
        side, model, name, *_ = block.name.split("/")
        if side in sides and name in {COUNT, metric_id}:
            entering.append((block.name, scenario.counts.of(side_named(side), model), scenario.noise.of(block.name)))
    return entering


def _also_public(clips: Clips) -> Clips:
    """Return the clips with those of public prompts like those of private ones, where a metric has none."""

    def moved(population: Population) -> Population:
        public = {(metric, "public", model): atoms for (metric, _, model), atoms in population.generated.items()}
        return replace(population, generated=public | dict(population.generated))

    return Clips(moved(clips.population), tuple(moved(other) for other in clips.others))


def _change(before: Sequence[Expected], after: Sequence[Expected]) -> Change:
    ratios = [
        new.half_width / old.half_width
        for old, new in zip(before, after, strict=True)
        if old.half_width and new.half_width is not None
    ]
    return Change(
        statistics.median(ratios) if ratios else None, min((item.grade for item in after), key=_WORST_FIRST.index)
    )


def _with_privacy(spec: Spec, **changes: object) -> Spec:
    privacy = Privacy.model_validate(spec.privacy.model_dump() | changes)
    return variant(spec, privacy=privacy)


def _more_records(spec: Spec, assumed: Assumptions, factor: float) -> Scenario:
    """Return the session with so many times the records and prompts; the spec admits them where it did not."""
    records, prompts = round(assumed.records * factor), round(assumed.prompts * factor)
    most = max(spec.privacy.maximum_records, records, prompts)
    if most > MAX_CONTRIBUTIONS:
        raise UsageError(f"records: at most {MAX_CONTRIBUTIONS} can be summed")
    return scenario_of(_with_privacy(spec, maximum_records=most), replace(assumed, records=records, prompts=prompts))


def _larger_epsilon(spec: Spec, assumed: Assumptions, factor: float) -> Scenario:
    epsilon = Decimal(f"{float(spec.privacy.epsilon) * factor:.3g}")
    if epsilon > MOST_EPSILON:
        raise UsageError(f"epsilon: a spec may promise at most {MOST_EPSILON}")
    return scenario_of(_with_privacy(spec, epsilon=Decimal(f"{epsilon:f}")), assumed)


def _public(scenario: Scenario) -> Scenario:
    """Return the session whose private prompts are public ones, all of them: only reference clips stay private."""
    spec, counts = scenario.spec, scenario.counts
    named = {metric.id for metric in spec.metrics if metric.inputs == "public"}
    metrics: list[Metric] = []
    for metric in spec.metrics:
        if metric.inputs != "private":
            metrics.append(metric)
        elif metric.id not in named:
            metrics.append(metric.model_copy(update={"inputs": "public"}))
    other = scenario_of(variant(spec, metrics=tuple(metrics)), scenario.assumed)
    prompts = {model: clips + counts.private for model, clips in counts.public.items()}
    return replace(other, counts=Counts(other.counts.reference, prompts, 0))


def _least_factor(enough: Callable[[float], bool]) -> float | None:
    """Return the least factor above 1 that is enough, or None if none is."""

    def tried(factor: float) -> bool | None:
        try:
            return enough(factor)
        except (PrivacyError, SpecError, UsageError):
            return None

    low, high = 1.0, 2.0
    while not (found := tried(high)):
        if found is None:
            return None
        low, high = high, 2.0 * high
    for _ in range(_STEPS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if tried(middle) else (middle, high)
    return high


def _valued(scenario: Scenario, population: Population, key: Key) -> bool:
    """Return whether a metric is published as a value for every model; the others' noise is there, they are not computed."""
    spec = scenario.spec
    metric = next(item for item in spec.metrics if (item.id, item.inputs) == key)
    part = alone(scenario, [metric])
    found = evaluated_session(part, population, part.noise, 0)
    return all(item.grade in _VALUED for item in found.results)
