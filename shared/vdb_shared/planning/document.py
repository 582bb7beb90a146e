"""The JSON form of a plan, as `session plan --json` prints it.

Leaves the figures to `plan.py`.
"""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

from vdb_shared.canonical import decimal_string
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.planning.assumptions import of_clips, of_ratings
from vdb_shared.planning.budget import is_private
from vdb_shared.planning.costs import Work
from vdb_shared.planning.guess import in_units
from vdb_shared.planning.plan import Outlook, Plan, Proposal
from vdb_shared.planning.whatif import WhatIf


def plan_json(plan: Plan) -> dict[str, object]:
    """Return the JSON form of a plan: reals are decimal strings of 6 significant digits, null stands for what is withheld.

    version, spec, title; assumptions {participants, survivors, smallest_cohort, records, prompts}; effort {sessions,
    evaluated, rounds, compared}; guesses {sources, metrics: [{metric, inputs, <field of the guess>}]}; privacy (as
    accounting.json, §8.4); counts {reference, public, private}; metrics: [{metric, inputs, unit, weight, private, noise,
    tau, smallest_difference, ranks, apart, need {records, epsilon} or null, models: [{model, value, half_width, grade,
    reason}]}]; of_ratings (metrics of which nothing is told); what_ifs: [{name, problem, changes: [{metric, inputs, ratio,
    grade}]}]; doubled_weights: [{metric, own, others} or {metric, problem}]; proposed_weights {before, after, weights} or
    null; bytes {up, down, received, sent, bundle}; work {clips, steps, hours, institutions, unknown, models: [{model,
    public, checked, private, steps, seconds}]}.
    """
    spec, assumed, counts = plan.scenario.spec, plan.scenario.assumed, plan.scenario.counts
    return {
        "version": "vdb-plan/1",
        "spec": spec.digest,
        "title": spec.title,
        "assumptions": {
            "participants": assumed.participants,
            "survivors": assumed.survivors,
            "smallest_cohort": plan.scenario.terms.smallest_cohort,
            "records": assumed.records,
            "prompts": assumed.prompts,
        },
        "effort": asdict(plan.effort),
        "guesses": {"sources": list(plan.sources), "metrics": _guesses_json(plan)},
        "privacy": plan.accounting.to_json(),
        "counts": {"reference": counts.reference, "public": dict(counts.public), "private": counts.private},
        "metrics": [_outlook_json(plan, outlook) for outlook in plan.outlooks],
        "of_ratings": list(of_ratings(spec)),
        "what_ifs": [_what_if_json(item) for item in plan.what_ifs],
        "doubled_weights": [_doubled_json(metric, found) for metric, found in plan.doubled.items()],
        "proposed_weights": _proposal_json(plan.proposal),
        "bytes": asdict(plan.traffic),
        "work": _work_json(plan.work),
    }


def real(value: float | None) -> str | None:
    """Return a real as a decimal string of 6 significant digits."""
    return None if value is None else decimal_string(Decimal(f"{value:.5e}"))


def _guesses_json(plan: Plan) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for metric in of_clips(plan.scenario.spec):
        numbers = in_units(metric, plan.guesses[metric.id, metric.inputs])
        rows.append(
            {"metric": metric.id, "inputs": metric.inputs} | {name: real(value) for name, value in numbers.items()}
        )
    return rows


def _outlook_json(plan: Plan, outlook: Outlook) -> dict[str, object]:
    metric, need = outlook.metric, outlook.need
    return {
        "metric": metric.id,
        "inputs": metric.inputs,
        "unit": definition_of(metric.id).unit,
        "weight": decimal_string(metric.weight),
        "private": is_private(metric),
        "noise": real(outlook.noise),
        "tau": real(outlook.tau),
        "smallest_difference": real(outlook.resolution.smallest),
        "ranks": outlook.resolution.ranks,
        "apart": real(outlook.resolution.apart),
        "need": None
        if need is None
        else {"records": need.records, "epsilon": None if need.epsilon is None else decimal_string(need.epsilon)},
        "models": [
            {
                "model": item.model,
                "value": real(item.value),
                "half_width": real(item.half_width),
                "grade": item.grade,
                "reason": item.reason,
            }
            for item in plan.of((metric.id, metric.inputs))
        ],
    }


def _what_if_json(item: WhatIf) -> dict[str, object]:
    return {
        "name": item.name,
        "problem": item.problem,
        "changes": [
            {"metric": metric, "inputs": inputs, "ratio": real(change.ratio), "grade": change.grade}
            for (metric, inputs), change in item.changes.items()
        ],
    }


def _doubled_json(metric: str, found: tuple[float, float] | str) -> dict[str, object]:
    if isinstance(found, str):
        return {"metric": metric, "problem": found}
    return {"metric": metric, "own": real(found[0]), "others": real(found[1])}


def _proposal_json(proposal: Proposal | None) -> dict[str, object] | None:
    if proposal is None:
        return None
    return {
        "before": real(proposal.before),
        "after": real(proposal.after),
        "weights": {name: decimal_string(weight) for name, weight in proposal.weights.items()},
    }


def _work_json(work: Work) -> dict[str, object]:
    return {
        "institutions": work.institutions,
        "clips": work.clips,
        "steps": work.steps,
        "hours": real(work.hours),
        "unknown": list(work.unknown),
        "models": [
            {
                "model": item.model,
                "public": item.public,
                "checked": item.checked,
                "private": item.private,
                "steps": item.steps,
                "seconds": real(item.seconds),
            }
            for item in work.models
        ],
    }
