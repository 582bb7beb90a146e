"""Scores of frames and of embeddings, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import mean_squared_error

from vdb_participant.data.video import Frames
from vdb_participant.measure.alignment import clip_score, clip_temporal_consistency
from vdb_participant.measure.efficiency import frames_per_second, latency
from vdb_participant.measure.frames import temporal_flickering
from vdb_shared.errors import StatisticError


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4), st.just(3))))
def test_flickering_is_the_plain_loop(frames: Frames) -> None:
    total, count = 0, 0
    for index in range(len(frames) - 1):
        for before, after in zip(frames[index].ravel().tolist(), frames[index + 1].ravel().tolist(), strict=True):
            total += abs(after - before)
            count += 1
    assert temporal_flickering(frames) == pytest.approx((255 - total / count) / 255, abs=1e-15)


def test_flickering_of_extremes() -> None:
    still = np.full((4, 8, 8, 3), 77, dtype=np.uint8)
    assert temporal_flickering(still) == 1.0
    blinking = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    blinking[::2] = 255
    assert temporal_flickering(blinking) == 0.0


def test_flickering_of_bits_is_their_squared_error() -> None:
    # For pictures of 0 and 1 the absolute difference is the squared one, which scikit-image computes.
    frames = np.random.default_rng(0).integers(0, 2, (6, 16, 16, 3), dtype=np.uint8)
    errors = [mean_squared_error(frames[index], frames[index + 1]) for index in range(5)]
    assert temporal_flickering(frames) == pytest.approx((255 - np.mean(errors)) / 255, abs=1e-14)


def test_one_frame_has_no_time() -> None:
    with pytest.raises(StatisticError, match="needs two frames, found 1"):
        temporal_flickering(np.zeros((1, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(StatisticError, match="needs two frames, found 1"):
        clip_temporal_consistency(np.ones((1, 4)))


def test_clip_score_clamps_each_frame() -> None:
    text = np.array([1.0, 0.0])
    angles = np.radians([0, 60, 90, 180])
    frames = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert clip_score(frames, text) == pytest.approx((100 + 50 + 0 + 0) / 4, abs=1e-12)


def test_temporal_consistency_is_not_clamped() -> None:
    angles = np.radians([0, 60, 240, 240])
    frames = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert clip_temporal_consistency(frames) == pytest.approx((0.5 - 1 + 1) / 3, abs=1e-12)


def test_a_direction_that_does_not_exist_is_not_a_score() -> None:
    assert math.isnan(clip_score(np.full((2, 3), np.nan), np.array([1.0, 0, 0])))


def test_times() -> None:
    assert latency(2.5) == 2.5
    assert frames_per_second(9, 0.5) == 18.0
