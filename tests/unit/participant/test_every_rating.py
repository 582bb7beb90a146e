"""Every metric of people's ratings: one rater changes sums by at most the bound, and splits over sites change nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testkit.metric_specs import make_spec
from testkit.ratings import CORRELATION, MODELS, PREFERENCE, Line, opinions, rated_spec, vote, written
from vdb_participant.data.ratings import Ratings, Vote, read_ratings
from vdb_participant.measure.judging import Judging
from vdb_participant.measure.observation import Observation
from vdb_shared.evaluation import Evaluation, evaluate
from vdb_shared.layout import contributions_at_most, layout_of
from vdb_shared.metrics.catalogue import CATALOGUE
from vdb_shared.metrics.statistic import Statistics, Tally, pooled
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, public_tasks

SPEC = rated_spec()
ASKED = {"preference-bt@1": PREFERENCE, "human-correlation@1": CORRELATION}
RATERS = [f"r{number}" for number in range(24)]


@cache
def shown(task: ClipTask) -> Observation:
    """What a clip shows: noise whose strength depends on the model and the prompt; one clip cannot be measured."""
    generator = np.random.default_rng([ord(letter) for letter in f"{task.model} {task.prompt} {task.sample}"])
    size = 60 + 40 * MODELS.index(task.model) + int(generator.integers(40))
    frames = 1 if (task.model, task.prompt, task.sample) == ("alpha", "prompt 0", 1) else 4
    return Observation(generator.integers(0, size, (frames, 16, 16, 3), dtype=np.uint8), {})


def sums_of(spec: Spec, ratings: Ratings) -> Statistics:
    """What one site adds up."""
    tally, judging = Tally(layout_of(spec), capacity=contributions_at_most(spec)), Judging(spec, ratings.used_by(spec))
    for model in spec.models:
        for task in judging.tasks(model):
            judging.take(task, shown(task))
    for name, share in judging.shares():
        tally.add(name, share)
    return tally.sums()


def distance(spec: Spec, first: Statistics, second: Statistics) -> float:
    return math.sqrt(
        sum(float(((first[block.name] - second[block.name]) ** 2).sum()) for block in layout_of(spec).blocks)
    )


def bound(spec: Spec) -> float:
    return math.sqrt(sum(block.bound_squared for block in layout_of(spec).blocks if block.name.startswith("ratings/")))


def test_every_metric_of_ratings_is_tested_here() -> None:
    assert set(ASKED) == {name for name, definition in CATALOGUE.items() if definition.of_ratings}


def test_c_counts_the_blocks_of_ratings_too() -> None:
    layout = layout_of(SPEC)
    assert [(block.name, block.dims, block.bound_squared, block.private) for block in layout.blocks] == [
        ("ratings/raters/preference-bt@1/wins", 6, 1, True),
        ("ratings/raters/human-correlation@1/moments", 18, 6, True),
    ]
    assert layout.clip_norm_squared() == 7


@cache
def together() -> Evaluation:
    return evaluate(SPEC, sums_of(SPEC, lines_read(opinions(SPEC, 1, RATERS))), None)


def lines_read(lines: Sequence[Line]) -> Ratings:
    with TemporaryDirectory() as folder:
        return read_ratings(written(Path(folder), lines) / "ratings.jsonl")


def test_people_who_like_alpha_put_it_first_and_all_can_be_published() -> None:
    found = together()
    values = {(item.metric, item.model): item.value for item in found.results}
    assert all(value is not None for value in values.values())
    votes = [values["preference-bt@1", model] for model in MODELS]
    assert votes == sorted(votes, reverse=True, key=float)  # type: ignore[arg-type]  # none is None, as said above
    assert {(item.inputs, item.private, item.grade, item.histogram) for item in found.results} == {
        ("ratings", True, "exact", None)
    }
    counts = [item.count for item in found.results if item.metric == "preference-bt@1"]
    assert counts == pytest.approx([24, 24, 24])


@settings(max_examples=6, deadline=None)
@given(sites=st.integers(1, 20), seed=st.integers(0, 2**16))
def test_any_split_over_sites_gives_the_pooled_value(sites: int, seed: int) -> None:
    lines = opinions(SPEC, 1, RATERS)
    cuts = np.sort(np.random.default_rng(seed).integers(0, 25, size=sites - 1)).tolist()
    parts = tuple(
        sums_of(SPEC, lines_read([line for line in lines if line["rater"] in RATERS[begin:end]]))
        for begin, end in itertools.pairwise([0, *cuts, 24])
    )
    found = evaluate(SPEC, pooled(layout_of(SPEC), parts), None)
    for one, other in zip(found.results, together().results, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-9, abs=1e-12)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9, abs=1e-12)


WHERE = {
    "spec": st.sampled_from([SPEC.digest, SPEC.digest, SPEC.digest, "sha256:" + "0" * 64]),
    "rater": st.sampled_from(["r0", "r1", "r2"]),
    "prompt": st.sampled_from(["p0", "p1", "p2", "p3", "p9"]),
    "sample": st.integers(0, 2),
}
MODEL = st.sampled_from([*MODELS, "zeta"])
VOTES = st.fixed_dictionaries(
    WHERE | {"first": MODEL, "second": MODEL, "choice": st.sampled_from(["first", "second", "tie"])}
).filter(lambda line: line["first"] != line["second"])
EXTREME = st.sampled_from([0.0, 1e-300, 1.0, -1.0, 1e308, -1e308, 0.3])
SCORES = st.fixed_dictionaries(WHERE | {"model": MODEL, "score": EXTREME}).map(
    lambda line: line | {"lowest": -1e308, "highest": 1e308}
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(VOTES | SCORES, max_size=25))
def test_a_rater_less_changes_sums_by_at_most_the_bound(lines: list[dict[str, Any]]) -> None:
    """Whatever they say, however often, of whatever models, and whatever repeats what others say."""
    every = sums_of(SPEC, lines_read(lines))
    layout_of(SPEC).check(every)
    for rater in ("r0", "r1", "r2"):
        without = sums_of(SPEC, lines_read([line for line in lines if line["rater"] != rater]))
        assert distance(SPEC, every, without) <= bound(SPEC) * (1 + 1e-12)


def test_a_rater_of_very_many_votes_weighs_as_much_as_one_of_one() -> None:
    digest = SPEC.digest
    many = tuple(Vote("x", digest, "r", "p0", 0, "alpha", "beta", "first") for _ in range(100_000))
    both = sums_of(SPEC, Ratings(votes=many)), sums_of(SPEC, lines_read([vote(SPEC, "r", "first")]))
    assert distance(SPEC, *both) == 0
    assert distance(SPEC, both[0], sums_of(SPEC, Ratings())) == pytest.approx(1)


def test_scores_of_a_clip_that_cannot_be_measured_are_left_out() -> None:
    line = {"spec": SPEC.digest, "rater": "r", "prompt": "p0", "model": "alpha", "score": 3, "lowest": 1, "highest": 5}
    found = sums_of(SPEC, lines_read([line | {"sample": sample} for sample in (0, 1)]))
    alone = sums_of(SPEC, lines_read([line | {"sample": 0}]))
    assert distance(SPEC, found, alone) == 0
    assert alone["ratings/raters/human-correlation@1/moments"][0] == 1
    assert not any(values.any() for values in sums_of(SPEC, lines_read([line | {"sample": 1}])).values())


@pytest.mark.parametrize("pipeline", ["WanPipeline", "CogVideoXVideoToVideoPipeline"])
def test_clips_that_people_scored_are_the_specs_own(pipeline: str) -> None:
    """With what they start from, and so with their seeds; only those that somebody scored."""
    spec = make_spec([CORRELATION], pipeline=pipeline, generation={"samples": 2})
    judging = Judging(spec, lines_read(opinions(spec, 2, RATERS[:3])).used_by(spec))
    wanted = set(public_tasks(spec))
    found = [task for model in spec.models for task in judging.tasks(model)]
    assert found
    assert set(found) < wanted
    assert all(bool(task.condition) == (pipeline != "WanPipeline") for task in found)
