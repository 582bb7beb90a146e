"""What a plan says of other sessions is what their own plans say, whatever their digests; more noise, no shorter intervals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pytest

from testkit.metric_specs import CLIP_SCORE, DIGEST, FLICKERING, FRECHET, KERNEL, LATENCY, edited, make_spec
from testkit.ratings import CORRELATION, PREFERENCE
from vdb_shared.metrics.covariance import covariance_share, covariance_sketch
from vdb_shared.metrics.sketch import Sketch, sketch_share
from vdb_shared.planning.assumptions import Assumptions, assume, of_clips, scenario_of
from vdb_shared.planning.features import features_of, sketches_of
from vdb_shared.planning.guess import FeatureGuess, default_guesses
from vdb_shared.planning.plan import Plan, plan_session
from vdb_shared.planning.prediction import Expected, Key, alone
from vdb_shared.planning.sketches import Sessions, clips_of, expected_of, foreseen
from vdb_shared.spec import Spec

SESSIONS = 3
NAMES = ("twice the records", "twice the epsilon", "proposed weights", "private prompts made public")

SPECS = {
    "kernel": make_spec(
        [KERNEL, FLICKERING, {**CLIP_SCORE, "inputs": "private"}],
        generation={"private_share": "0.5", "samples": 2},
        privacy={"maximum_records": 300, "epsilon": "4"},
    ),
    "both sides": make_spec(
        [{**KERNEL, "inputs": "private"}, CLIP_SCORE, {**CLIP_SCORE, "inputs": "private", "weight": "2"}],
        generation={"private_share": "1"},
        privacy={"maximum_records": 400, "epsilon": "8"},
    ),
    "rated": make_spec(
        [PREFERENCE, {**CLIP_SCORE, "inputs": "private"}, CORRELATION, LATENCY],
        generation={"private_share": "1"},
        privacy={"maximum_records": 300, "epsilon": "8"},
    ),
    "distances": make_spec(
        [FRECHET, {**KERNEL, "weight": "0.5"}],
        generation={"samples": 10},
        privacy={"maximum_records": 2000, "epsilon": "32"},
    ),
}


def planned(spec: Spec, assumed: Assumptions | None = None) -> Plan:
    return plan_session(spec, assumed or assume(spec, participants=4), default_guesses(spec), sessions=SESSIONS)


@cache
def before(name: str) -> Plan:
    return planned(SPECS[name])


def changed(plan: Plan, name: str) -> tuple[Spec, Assumptions]:
    """Return the session that a row of the table speaks of, made by hand."""
    spec, assumed = plan.scenario.spec, plan.scenario.assumed

    def change(values: dict[str, Any]) -> None:
        match name:
            case "twice the records":
                values["privacy"]["maximum_records"] *= 2
            case "twice the epsilon":
                values["privacy"]["epsilon"] = str(2 * Decimal(values["privacy"]["epsilon"]))
            case "proposed weights":
                assert plan.proposal is not None
                for metric in values["metrics"]:
                    if metric["inputs"] == "private" or metric["id"] in {FRECHET["id"], KERNEL["id"]}:
                        metric["weight"] = str(plan.proposal.weights[metric["id"]])
            case _:
                there = {metric["id"] for metric in values["metrics"] if metric["inputs"] == "public"}
                values["metrics"] = [
                    metric | ({} if metric["inputs"] == "ratings" else {"inputs": "public"})
                    for metric in values["metrics"]
                    if metric["inputs"] == "public" or metric["id"] not in there
                ]
                more = plan.scenario.counts.private // spec.generation.samples
                had = len(values["prompts"]) if there else 0
                values["prompts"] = [{"id": f"p{place}", "text": f"prompt {place}"} for place in range(had + more)]

    factor = 2 if name == "twice the records" else 1
    other = edited(spec, change)
    return other, assume(other, participants=4, records=factor * assumed.records, prompts=factor * assumed.prompts)


def ratio(mine: tuple[Expected, ...], theirs: tuple[Expected, ...]) -> float:
    return statistics.median(
        new.half_width / old.half_width
        for old, new in zip(mine, theirs, strict=True)
        if old.half_width is not None and new.half_width is not None
    )


@pytest.mark.parametrize(
    ("which", "name"),
    [(which, name) for which in SPECS for name in NAMES if (which, name) != ("distances", NAMES[3])],
)
def test_the_table_of_other_sessions_agrees_with_the_plan_of_that_very_session(which: str, name: str) -> None:
    plan = before(which)
    row = next(item for item in plan.what_ifs if item.name == name)
    assert row.problem is None
    other, assumed = changed(plan, name)
    assert other.digest != plan.scenario.spec.digest
    scenario = alone(scenario_of(other, assumed), of_clips(other))
    clips = clips_of(scenario.spec, default_guesses(other))
    found = foreseen(scenario, clips, Sessions(plan.effort.sessions, plan.effort.evaluated))
    there = {(metric.id, metric.inputs) for metric in other.metrics}
    for key, change in row.changes.items():
        theirs: Key = key if key in there else (key[0], "public")
        assert change.ratio == pytest.approx(ratio(plan.of(key), found.of(theirs)), rel=1e-6)


def test_the_plan_of_another_session_is_what_this_file_takes_it_for() -> None:
    plan = before("kernel")
    other, assumed = changed(plan, "twice the epsilon")
    theirs = planned(other, assumed)
    row = next(item for item in plan.what_ifs if item.name == "twice the epsilon")
    for key, change in row.changes.items():
        assert change.ratio == pytest.approx(ratio(plan.of(key), theirs.of(key)), rel=1e-6)


def test_a_plan_does_not_depend_on_what_changes_nothing_but_the_digest() -> None:
    def renamed(values: dict[str, Any]) -> None:
        values["title"] = "The same benchmark by another name"

    spec = SPECS["both sides"]
    other = edited(spec, renamed)
    assert planned(other).expected == before("both sides").expected


def test_expectations_are_means_over_several_sketches() -> None:
    spec = SPECS["kernel"]
    scenario = scenario_of(spec, assume(spec, participants=4))
    clips = clips_of(spec, default_guesses(spec))
    few = expected_of(scenario, clips, Sessions(SESSIONS, 1))
    whole = foreseen(scenario, clips, Sessions(SESSIONS, 1))
    for item in few:
        assert item in whole.expected
    first = whole.of_fewer(1).of(("mmd-rff@1", "public"))
    means = whole.of(("mmd-rff@1", "public"))
    assert all(one.half_width != mean.half_width for one, mean in zip(first, means, strict=True))


NOISED: Mapping[str, Spec] = {
    "kernel": make_spec(
        [KERNEL, {**CLIP_SCORE, "inputs": "private"}, {"id": "dynamic-degree-dis@1", "inputs": "private"}],
        generation={"private_share": "1"},
        privacy={"maximum_records": 900, "epsilon": "1"},
    ),
    "private kernel": make_spec(
        [{**KERNEL, "inputs": "private"}],
        dimension=16,
        generation={"private_share": "1"},
        privacy={"maximum_records": 900, "epsilon": "1"},
    ),
    "frechet": make_spec(
        [FRECHET], generation={"samples": 10}, privacy={"maximum_records": 3000, "epsilon": "8"}, models=["alpha"]
    ),
}


@pytest.mark.parametrize("which", NOISED)
def test_more_noise_never_shortens_a_predicted_interval(which: str) -> None:
    """Over a wide range of epsilon, one percent allowed for the few sessions drawn; what is withheld is longer than any."""
    spec = NOISED[which]
    clips = clips_of(spec, default_guesses(spec))
    last: dict[tuple[str, str], float] = {}
    steps = 0
    for epsilon in ("64", "32", "16", "8", "4", "2", "1"):

        def promised(values: dict[str, Any], epsilon: str = epsilon) -> None:
            values["privacy"]["epsilon"] = epsilon

        other = edited(spec, promised)
        scenario = scenario_of(other, assume(other, participants=4))
        for item in expected_of(scenario, clips, Sessions(24, 1)):
            key = item.metric, item.model
            width = np.inf if item.half_width is None else item.half_width
            assert width >= 0.99 * last.get(key, 0.0), (epsilon, key)
            steps += key in last and width > 1.0001 * last[key]
            last[key] = width
    assert steps >= 5


def test_sketches_of_many_vectors_are_those_of_each() -> None:
    vectors = np.random.default_rng(3).normal(size=(9, 64)) / 8
    sketch = covariance_sketch(DIGEST, DIGEST, 64)
    np.testing.assert_allclose(sketches_of(vectors, sketch), [sketch(vector) for vector in vectors], atol=1e-12)


def test_atoms_contribute_what_clips_do() -> None:
    """Each sketched block of one clip, against the definitions that sites use."""
    spread = FeatureGuess(exponent=1.2, norm=1.5, centre=0.3, apart=0.2)
    cubic = {"id": "kvd3@1", "inputs": "public", "extractor": "tiny-videomae", "features": 64, "limit": "3"}
    spec = make_spec([KERNEL, cubic])
    atoms = features_of(spec, spec.metrics[0], spread, 1)
    one = np.zeros(atoms.size)
    one[7] = 1.0
    wave = atoms.parts["embedding"](one)
    share = covariance_share(wave, covariance_sketch(spec.digest, DIGEST, 64))
    np.testing.assert_allclose(atoms.parts["covariance"](one), share, atol=1e-12)

    alike = FeatureGuess(exponent=1.2, norm=0.5, centre=0.999999, apart=0.0)
    found = features_of(spec, spec.metrics[1], alike, 1).parts["sketch"](one)
    expected = sketch_share(np.full(4, 3.0 * 0.5 / 2.0), 3.0, Sketch.of(DIGEST, 4, 64))
    np.testing.assert_allclose(found, expected, atol=2e-3)
