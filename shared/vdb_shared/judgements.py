"""What follows from people's ratings: figures by model, and what is withheld and why.

Promises one family of estimates for the models that are available, and a reason for each of the others. A record is a rater
with all ratings; sums are over raters, and whatever they rated, one weighs as much as another. Leaves the arithmetic to
metrics/preference.py and its neighbours.

Source: protos/README.md §7.2, §7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vdb_shared.metrics.catalogue import MetricDefinition
from vdb_shared.metrics.correlation import correlation_family, correlation_problem, of_models
from vdb_shared.metrics.finishes import FinishName
from vdb_shared.metrics.preference import PreferenceSums, preference_family, preference_problem
from vdb_shared.metrics.uncertainty import Family
from vdb_shared.spec import Metric
from vdb_shared.sums import SessionSums


@dataclass(frozen=True, slots=True)
class Judgement:
    """One metric of people's ratings.

    Attributes:
        family: estimates and comparisons of the models that are available.
        raters: by model, how many people the figure rests on; noised, so possibly fractional or negative.
        problems: by model, why its figure is withheld, or None.
        noised: whether the sums carry noise.
    """

    family: Family
    raters: Mapping[str, float]
    problems: Mapping[str, str | None]
    noised: bool


def judgement_of(sums: SessionSums, metric: Metric, definition: MetricDefinition) -> Judgement:
    """Return what a session's ratings say under a metric whose inputs are ratings.

    Args:
        sums: of the session.
        metric: as the spec has it.
        definition: of the metric.
    """
    return _JUDGED_BY[definition.finish](sums, metric)


def _preference(sums: SessionSums, metric: Metric) -> Judgement:
    models = [model.id for model in sums.spec.models]
    wins, deviation = sums.rating_block(metric, "wins")
    votes = PreferenceSums(wins, len(models), deviation)
    problem = preference_problem(votes, models)
    family = Family({}, {}) if problem else preference_family(votes, models)
    return Judgement(family, dict.fromkeys(models, votes.raters), dict.fromkeys(models, problem), deviation > 0)


def _correlation(sums: SessionSums, metric: Metric) -> Judgement:
    moments, deviation = sums.rating_block(metric, "moments")
    found = of_models(moments, [model.id for model in sums.spec.models], deviation)
    problems = {model: correlation_problem(item, model) for model, item in found.items()}
    family = correlation_family({model: item for model, item in found.items() if problems[model] is None})
    return Judgement(family, {model: item.people for model, item in found.items()}, problems, deviation > 0)


_JUDGED_BY: Final[Mapping[FinishName, Callable[[SessionSums, Metric], Judgement]]] = {
    "preference": _preference,
    "correlation": _correlation,
}
