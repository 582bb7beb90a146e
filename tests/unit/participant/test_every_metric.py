"""Every metric of clips: bounded whatever its extractor returns, and the same however records are split over sites.

Metrics of people's ratings: test_every_rating.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.metric_specs import DIGEST, make_spec
from testkit.seen import Seen
from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import Sound
from vdb_participant.measure.checking import checked_clip
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.scores import SCORES
from vdb_participant.measure.shares import shares
from vdb_shared.checked_clips import fits
from vdb_shared.errors import StatisticError
from vdb_shared.evaluation import Evaluation, evaluate
from vdb_shared.layout import contributions_at_most, count_block, generated_block, layout_of, reference_block
from vdb_shared.metrics.catalogue import CATALOGUE, MetricDefinition, definition_of
from vdb_shared.metrics.features import outcome
from vdb_shared.metrics.statistic import Statistics, Tally, pooled
from vdb_shared.spec import Spec

DIMENSION, LANES = 16, 8
OF_CLIPS = {name: definition for name, definition in CATALOGUE.items() if not definition.of_ratings}
MODELS = {"prompt": "WanPipeline", "condition": "CogVideoXVideoToVideoPipeline"}

Sides = Mapping[str, Any]


def spec_for(definition: MetricDefinition, inputs: str = "public") -> Spec:
    """A spec with one metric, its extractor and its settings."""
    metric: dict[str, Any] = {"id": definition.id, "inputs": inputs}
    chosen = {"limit": "4", "features": LANES if definition.finish != "coverage" else DIMENSION, "bandwidth": "1"}
    metric |= {name: chosen[name] for name, use in definition.uses.items() if use == "required"}
    extractors = []
    if definition.architectures:
        metric["extractor"] = "seen"
        extractors = [
            {"id": "seen", "architecture": definition.architectures[0], "manifest": DIGEST, "dimension": DIMENSION}
        ]
    size = 176 if definition.id == "ms-ssim@1" else 64
    pipeline = MODELS["condition" if "condition" in definition.needs else "prompt"]
    return make_spec(
        [metric],
        generation={"private_share": 1} if inputs == "private" else None,
        extractors=extractors,
        pipeline=pipeline,
        video={"frames": 17 if definition.least_frames > 9 else 9, "height": size, "width": size},
    )


def moving(seed: int, count: int = 9, size: int = 64) -> Frames:
    """A textured picture that drifts, with noise of its own."""
    generator = np.random.default_rng(seed)
    texture = generator.integers(0, 256, (size // 4, size // 4, 3)).repeat(4, axis=0).repeat(4, axis=1)
    step = int(generator.integers(1, 4))
    drift = np.array([np.roll(texture, number * step, axis=1) for number in range(count)])
    return np.clip(drift + generator.normal(size=drift.shape) * 4, 0, 255).astype(np.uint8)


def unit(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


@cache
def shown_for(metric: str, kind: int) -> Frames:
    """Frames as small and few as a metric takes them."""
    return moving(kind, count=17 if metric == "fvmd-dis@1" else 9, size=176 if metric == "ms-ssim@1" else 64)


def clip_of(seed: int, frames: Frames | None = None, metric: str = "", **changes: Any) -> Observation:
    """A clip with features of its own; its frames are one of three."""
    generator = np.random.default_rng(seed)
    seen = Seen(
        frames=unit(generator.normal(size=(9, DIMENSION))),
        text=unit(generator.normal(size=DIMENSION)),
        clip=generator.normal(size=DIMENSION),
        sound=unit(generator.normal(size=DIMENSION)),
        chances=generator.dirichlet(np.ones(DIMENSION)),
        quality=generator.uniform(size=9),
        anchors=np.eye(DIMENSION),
        together=float(generator.uniform(-1, 1)),
    )
    shown = shown_for(metric, seed % 3) if frames is None else frames
    sound = Sound(generator.normal(size=(1, 900)).astype(np.float32) * 0.1, 800)
    found = Observation(
        shown,
        {"seen": seen},
        "words",
        float(generator.uniform(0.1, 3)),
        fps=8.0,
        start=shown_for(metric, 0),
        sound=sound,
    )
    return replace(found, **changes)


def added(spec: Spec, clip: Observation, *, private: bool) -> dict[str, Any]:
    return dict(shares(spec, spec.metrics[0], clip, private=private))


def test_there_is_a_score_for_every_metric_that_needs_one() -> None:
    scored = {name for name, definition in OF_CLIPS.items() if definition.finish in {"mean", "rate"}}
    assert set(SCORES) == scored


def allowed_inputs() -> Iterator[tuple[str, str]]:
    for definition in OF_CLIPS.values():
        yield definition.id, "public"
        if not definition.public_only:
            yield definition.id, "private"


@pytest.mark.parametrize(("metric", "inputs"), list(allowed_inputs()))
def test_a_clips_shares_are_the_layouts_blocks_within_their_bounds(metric: str, inputs: str) -> None:
    spec = spec_for(definition_of(metric), inputs)
    blocks = {block.name: block for block in layout_of(spec).blocks}
    for seed in range(6):
        for part, vector in added(spec, clip_of(seed, metric=metric), private=inputs == "private").items():
            block = blocks[generated_block(inputs, "alpha", metric, part)]
            assert vector.shape == (block.dims,)
            assert math.fsum(vector**2) <= block.bound_squared * (1 + 1e-12)


@cache
def added_once(metric: str, seed: int, private: bool) -> dict[str, Any]:
    return added(spec_for(definition_of(metric)), clip_of(seed, metric=metric), private=private)


def sums_of(spec: Spec, seeds: Mapping[str, range]) -> Statistics:
    """What a site adds up: a range of clips for the reference and for each model."""
    tally = Tally(layout_of(spec), capacity=contributions_at_most(spec))
    metric = spec.metrics[0]
    for side, chosen in seeds.items():
        for seed in chosen:
            if side == "reference":
                tally.add(count_block("reference"), np.ones(1))
                for part, vector in added_once(metric.id, seed, True).items():
                    tally.add(reference_block(metric.id, part), vector)
            else:
                tally.add(count_block("public", side), outcome(True))
                for part, vector in added_once(metric.id, seed, False).items():
                    tally.add(generated_block("public", side, metric.id, part), vector)
    return tally.sums()


def clips_for(metric: str) -> dict[str, range]:
    sides = {"alpha": range(24), "beta": range(100, 124)}
    return sides | ({"reference": range(200, 224)} if definition_of(metric).compares_with_reference else {})


@cache
def together(metric: str) -> Evaluation:
    """What one site with all clips finds."""
    spec = spec_for(definition_of(metric))
    return evaluate(spec, sums_of(spec, clips_for(metric)), None)


@pytest.mark.parametrize("metric", OF_CLIPS)
@settings(max_examples=3, deadline=None)
@given(sites=st.integers(1, 20), seed=st.integers(0, 2**16))
def test_any_split_over_sites_gives_the_pooled_value(metric: str, sites: int, seed: int) -> None:
    spec, sides = spec_for(definition_of(metric)), clips_for(metric)
    cuts = np.sort(np.random.default_rng(seed).integers(0, 25, size=sites - 1)).tolist()
    edges = [0, *cuts, 24]
    parts = tuple(
        sums_of(spec, {side: chosen[begin:end] for side, chosen in sides.items()})
        for begin, end in itertools.pairwise(edges)
    )
    found = evaluate(spec, pooled(layout_of(spec), parts), None)
    for one, other in zip(found.results, together(metric).results, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-9, abs=1e-12)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9, abs=1e-12)


HOSTILE: Mapping[str, Any] = {
    "nan": np.nan,
    "infinite": np.inf,
    "huge": 1e300,
    "large": 1e9,
    "zero": 0.0,
    "negative": -5.0,
    "tiny": 1e-300,
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("metric", [name for name, definition in OF_CLIPS.items() if definition.architectures])
def test_whatever_an_extractor_returns_is_bounded_or_makes_the_clip_a_failed_one(metric: str, kind: str) -> None:
    value = HOSTILE[kind]
    spec = spec_for(definition_of(metric))
    blocks = {block.name: block for block in layout_of(spec).blocks}
    bad = Seen(
        frames=np.full((9, DIMENSION), value),
        text=np.full(DIMENSION, value),
        clip=np.full(DIMENSION, value),
        sound=np.full(DIMENSION, value),
        chances=np.full(DIMENSION, value),
        quality=np.full(9, value),
        anchors=np.eye(DIMENSION),
        together=value,
    )
    with np.errstate(all="ignore"):
        try:
            found = added(spec, clip_of(0, extractors={"seen": bad}), private=False)
        except StatisticError:
            return
    for part, vector in found.items():
        block = blocks[generated_block("public", "alpha", metric, part)]
        assert np.isfinite(vector).all()
        assert math.fsum(vector**2) <= block.bound_squared * (1 + 1e-12)


ODD: Mapping[str, Frames] = {
    "black": np.zeros((9, 64, 64, 3), dtype=np.uint8),
    "white": np.full((9, 64, 64, 3), 255, dtype=np.uint8),
    "one frame": moving(5, count=1),
    "two frames": moving(5, count=2),
    "still": moving(5)[[0] * 9],
    "small": moving(5, size=16),
    "checkered": np.indices((9, 64, 64)).sum(axis=0)[..., None].repeat(3, axis=-1).astype(np.uint8) % 2 * 255,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("metric", OF_CLIPS)
def test_whatever_a_clip_shows_it_is_bounded_or_a_failed_one(metric: str, kind: str) -> None:
    spec = spec_for(definition_of(metric))
    blocks = {block.name: block for block in layout_of(spec).blocks}
    clip = clip_of(1, frames=ODD[kind], start=ODD[kind])
    try:
        found = added(spec, clip, private=False)
    except StatisticError:
        return
    for part, vector in found.items():
        assert np.isfinite(vector).all()
        assert math.fsum(vector**2) <= blocks[generated_block("public", "alpha", metric, part)].bound_squared * (
            1 + 1e-12
        )


@pytest.mark.parametrize("metric", [name for name, definition in OF_CLIPS.items() if definition.needs])
def test_what_is_missing_is_named(metric: str) -> None:
    needs = definition_of(metric).needs
    missing: dict[str, Any] = {}
    if "condition" in needs:
        missing["start"] = None
    if "sound" in needs:
        missing["sound"] = None
    if "timing" in needs:
        missing["seconds"] = float("nan")
    if not missing:
        pytest.skip("words are never missing: a prompt has at least one character")
    with pytest.raises(StatisticError, match=r"start|sound|finite"):
        added(spec_for(definition_of(metric)), clip_of(2, **missing), private=False)


@pytest.mark.parametrize("metric", OF_CLIPS)
def test_what_is_said_of_a_clip_made_twice_fits_the_spec(metric: str) -> None:
    """The auditor counts the numbers that a metric has; whatever else a site says would count as nothing said."""
    spec = spec_for(definition_of(metric))
    named = {
        generated_block("public", "alpha", metric, part): vector
        for part, vector in added_once(metric, 0, False).items()
    }
    said = checked_clip(spec, "alpha", DIGEST, shown_for(metric, 0), named)
    assert fits(spec, said)
    if said.scores or said.vectors:
        assert not fits(spec, said.model_copy(update={"scores": {}, "vectors": {}}))
