"""The plan of a session: everything that is told before anybody commits to it.

Promises the same plan for the same spec, assumptions and guesses, on every machine. Leaves how it looks to the command line and
to `page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from vdb_shared.evaluation import cause
from vdb_shared.layout import feature_dimension
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.finishes import FRECHET_FINISHES
from vdb_shared.metrics.frechet_intervals import REPLICATES, REPLICATES_ABOVE_64
from vdb_shared.planning.assumptions import Assumptions, Scenario, of_clips, scenario_of
from vdb_shared.planning.budget import budget_of, is_private, with_weights
from vdb_shared.planning.costs import Traffic, Work, traffic_of, work_of
from vdb_shared.planning.guess import Guesses, kind_of
from vdb_shared.planning.population import Population
from vdb_shared.planning.prediction import Expected, Key, alone, noise_of_means
from vdb_shared.planning.resolution import Resolution, resolutions_of
from vdb_shared.planning.sketches import Sessions, agreed, clips_of, foreseen
from vdb_shared.planning.whatif import Basis, Need, WhatIf, double_weight, need_of, what_ifs
from vdb_shared.privacy.accountant import Accounting, account
from vdb_shared.privacy.conversion import FORMULAS
from vdb_shared.spec import Metric, Spec

_SECONDS_BASE: Final = 2.5e-4
_SECONDS_CUBE: Final = 2.5e-9
"""What one draw of one side of a Fréchet distance's bootstrap takes on a usual core, and more for each d^3."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is computed.

    Attributes:
        sessions: that are drawn.
        evaluated: how many of them, the most typical ones, Fréchet distances are evaluated of.
        rounds: further evaluations, for the smallest differences.
        compared: whether other sessions are compared and weights proposed.
    """

    sessions: int
    evaluated: int
    rounds: int
    compared: bool


_EFFORTS: Final = ((1.0, Effort(45, 1, 3, True)), (15.0, Effort(5, 1, 2, True)))
"""Efforts by the seconds up to which one evaluation may take."""

_BUDGET_SESSIONS: Final = 11
"""Sessions that are drawn to weigh metrics against each other."""

_LEAST_EFFORT: Final = Effort(1, 1, 0, False)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one metric will be able to tell.

    Attributes:
        metric: of the spec.
        noise: in one coordinate of a mean contribution, the larger of both sides; 0 where no private record enters it.
        resolution: how finely it tells models apart.
        need: what it needs to be published as a value, where it is not.
    """

    metric: Metric
    noise: float
    resolution: Resolution
    need: Need | None

    @property
    def tau(self) -> float | None:
        """Noise of a covariance's entries off the diagonal, s / sqrt(2), for a Fréchet distance; else None."""
        return self.noise / 2.0**0.5 if kind_of(definition_of(self.metric.id)) == "frechet" else None


@dataclass(frozen=True, slots=True)
class Proposal:
    """Weights that divide the budget better.

    Attributes:
        weights: by metric, as `with_weights` rounds them.
        before, after: the objective now, and with them (`budget.py`).
    """

    weights: Mapping[str, Decimal]
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan.

    Attributes:
        scenario: the session.
        guesses: of its clips.
        sources: where the guesses come from, in words.
        effort: what was computed.
        accounting: what it costs a record.
        expected: metrics of clips in the spec's order, then models.
        outlooks: likewise, by metric.
        what_ifs: other sessions.
        doubled: factors of the noise of a metric and of all others if its weight is doubled, or why it cannot be.
        proposal: None where it was left out, or where at most one metric is private.
        traffic, work: bytes, and clips to make.
    """

    scenario: Scenario
    guesses: Guesses
    sources: tuple[str, ...]
    effort: Effort
    accounting: Accounting
    expected: tuple[Expected, ...]
    outlooks: tuple[Outlook, ...]
    what_ifs: tuple[WhatIf, ...]
    doubled: Mapping[str, tuple[float, float] | str]
    proposal: Proposal | None
    traffic: Traffic
    work: Work

    def of(self, key: Key) -> tuple[Expected, ...]:
        """Return what is expected of a metric, models in the spec's order."""
        return tuple(item for item in self.expected if (item.metric, item.inputs) == key)


def seconds_of_an_evaluation(spec: Spec) -> float:
    """Return about how long one evaluation of a session takes."""
    seconds = 0.0
    for metric in spec.metrics:
        if kind_of(definition_of(metric.id)) == "frechet":
            dimension = feature_dimension(spec, metric)
            draws = REPLICATES if dimension <= 64 else REPLICATES_ABOVE_64
            seconds += (len(spec.models) + 1) * draws * (_SECONDS_BASE + _SECONDS_CUBE * dimension**3)
    return seconds


def effort_of(spec: Spec) -> Effort:
    """Return how much a plan computes unless it is told: less where one evaluation takes long."""
    seconds = seconds_of_an_evaluation(spec)
    return next((effort for most, effort in _EFFORTS if seconds <= most), _LEAST_EFFORT)


def plan_session(
    spec: Spec,
    assumed: Assumptions,
    guesses: Guesses,
    *,
    sources: tuple[str, ...] = (),
    seconds: Mapping[str, float] | None = None,
    sessions: int | None = None,
) -> Plan:
    """Return the plan of a session.

    Args:
        spec: the spec.
        assumed: the cohort.
        guesses: for every metric of the spec.
        sources: where the guesses come from, in words.
        seconds: that a clip takes, by model.
        sessions: that are drawn; everything is then computed, however long it takes.

    Raises:
        PrivacyError, SpecError, UsageError: no such session is possible; names the field.
    """
    scenario = scenario_of(spec, assumed)
    effort = effort_of(spec) if sessions is None else Effort(sessions, min(sessions, 2), 3, True)
    told = alone(scenario, of_clips(spec))
    clips, sessions_drawn = clips_of(told.spec, guesses), Sessions(effort.sessions, effort.evaluated)
    base = foreseen(told, clips, sessions_drawn)
    resolutions = resolutions_of(agreed(told), guesses, base, rounds=effort.rounds)
    noise = noise_of_means(told)
    proposal = _proposal(agreed(scenario), clips.population, effort.sessions) if effort.compared else None
    accounting = account(scenario.terms.calibration, FORMULAS)
    needs: dict[Key, Need | None] = {
        (metric.id, metric.inputs): _need(scenario, clips.population, (metric.id, metric.inputs), base.expected)
        for metric in told.spec.metrics
    }
    return Plan(
        scenario=scenario,
        guesses=guesses,
        sources=sources,
        effort=effort,
        accounting=accounting,
        expected=tuple(_with_one_advice(item, needs[item.metric, item.inputs]) for item in base.expected),
        outlooks=tuple(
            Outlook(
                metric,
                noise[metric.id, metric.inputs],
                resolutions[metric.id, metric.inputs],
                needs[metric.id, metric.inputs],
            )
            for metric in told.spec.metrics
        ),
        what_ifs=_what_ifs(Basis(scenario, clips, sessions_drawn, base), proposal) if effort.compared else (),
        doubled={metric.id: double_weight(scenario, metric.id) for metric in spec.metrics if is_private(metric)},
        proposal=proposal,
        traffic=traffic_of(scenario, base.evaluations[0], accounting),
        work=work_of(scenario, seconds or {}),
    )


def _with_one_advice(item: Expected, need: Need | None) -> Expected:
    """Return it without the rule of thumb that a result gives of a distance, where its need was computed."""
    if need is None or item.reason is None or definition_of(item.metric).finish not in FRECHET_FINISHES:
        return item
    return replace(item, reason=cause(item.reason))


def _need(scenario: Scenario, population: Population, key: Key, expected: tuple[Expected, ...]) -> Need | None:
    found = [item for item in expected if (item.metric, item.inputs) == key]
    noised = any(block.private for block in scenario.layout.blocks if block.name.split("/")[2] == key[0])
    if not noised or all(item.grade in {"exact", "noised"} for item in found):
        return None
    return need_of(scenario, population, key)


def _proposal(scenario: Scenario, population: Population, sessions: int) -> Proposal | None:
    if not any(is_private(metric) for metric in scenario.spec.metrics):
        return None
    budget = budget_of(scenario, population, sessions=min(sessions, _BUDGET_SESSIONS))
    if not budget.shares:
        return None
    changed = with_weights(scenario.spec, budget.best())
    weights = {
        metric.id: metric.weight for metric in changed.metrics if metric.id in budget.weights and is_private(metric)
    }
    after = budget.objective({name: float(weight) for name, weight in weights.items()})
    return Proposal(weights, budget.objective(budget.weights), after)


def _what_ifs(basis: Basis, proposal: Proposal | None) -> tuple[WhatIf, ...]:
    weights = {} if proposal is None else {name: float(weight) for name, weight in proposal.weights.items()}
    return what_ifs(basis, weights)
