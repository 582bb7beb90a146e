"""Two results side by side: in what their specs, cohorts and privacy differ, and which figures differ by more than chance.

Promises that only verified bundles are compared, that figures on different scales are listed with the reason and never
compared, and that all comparisons hold together with 95 %. Leaves the arithmetic to `significance.py`, and why figures differ
to the reader: beside each stands what else differs.

Source: protos/README.md §10.12.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vdb_shared.audit.measure import measure_of, other_model, unlike
from vdb_shared.audit.sides import Row, cohort_rows, composed, privacy_rows
from vdb_shared.audit.significance import FEWEST, Figure, Lead, lead, more_than_chance
from vdb_shared.audit.spec_differences import Difference, circumstances, metric_name, spec_differences
from vdb_shared.audit.verified import VerifiedBundle, briefly_named, said_of, same_session
from vdb_shared.metrics.catalogue import MetricDefinition, definition_of
from vdb_shared.sums import rounded

COMPARE_VERSION: Final = "vdb-audit-compare/1"

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of one model in both results; digits as published.

    Attributes:
        definition: of the metric.
        inputs: "public", "private" or "ratings".
        model: its id.
        first, second: entries of metrics.json.
        lead: how far the second is ahead.
        apart: whether the difference is more than chance, all comparisons taken together.
        circumstances: what else differs.
    """

    definition: MetricDefinition
    inputs: str
    model: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    lead: Lead
    apart: bool
    circumstances: tuple[str, ...]

    @property
    def better(self) -> str | None:
        """Which result has the better figure, "first" or "second"; None where that may be chance."""
        if not self.apart:
            return None
        return "second" if (self.lead.difference > 0) == (self.definition.direction == "higher") else "first"

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        fields = ("value", "low", "high", "count", "grade")
        return {
            "metric": self.definition.id,
            "inputs": self.inputs,
            "model": self.model,
            "first": {name: self.first[name] for name in fields},
            "second": {name: self.second[name] for name in fields},
            "difference": rounded(self.lead.difference),
            "chance": rounded(self.lead.chance),
            "apart": self.apart,
            "better": self.better,
            "circumstances": list(self.circumstances),
        }


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A figure that is not compared, and why not; metric with its inputs, and the model, or "" for all of them."""

    metric: str
    model: str
    reason: str

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"metric": self.metric, "model": self.model, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that two results have to say about each other.

    Attributes:
        first, second: the results.
        remarks: what a reader must know before anything else.
        spec, cohort, privacy: what they agreed on, who took part, what it cost.
        common: institutions that are in both sums.
        independent: whether the figures rest on samples that have nothing in common.
        planned: pairs of figures that both specs ask for; chance is shared among so many comparisons.
        compared, not_compared: their figures.
    """

    first: VerifiedBundle
    second: VerifiedBundle
    remarks: tuple[str, ...]
    spec: tuple[Difference, ...]
    cohort: tuple[Row, ...]
    privacy: tuple[Row, ...]
    common: tuple[str, ...]
    independent: bool
    planned: int
    compared: tuple[Compared, ...]
    not_compared: tuple[NotCompared, ...]

    @property
    def apart(self) -> tuple[Compared, ...]:
        """Figures that differ by more than chance."""
        return tuple(item for item in self.compared if item.apart)

    def to_json(self) -> dict[str, object]:
        """Return the JSON form, as `vdb-audit compare --json` prints it."""
        return {
            "version": COMPARE_VERSION,
            "first": _side_json(self.first),
            "second": _side_json(self.second),
            "remarks": list(self.remarks),
            "spec": [item.to_json() for item in self.spec],
            "cohort": [item.to_json() for item in self.cohort],
            "privacy": [item.to_json() for item in self.privacy],
            "common_institutions": list(self.common),
            "independent": self.independent,
            "planned": self.planned,
            "compared": [item.to_json() for item in self.compared],
            "not_compared": [item.to_json() for item in self.not_compared],
        }


def _side_json(bundle: VerifiedBundle) -> dict[str, object]:
    facts = bundle.facts.to_json()
    kept = ("consortium", "published", "root", "session", "title")
    about = {name: facts[name] for name in kept}
    return about | {"file": bundle.name, "bundle": bundle.report.bundle, "root_pinned": bundle.report.pinned}


def compare(first: VerifiedBundle, second: VerifiedBundle) -> Comparison:
    """Return what two verified results have to say about each other."""
    common = common_institutions(first, second)
    independent = not common and first.spec.digest != second.spec.digest
    places = list(_places(first, second))
    leads: dict[Key, Lead] = {}
    missing: list[NotCompared] = list(_other_scales(first, second))
    for key in places:
        reason = _withheld(first, second, key)
        if reason:
            missing.append(NotCompared(f"{key[0]} on {key[1]} inputs", key[2], reason))
        else:
            leads[key] = _lead(first, second, key, independent=independent)
    apart = more_than_chance(leads, len(places))
    return Comparison(
        first=first,
        second=second,
        remarks=tuple(_remarks(*briefly_named((first, second)))),
        spec=spec_differences(first.spec, second.spec),
        cohort=cohort_rows(first, second),
        privacy=(*privacy_rows(first, second), *composed(first, second, common)),
        common=common,
        independent=independent,
        planned=len(places),
        compared=tuple(_compared(first, second, key, found, key in apart) for key, found in leads.items()),
        not_compared=tuple(missing),
    )


def common_institutions(first: VerifiedBundle, second: VerifiedBundle) -> tuple[str, ...]:
    """Return institutions that are in both sums: of one name or of one statement key, also across consortia."""
    other_keys = set(second.keys.values())
    return tuple(
        name for name in first.facts.survivors if name in second.facts.survivors or first.keys.get(name) in other_keys
    )


def _remarks(first: VerifiedBundle, second: VerifiedBundle) -> Iterator[str]:
    yield from said_of((first,) if first.report.bundle == second.report.bundle else (first, second))
    if first.report.bundle == second.report.bundle:
        yield "Both are one and the same bundle."
    else:
        yield from same_session((first, second))
    if first.facts.root != second.facts.root:
        yield "The results come under different trust roots: institutions of one name need not be the same."
    for bundle in (first, second):
        if not bundle.report.pinned:
            yield f"The trust root of {bundle.name} was taken on its own word; give it with --root."


def _places(first: VerifiedBundle, second: VerifiedBundle) -> Iterator[Key]:
    """Yield the figures that both specs ask for on one scale, of one and the same model."""
    models = {model.id: model for model in second.spec.models}
    same = [model.id for model in first.spec.models if model.id in models and not other_model(model, models[model.id])]
    for key in first.asked:
        if key in second.asked and not _other_scale(first, second, key):
            yield from ((*key, model) for model in same)


def _other_scales(first: VerifiedBundle, second: VerifiedBundle) -> Iterator[NotCompared]:
    """Yield what only one spec asks for, or both on different scales or of different models."""
    yield from _metrics_of_one(first, second, "second")
    yield from _metrics_of_one(second, first, "first")
    for key, asked in first.asked.items():
        if key in second.asked and (reason := _other_scale(first, second, key)):
            yield NotCompared(metric_name(asked), "", reason)
    models = {model.id: model for model in second.spec.models}
    for model in first.spec.models:
        if model.id not in models:
            yield NotCompared("", model.id, "the second result has no such model")
        elif problem := other_model(model, models[model.id]):
            yield NotCompared("", model.id, problem)
    known = {model.id for model in first.spec.models}
    yield from (NotCompared("", model, "the first result has no such model") for model in models if model not in known)


def _metrics_of_one(one: VerifiedBundle, other: VerifiedBundle, which: str) -> Iterator[NotCompared]:
    for key, asked in one.asked.items():
        if key not in other.asked:
            yield NotCompared(metric_name(asked), "", f"the {which} result has no such figures{_version(key, other)}")


def _other_scale(first: VerifiedBundle, second: VerifiedBundle, key: tuple[str, str]) -> str:
    """Return why figures of a metric that both specs ask for cannot be compared, or ""."""
    reasons = unlike(measure_of(first.spec, first.asked[key]), measure_of(second.spec, second.asked[key]))
    return "; ".join(reasons) or (_CORRELATION if definition_of(key[0]).finish == "correlation" else "")


_CORRELATION: Final = (
    "the error of a correlation is known for normal pairs alone; models of one session are not told apart by it either"
)


def _version(key: tuple[str, str], bundle: VerifiedBundle) -> str:
    """Return which version of the metric a result has instead, or ""."""
    name = key[0].partition("@")[0]
    others = [metric for metric, inputs in bundle.asked if inputs == key[1] and metric.partition("@")[0] == name]
    return f", but of {others[0]}, which is another definition" if others else ""


def _withheld(first: VerifiedBundle, second: VerifiedBundle, key: Key) -> str:
    """Return why a pair of figures cannot be compared although both specs ask for it, or ""."""
    for bundle, which in ((first, "first"), (second, "second")):
        item = bundle.results[key]
        if item["value"] is None:
            return f"the {which} result withholds it: {item['reason']}"
        least = _figure(bundle, key).least
        if least < FEWEST:
            return f"the {which} result has {least:.3g} clips or people of it, fewer than the {FEWEST} that an interval needs"
    return ""


def _figure(bundle: VerifiedBundle, key: Key) -> Figure:
    item = bundle.results[key]
    value, low, high, count = (float(item[name]) for name in ("value", "low", "high", "count"))
    reference = bundle.reference_clips if definition_of(key[0]).compares_with_reference else None
    clips = math.inf if reference is None else float(reference)
    return Figure(value, low, high, count, clips, noised=item["grade"] != "exact")


def _lead(first: VerifiedBundle, second: VerifiedBundle, key: Key, *, independent: bool) -> Lead:
    finish = definition_of(key[0]).finish
    return lead(_figure(first, key), _figure(second, key), finish=finish, independent=independent)


def _compared(first: VerifiedBundle, second: VerifiedBundle, key: Key, found: Lead, apart: bool) -> Compared:
    metric, inputs, model = key
    same_sites = set(first.facts.survivors) == set(second.facts.survivors) and first.facts.root == second.facts.root
    return Compared(
        definition=definition_of(metric),
        inputs=inputs,
        model=model,
        first=first.results[key],
        second=second.results[key],
        lead=found,
        apart=apart,
        circumstances=circumstances(first.spec, second.spec, first.asked[metric, inputs], model, same_sites=same_sites),
    )
