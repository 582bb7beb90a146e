"""What a clip adds to each block: bounded, once computed, and exactly the layout's parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from testkit.tiny import tiny_spec
from vdb_participant.data.video import Frames
from vdb_participant.embedded.scenes import Scene, render
from vdb_participant.measure.extractors.interface import LoadedExtractor, Vector
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.extractors.video import VideoExtractor
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.scores import SCORES
from vdb_participant.measure.shares import frechet_share, kernel_share, shares
from vdb_participant.models import inspect_weights
from vdb_shared.errors import StatisticError
from vdb_shared.layout import generated_block, layout_of
from vdb_shared.metrics.features import random_fourier_frequencies
from vdb_shared.spec import Spec

FRAMES = render(Scene("cross", "blue", "bouncing", "grey"), 2, frames=9, size=32)
PROMPT = "a blue ring bouncing on a noisy background"


@pytest.fixture(scope="session")
def spec(tiny_models: Path) -> Spec:
    return tiny_spec(tiny_models)


@pytest.fixture(scope="session")
def extractors(tiny_models: Path, spec: Spec) -> Mapping[str, LoadedExtractor]:
    return {
        extractor.id: load_extractor(inspect_weights(tiny_models / extractor.id), extractor, "cpu")
        for extractor in spec.extractors
    }


def test_shares_are_the_layouts_blocks_within_their_bounds(
    spec: Spec, extractors: Mapping[str, LoadedExtractor]
) -> None:
    layout = layout_of(spec)
    clip = Observation(FRAMES, extractors, PROMPT, 0.5)
    for side in ("public", "private"):
        found = {
            generated_block(side, "tiny-wan-a", metric.id, part): vector
            for metric in spec.metrics
            if metric.inputs == side
            for part, vector in shares(spec, metric, clip, private=side == "private")
        }
        prefix = f"{side}/tiny-wan-a/"
        blocks = {block.name: block for block in layout.blocks if block.name.startswith(prefix)}
        assert set(found) == {name for name in blocks if not name.endswith("/count")}
        for name, vector in found.items():
            assert vector.shape == (blocks[name].dims,)
            assert math.fsum(vector**2) <= blocks[name].bound_squared * (1 + 1e-12)


def test_scores_are_rescaled_to_their_range(spec: Spec, extractors: Mapping[str, LoadedExtractor]) -> None:
    clip = Observation(FRAMES, extractors, PROMPT, 2.5)
    first = {metric.id: next(shares(spec, metric, clip, private=True))[1][0] for metric in spec.metrics}
    assert first["latency@1"] == 0.25
    assert first["frames-per-second@1"] == pytest.approx(9 / 2.5 / 1000)
    assert first["clip-temp@1"] == pytest.approx((SCORES["clip-temp@1"](clip, "tiny-clip") + 1) / 2)
    assert first["clip-score@1"] == pytest.approx(SCORES["clip-score@1"](clip, "tiny-clip") / 100)


def test_times_beyond_the_limit_are_clipped(spec: Spec, extractors: Mapping[str, LoadedExtractor]) -> None:
    (metric,) = (metric for metric in spec.metrics if metric.id == "latency@1" and metric.inputs == "public")
    moments, histogram = shares(spec, metric, Observation(FRAMES, extractors, PROMPT, 99.0), private=False)
    np.testing.assert_array_equal(moments[1], [1.0, 1.0])
    assert histogram[1].argmax() == 31


def test_features_are_clipped_to_the_limit() -> None:
    features = np.array([3.0, 4.0])
    share = frechet_share(features, 10.0)
    np.testing.assert_allclose(share, [0.3, 0.4, 0.09, 0.12 * math.sqrt(2), 0.16])
    far = frechet_share(features * 1e6, 10.0)
    np.testing.assert_allclose(far[:2], [0.6, 0.8])
    assert np.linalg.norm(far) <= math.sqrt(2)


def test_kernel_shares_have_length_one() -> None:
    manifest = "sha256:" + "3" * 64
    features = np.linspace(-2, 2, 5)
    share = kernel_share(features, manifest, 64, 2.0)
    assert np.linalg.norm(share) == pytest.approx(1, abs=1e-12)
    phases = random_fourier_frequencies(manifest, 5, 64, 2.0) @ features
    np.testing.assert_allclose(share, np.concatenate([np.cos(phases), np.sin(phases)]) / math.sqrt(32))


class _CountingExtractor(VideoExtractor):
    """A video extractor that only counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def embed_clip(self, frames: Frames) -> Vector:
        self.asked += 1
        return np.zeros(16)


def test_features_are_computed_once_for_all_metrics(spec: Spec) -> None:
    extractor = _CountingExtractor()
    clip = Observation(FRAMES, {"tiny-videomae": extractor})
    for metric in spec.metrics:
        if metric.extractor == "tiny-videomae":
            assert list(shares(spec, metric, clip, private=True))
    assert extractor.asked == 1


def test_what_is_not_finite_is_an_error(spec: Spec) -> None:
    with pytest.raises(StatisticError, match="must count as failed"):
        frechet_share(np.array([np.nan, 0.0]), 1.0)
    (metric,) = (metric for metric in spec.metrics if metric.id == "latency@1" and metric.inputs == "public")
    with pytest.raises(StatisticError, match="must count as failed"):
        list(shares(spec, metric, Observation(FRAMES, {}, PROMPT), private=False))
