"""One record of a real site moves the lanes of a whole session by at most s C + sqrt(d), and public lanes not at all.

The site is real in everything: files on disk, tiny models that generate from words and from videos, tiny extractors, several
metrics on public and private inputs, and the clips of its prompts in a store that both neighbours share, so that a latency is
the same number in both. Both are encoded with the same uniforms, as the bound means it.

Source: protos/README.md §8.1, §8.2.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from testkit.conditioned import conditioned_spec, video_condition, write_models, write_records
from testkit.tiny import tiny_spec
from vdb_participant.data.dataset import Dataset
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.session.contribution import private_lanes
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.mechanism import encode, uniform_bytes_needed
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import Spec
from vdb_shared.tasks import public_tasks

MODELS = ("tiny-wan-a", "tiny-i2v", "tiny-v2v")
"""From words, from a picture (the first frame of the record's own video), from the whole of it."""
METRICS = ("temporal-flickering@1", "clip-temp@1", "latency@1", "frechet-videomae@1", "mmd-rff@1")
LINES: tuple[tuple[str, str | None], ...] = (
    ("one", "red"),
    ("two", "blue"),
    ("three", None),
    ("four", "green"),
    ("five", "green"),
    ("one", "yellow"),
)
CLIPS = ("red", "blue", "green", "yellow", "purple")
"""The last belongs to no line."""

REPETITIONS = 20
"""Of the rounding, with fresh uniforms each time."""

Site = tuple[tuple[tuple[str, str | None], ...], tuple[str, ...]]
"""Lines of prompts.jsonl and the clips that are there."""

Measure = Callable[[Spec, Site], Statistics]


@dataclass(frozen=True)
class Neighbour:
    """A site that lacks one record of the whole one, or a part of it.

    Attributes:
        lines: numbers of the lines that are not there.
        clips: names of the clips that are not there.
        unnamed: numbers of lines that name no clip, as theirs is not there.
    """

    lines: tuple[int, ...] = ()
    clips: tuple[str, ...] = ()
    unnamed: tuple[int, ...] = ()

    @property
    def site(self) -> Site:
        left = tuple(
            (words, None if number in self.unnamed else clip)
            for number, (words, clip) in enumerate(LINES)
            if number not in self.lines
        )
        return left, tuple(clip for clip in CLIPS if clip not in self.clips)


NEIGHBOURS: Mapping[str, Neighbour] = {
    "a video without words": Neighbour(clips=("purple",)),
    "a prompt without a video": Neighbour(lines=(2,)),
    "a prompt with its video": Neighbour(lines=(1,), clips=("blue",)),
    "words that stand twice, with the second video": Neighbour(lines=(5,), clips=("yellow",)),
    "words that stand twice, with the first video": Neighbour(lines=(0,), clips=("red",)),
    "the words of a pair alone": Neighbour(lines=(1,)),
    "one of two prompts that name one video, so that it is left to the other": Neighbour(lines=(3,)),
    "the other of the two": Neighbour(lines=(4,)),
    "one of two prompts that name one video, with the video": Neighbour(lines=(3,), clips=("green",), unnamed=(4,)),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), tiny_models)


@pytest.fixture(scope="module")
def make_spec(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Spec]:
    video = video_condition(models, tmp_path_factory.mktemp("videos"), "red")

    def make(metrics: tuple[str, ...], limit: str | None = None) -> Spec:
        """Return a spec with these metrics on public and on private inputs; a tiny limit takes every record to its bounds."""
        base = conditioned_spec(models, MODELS, [("a circle that dances", video)])
        found = tiny_spec(models, pipelines=("tiny-wan-a",), metrics=metrics).metrics
        if limit is not None:
            found = tuple(
                metric.model_copy(update={"limit": Decimal(limit)}) if metric.limit else metric for metric in found
            )
        return base.model_copy(update={"metrics": found})

    return make


@pytest.fixture(scope="module")
def measure(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """Measure a site for real, once for each spec and site; all share one store of clips."""
    store, known = tmp_path_factory.mktemp("store"), dict[tuple[str, Site], Statistics]()

    def measured(spec: Spec, site: Site) -> Statistics:
        if (spec.digest, site) not in known:
            lines, clips = site
            data = write_records(tmp_path_factory.mktemp("site"), lines, {clip: clip for clip in clips})
            found = measure_site(
                spec,
                public_tasks(spec),
                Dataset.open(data, frames=spec.video.frames),
                Equipment(models, models, "cpu"),
                ClipStore(store),
            )
            assert not found.problems
            assert not any(sample.failure for sample in found.samples)
            known[spec.digest, site] = found.statistics
        return known[spec.digest, site]

    return measured


def moved(terms: SealTerms, before: Statistics, after: Statistics, uniforms: bytes) -> tuple[float, int]:
    """Return the L2 distance of the private lanes, and how many public lanes differ."""
    one, other = (encode(terms.layout, terms.calibration, part, uniforms) for part in (before, after))
    private = private_lanes(terms.layout)
    steps = [int(step) for step in (one - other)[private]]
    return math.sqrt(sum(step * step for step in steps)), int(np.count_nonzero((one - other)[~private]))


def weighted_norm(terms: SealTerms, before: Statistics, after: Statistics) -> float:
    square = sum(
        float(block.weight) ** 2 * float(np.sum((before[block.name] - after[block.name]) ** 2))
        for block in terms.layout.blocks
        if block.private
    )
    return math.sqrt(square)


@pytest.mark.parametrize("kind", NEIGHBOURS)
def test_a_record_more_or_less_moves_lanes_by_at_most_the_sensitivity(
    make_spec: Callable[..., Spec], measure: Measure, kind: str
) -> None:
    spec = make_spec(METRICS)
    terms = seal_terms(spec, range(4))
    before, after = measure(spec, (LINES, CLIPS)), measure(spec, NEIGHBOURS[kind].site)
    clip_norm = math.sqrt(terms.layout.clip_norm_squared())
    assert 0 < weighted_norm(terms, before, after) <= clip_norm * (1 + 1e-12)
    sensitivity = float(terms.calibration.sensitivity)
    for _ in range(REPETITIONS):
        distance, public = moved(
            terms, before, after, os.urandom(uniform_bytes_needed(terms.layout, terms.calibration))
        )
        assert 0 < distance <= sensitivity
        assert public == 0


def test_public_figures_are_there_and_no_part_of_the_bound(make_spec: Callable[..., Spec], measure: Measure) -> None:
    """So that "no public lane differs" says something: they hold clips, those of the public prompts."""
    spec = make_spec(METRICS)
    found = measure(spec, (LINES, CLIPS))
    for model in MODELS:
        assert found[f"public/{model}/count"].tolist() == [1.0, 0.0]
        assert found[f"public/{model}/frechet-videomae@1/moments"].any()
        assert found[f"private/{model}/count"].sum() > 0


def test_a_record_at_its_bounds_nearly_reaches_the_sensitivity(
    make_spec: Callable[..., Spec], measure: Measure
) -> None:
    """A prompt with its video, measured by metrics that it takes to their bounds: the limit is below any real value."""
    spec = make_spec(("latency@1", "frechet-videomae@1", "mmd-rff@1"), "0.000001")
    terms = seal_terms(spec, range(4))
    before = measure(spec, (LINES, CLIPS))
    after = measure(spec, NEIGHBOURS["a prompt with its video"].site)
    uniforms = os.urandom(uniform_bytes_needed(terms.layout, terms.calibration))
    distance, public = moved(terms, before, after, uniforms)
    assert 0.99 * float(terms.calibration.sensitivity) < distance <= float(terms.calibration.sensitivity)
    assert public == 0


def test_two_records_exceed_the_bound(make_spec: Callable[..., Spec], measure: Measure) -> None:
    """So the property can fail: the sum of two records at their bounds is beyond what is promised for one."""
    spec = make_spec(("latency@1", "frechet-videomae@1", "mmd-rff@1"), "0.000001")
    terms = seal_terms(spec, range(4))
    before = measure(spec, (LINES, CLIPS))
    after = measure(spec, Neighbour(lines=(0, 1), clips=("red", "blue")).site)
    uniforms = os.urandom(uniform_bytes_needed(terms.layout, terms.calibration))
    assert moved(terms, before, after, uniforms)[0] > 1.2 * float(terms.calibration.sensitivity)
