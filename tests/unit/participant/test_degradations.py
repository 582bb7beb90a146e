"""Spoilt clips: the same everywhere, worse with every strength, and seen by the metrics that are made to see them."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest

from vdb_participant.embedded.scenes import render, scenes
from vdb_participant.measure.frames import temporal_flickering
from vdb_participant.measure.motion.warping import warping_error
from vdb_participant.measure.paired.pixels import psnr
from vdb_participant.measure.paired.structure import ssim
from vdb_participant.synthetic.degradations import DEGRADATIONS, STRENGTHS

CLIPS = [render(scene, number, frames=17, size=32) for number, scene in enumerate(scenes(0, 6))]

DIGEST = "5d7fa5bf868b15f6"
"""First 16 digits of the digest over spoilt clips whose making is whole numbers but for one rounding."""


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_frames_keep_their_shape_and_depend_on_nothing_but_the_arguments(name: str) -> None:
    spoil = DEGRADATIONS[name]
    for strength in STRENGTHS:
        found = spoil(CLIPS[0], strength, 3)
        assert found.shape == CLIPS[0].shape
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, spoil(CLIPS[0], strength, 3))


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_every_strength_is_further_from_the_clean_clip(name: str) -> None:
    """Over a few clips; a single clip may by chance lose less to a greater strength."""
    means = [np.mean([min(psnr(DEGRADATIONS[name](clip, strength, seed), clip), 100.0) for seed, clip in enumerate(CLIPS)])
             for strength in STRENGTHS]  # fmt: skip
    assert all(later < earlier for earlier, later in pairwise(means))


@pytest.mark.parametrize(
    ("name", "score", "better"),
    [
        ("noise", lambda frames, _: temporal_flickering(frames), 1),
        ("flicker", lambda frames, _: temporal_flickering(frames), 1),
        ("noise", lambda frames, _: warping_error(frames), -1),
        ("flicker", lambda frames, _: warping_error(frames), -1),
        ("noise", ssim, 1),
        ("blur", ssim, 1),
    ],
)
def test_metrics_see_what_they_are_made_to_see(name: str, score: object, better: int) -> None:
    assert callable(score)
    means = [np.mean([score(clip, clip) for clip in CLIPS])]
    for strength in STRENGTHS:
        means.append(np.mean([score(DEGRADATIONS[name](clip, strength, s), clip) for s, clip in enumerate(CLIPS)]))
    assert all(better * later < better * earlier for earlier, later in pairwise(means))


def test_flickering_is_blind_to_a_frozen_clip_and_praises_it() -> None:
    """What docs/metrics-blindness.md warns of: a still picture has the best score."""
    frozen = [temporal_flickering(DEGRADATIONS["freeze"](clip, 5, 0)) for clip in CLIPS]
    assert frozen == [1.0] * len(CLIPS)


def test_the_spoilt_clips_are_the_same_on_every_machine() -> None:
    digest = hashlib.sha256()
    for name in ("frame drop", "shuffle", "freeze", "colour shift"):
        for strength in STRENGTHS:
            digest.update(DEGRADATIONS[name](CLIPS[0], strength, 1).tobytes())
    assert digest.hexdigest()[:16] == DIGEST
