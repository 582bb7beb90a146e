"""From sums to the published figures: values, intervals, sets of ranks, and what is withheld and why.

Promises that coordinator, participants and auditors compute the same figures from the same sums, and that no number is
published that noise or a small count makes meaningless: it is then reported as unavailable, with the reason. Leaves the
finishes to metrics/ and the noise's size to privacy/mechanism.py. Works on one site's own sums too, without noise.

Source: protos/README.md §7.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from vdb_shared.canonical import decimal_string
from vdb_shared.families import family_of, moments_of_model, moments_of_reference
from vdb_shared.judgements import judgement_of
from vdb_shared.layout import layout_of
from vdb_shared.metrics.catalogue import MetricDefinition, definition_of
from vdb_shared.metrics.finishes import FRECHET_FINISHES, FinishName
from vdb_shared.metrics.multiplicity import Pair, pairs_not_apart, planned_comparisons, rank_sets, told_apart
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.metrics.uncertainty import CONFIDENCE, Comparison, Estimate, Family
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.privacy.remedy import would_do
from vdb_shared.spec import Grade as ClipClass
from vdb_shared.spec import Metric, Profile, Spec
from vdb_shared.sums import Count, SessionSums, Side, rounded

Grade = Literal["exact", "noised", "coarse", "unavailable"]

VALUE_NOISE: Final = 0.0015
COARSE_NOISE: Final = 0.0035
"""Noise per coordinate of a mean of [x, svec(x x^T)] / sqrt(2) up to which a Fréchet distance under noise is published as
a value, and with its ranks alone; above, it is withheld. From benchmarks/dp_utility.py."""

SCORE_NOISE: Final = 0.25
"""Noise of a mean score, in its range, up to which it is published."""

FEWEST_COMPARED: Final[Mapping[FinishName, int]] = {"mean": 8, "rate": 8}
FEWEST_COMPARED_OTHERWISE: Final = 15
"""Clips of a model, and of the reference where there is one, below which a model is told from no other. Deviations of fewer are
known too badly for the small chances that a session of many comparisons asks for. From benchmarks/comparisons.py."""

CELL_NOISE: Final = 0.25
"""Noise of a share of clips times the number of anchors, up to which coverage is published."""


@dataclass(frozen=True, slots=True)
class Result:
    """One metric of one model.

    Attributes:
        metric: its id.
        inputs: kind of prompts, or "ratings" by people.
        model: id of the model.
        estimate: value with interval; None exactly when grade is "coarse" or "unavailable".
        count: clips of the model that were measured, or people whose ratings were counted.
        private: whether private records entered it, through the prompts, the reference clips or the ratings.
        grade: "exact": no noise; "noised"; "coarse": so noised that only ranks are published; "unavailable".
        reason: why it is unavailable or coarse, or why it cannot be told from any other model, or None.
        ranks: best and worst rank the model may have among those available; None when unavailable.
        histogram: clips in each of 32 bins of the score's range; None where there is none.
    """

    metric: str
    inputs: Literal["public", "private", "ratings"]
    model: str
    estimate: Estimate | None
    count: float
    private: bool
    grade: Grade
    reason: str | None
    ranks: tuple[int, int] | None
    histogram: tuple[int, ...] | None

    @property
    def value(self) -> float | None:
        """The value, unrounded."""
        return self.estimate.value if self.estimate else None

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval, unrounded."""
        return self.estimate.low if self.estimate else None

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval, unrounded."""
        return self.estimate.high if self.estimate else None

    def to_json(self) -> dict[str, object]:
        """Return the JSON form: reals as decimal strings of 6 significant digits."""
        definition = definition_of(self.metric)
        return {
            "metric": self.metric,
            "inputs": self.inputs,
            "model": self.model,
            "direction": definition.direction,
            "unit": definition.unit,
            "value": None if self.value is None else rounded(self.value),
            "low": None if self.low is None else rounded(self.low),
            "high": None if self.high is None else rounded(self.high),
            "count": rounded(self.count),
            "private": self.private,
            "grade": self.grade,
            "reason": self.reason,
            "ranks": None if self.ranks is None else list(self.ranks),
            "histogram": None if self.histogram is None else list(self.histogram),
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of a session.

    Attributes:
        clip_class, profile: of all generated clips, as the spec names them.
        counts: reference, then public, then private; models in the spec's order.
        results: metrics in the spec's order, then models.
        not_apart: by (metric, inputs), the pairs of models that the data cannot tell apart; all of the session hold together.
    """

    clip_class: ClipClass
    profile: Profile
    counts: tuple[Count, ...]
    results: tuple[Result, ...]
    not_apart: Mapping[tuple[str, str], tuple[tuple[str, str], ...]]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form of metrics.json."""
        return {
            "class": self.clip_class,
            "profile": self.profile,
            "confidence": decimal_string(CONFIDENCE),
            "counts": [count.to_json() for count in self.counts],
            "results": [result.to_json() for result in self.results],
            "not_apart": [
                {"metric": metric, "inputs": inputs, "pairs": [list(pair) for pair in pairs]}
                for (metric, inputs), pairs in self.not_apart.items()
            ],
        }


def evaluate(spec: Spec, statistics: Statistics, noise: NoiseLevel | None) -> Evaluation:
    """Return every figure that follows from a spec and sums.

    Args:
        spec: the spec.
        statistics: sums of all survivors, or of one site.
        noise: in the sums, from `noise_level`; None when there is none.

    Raises:
        SpecError: the spec has no layout.
        StatisticError: the statistics do not fit it.
    """
    layout_of(spec).check(statistics)
    sums = SessionSums(spec, statistics, noise or NoiseLevel({}))
    judged = [_judge(sums, metric) for metric in spec.metrics]
    apart = told_apart(
        {(place, pair): found for place, one in enumerate(judged) for pair, found in one.comparable.items()},
        planned_comparisons(len(spec.metrics), len(spec.models)),
    )
    results: list[Result] = []
    not_apart: dict[tuple[str, str], tuple[Pair, ...]] = {}
    for place, one in enumerate(judged):
        pairs = [pair for pair in one.family.comparisons if (place, pair) in apart]
        results.extend(_results(sums, one, pairs))
        not_apart[one.metric.id, one.metric.inputs] = pairs_not_apart(one.family, pairs)
    made = spec.generation
    return Evaluation(made.clip_class, made.profile, tuple(sums.counts.values()), tuple(results), not_apart)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One metric before it is known which of its pairs are told apart.

    Attributes:
        metric: the metric.
        problems: by model, why its result must be withheld, or None.
        family: estimates and comparisons of the others.
        counts: by model, clips or people that its result rests on.
        grades: by model, how far a result that is published can be trusted, and a remark.
        private: whether private records entered it.
        few: by model, why it cannot be told from any other, where it cannot.
    """

    metric: Metric
    problems: Mapping[str, str | None]
    family: Family
    counts: Mapping[str, float]
    grades: Mapping[str, tuple[Grade, str | None]]
    private: bool
    few: Mapping[str, str] = field(default_factory=dict)

    @property
    def comparable(self) -> dict[Pair, Comparison]:
        """The comparisons of models of which both rest on enough clips."""
        return {pair: found for pair, found in self.family.comparisons.items() if not set(pair) & set(self.few)}


def _judge(sums: SessionSums, metric: Metric) -> _Judged:
    definition = definition_of(metric.id)
    if metric.inputs == "ratings":
        people = judgement_of(sums, metric, definition)
        grade: Grade = "noised" if people.noised else "exact"
        grades = dict.fromkeys(people.problems, (grade, None))
        return _Judged(metric, people.problems, people.family, people.raters, grades, private=True)
    problems = {model.id: _problem(sums, metric, definition, model.id) for model in sums.spec.models}
    available = [model for model, problem in problems.items() if problem is None]
    return _Judged(
        metric,
        problems,
        family_of(sums, metric, definition, available),
        {model: sums.counts[metric.inputs, model].succeeded for model in problems},
        {model: _grade(sums, metric, definition, model) for model in available},
        private=metric.inputs == "private" or definition.compares_with_reference,
        few={model: found for model in available if (found := _too_few(sums, metric, definition, model))},
    )


def _results(sums: SessionSums, judged: _Judged, apart: Sequence[Pair]) -> list[Result]:
    """Return the results of one metric for every model."""
    metric, definition = judged.metric, definition_of(judged.metric.id)
    ranks = rank_sets(judged.family, apart, higher_is_better=definition.direction == "higher")
    results = []
    for model, problem in judged.problems.items():
        grade, remark = judged.grades[model] if problem is None else ("unavailable", None)
        results.append(
            Result(
                metric=metric.id,
                inputs=metric.inputs,
                model=model,
                estimate=None if grade == "coarse" else judged.family.estimates.get(model),
                count=judged.counts[model],
                private=judged.private,
                grade=grade,
                reason=problem or "; ".join(filter(None, (remark, judged.few.get(model)))) or None,
                ranks=ranks.get(model),
                histogram=None if metric.inputs == "ratings" else sums.histogram(metric, model),
            )
        )
    return results


def _problem(sums: SessionSums, metric: Metric, definition: MetricDefinition, model: str) -> str | None:
    """Why a result must be withheld, or None."""
    counts = [sums.counts[metric.inputs, model]]
    if definition.compares_with_reference:
        counts.insert(0, sums.counts["reference", "clips"])
    problem = next((found for found in (count.problem() for count in counts) if found), None)
    if problem is None and definition.finish in FRECHET_FINISHES:
        level = _mean_noise(sums, metric, model)
        if level > COARSE_NOISE:
            return (
                f"noise of {level:.2g} for each coordinate drowns the distance (at most {COARSE_NOISE} is published); "
                + _would_do(sums.spec, level / COARSE_NOISE)
            )
    if problem is None and definition.finish in {"mean", "rate"}:
        part = "moments" if definition.finish == "mean" else "events"
        level = sums.block(metric, part, model).noise_of_mean
        if level > SCORE_NOISE:
            return (
                f"noise of {level:.2g} of the score's range drowns it (at most {SCORE_NOISE} is published); a larger weight, "
                "more records or a larger epsilon would do"
            )
    if problem is None and definition.finish == "coverage":
        sides = (sums.block(metric, "cells", model), sums.reference_block(metric, "cells"))
        level = max(side.noise_of_mean * side.values.size for side in sides)
        if level > CELL_NOISE:
            return (
                f"noise adds up to {level:.2g} over all anchors (at most {CELL_NOISE} is published); fewer anchors, more "
                "records or a larger epsilon would do"
            )
    return problem


def _too_few(sums: SessionSums, metric: Metric, definition: MetricDefinition, model: str) -> str | None:
    """Why a result that is published cannot be told from any other model's, or None."""
    needed = FEWEST_COMPARED.get(definition.finish, FEWEST_COMPARED_OTHERWISE)
    sides: list[tuple[Side, str]] = [(metric.inputs, model)]
    if definition.compares_with_reference:
        sides.insert(0, ("reference", "clips"))
    for side in sides:
        if (clips := sums.counts[side].succeeded) < needed:
            kind = "reference clips" if side[0] == "reference" else "clips"
            return f"too few {kind} to tell models apart: {clips:.0f}, at least {needed} are needed"
    return None


def _grade(sums: SessionSums, metric: Metric, definition: MetricDefinition, model: str) -> tuple[Grade, str | None]:
    """How far a result that is published can be trusted."""
    sides: list[tuple[Side, str]] = [(metric.inputs, model)]
    if definition.compares_with_reference:
        sides.append(("reference", "clips"))
    if all(sums.counts[side].deviation == 0 for side in sides):
        return "exact", None
    if definition.finish in FRECHET_FINISHES:
        level = _mean_noise(sums, metric, model)
        if level > VALUE_NOISE:
            return "coarse", (
                f"noise of {level:.2g} for each coordinate leaves ranks alone (a value takes at most {VALUE_NOISE}); "
                + _would_do(sums.spec, level / VALUE_NOISE)
            )
    return "noised", None


def cause(reason: str) -> str:
    """Return why a result is withheld or coarse, without the advice after it, for whoever gives a better one."""
    return reason.partition("; ")[0]


def _would_do(spec: Spec, excess: float) -> str:
    return would_do(excess, spec.privacy.epsilon, spec.privacy.delta)


def _mean_noise(sums: SessionSums, metric: Metric, model: str) -> float:
    """Noise per coordinate of the mean of [x, svec(x x^T)] / sqrt(2), the larger of both sides."""
    definition = definition_of(metric.id)
    sides = moments_of_reference(sums, metric, definition), moments_of_model(sums, metric, definition, model)
    return max(side.mean_noise for side in sides) / math.sqrt(2.0)
