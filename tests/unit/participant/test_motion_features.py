"""Features of tracked points, against a plain transcription of the published histograms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from testkit.moving import flickering, moving, still
from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.tracking import (
    DIMENSION,
    derivatives,
    direction_histograms,
    motion_features,
    track,
)
from vdb_shared.errors import StatisticError

Values = NDArray[np.float64]


def plain_histograms(vectors: list[list[list[float]]]) -> list[float]:
    """FVMD's histograms of one segment, vector by vector: (16, 400, 2) becomes 512 numbers."""
    result = []
    for time in range(0, 16, 4):
        for row in range(0, 20, 5):
            for column in range(0, 20, 5):
                histogram = [0.0] * 8
                for t in range(time, time + 4):
                    for i in range(row, row + 5):
                        for j in range(column, column + 5):
                            x, y = vectors[t][20 * i + j]
                            direction = min(max((math.atan2(x, y) + math.pi) // (2 * math.pi / 8), 0), 7)
                            length = min(math.sqrt(x * x + y * y), 255)
                            histogram[int(direction)] += math.ceil(min(math.log2(length + 1), 8)) / 8
                result += histogram
    return result


def plain_features(places: Values) -> list[float]:
    velocities, accelerations = np.zeros_like(places), np.zeros_like(places)
    for time in range(1, len(places)):
        velocities[time] = places[time] - places[time - 1]
    for time in range(2, len(places)):
        accelerations[time] = velocities[time] - velocities[time - 1]
    return plain_histograms(velocities.tolist()) + plain_histograms(accelerations.tolist())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-9, 0.01, 1.0, 30.0, 1000.0]))
def test_histograms_are_the_plain_loop(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(16, 400, 2)) * scale
    vectors[rng.random((16, 400)) < 0.2] = 0
    whole = np.rint(vectors)
    for values in (vectors, whole):
        np.testing.assert_allclose(direction_histograms(values), plain_histograms(values.tolist()), rtol=0, atol=1e-9)


def test_directions_and_magnitudes() -> None:
    vectors = np.zeros((16, 400, 2))
    vectors[5, 7] = [3, 0]  # to the right: frame 5 is in the second layer, column 7 in the second cube
    histogram = direction_histograms(vectors)
    cube = (1 * 4 + 0) * 4 + 1
    # atan2(3, 0) = π/2 lies on the edge of bin 6; log2(1 + 3) = 2 of 8
    assert np.flatnonzero(histogram).tolist() == [cube * 8 + 6]
    assert histogram[cube * 8 + 6] == 2 / 8


def test_a_vector_without_length_counts_nothing() -> None:
    assert not direction_histograms(np.zeros((16, 400, 2))).any()
    assert direction_histograms(np.full((16, 400, 2), 1e-9)).sum() == 16 * 400 / 8


def test_features_of_even_movement() -> None:
    steps = [np.full((256, 256, 2), [2.0, -1.0], dtype=np.float32)] * 15
    places = track(steps)
    assert places.shape == (16, 400, 2)
    np.testing.assert_allclose(places[0, [0, 19, 380, 399]], [[8, 8], [248, 8], [8, 248], [248, 248]], atol=1e-12)
    np.testing.assert_array_equal(places[15] - places[0], np.broadcast_to([30.0, -15.0], (400, 2)))
    velocities, accelerations = derivatives(places)
    assert not velocities[0].any()
    np.testing.assert_array_equal(velocities[1:], np.broadcast_to([2.0, -1.0], (15, 400, 2)))
    assert not accelerations.any()


def test_points_move_by_the_flow_at_their_place() -> None:
    y, x = np.mgrid[0:256, 0:256].astype(np.float32)
    turning = np.stack([(127.5 - y) / 64, (x - 127.5) / 64], axis=-1)
    places = track([turning] * 2)
    start = places[0]
    expected = start + np.stack([(127.5 - start[:, 1]) / 64, (start[:, 0] - 127.5) / 64], axis=-1)
    np.testing.assert_allclose(places[1], expected, rtol=0, atol=1 / 128 + 1e-9)
    assert not (places[1:] * 64 % 1).any()


def test_points_outside_go_on_with_the_border() -> None:
    steps = [np.full((256, 256, 2), [40.0, 0.0], dtype=np.float32)] * 15
    assert track(steps)[15, 0, 0] == 8 + 15 * 40


def _tracked(clip: Frames, flow: NDArray[np.float32]) -> Values:
    return motion_features(clip, lambda _earlier, _later: flow)


@pytest.mark.parametrize("frames", [16, 17, 30])
def test_one_segment_is_the_plain_loop(frames: int) -> None:
    flow = np.random.default_rng(frames).normal(size=(256, 256, 2)).astype(np.float32) * 3
    clip = still(frames, 32, 32)
    features = _tracked(clip, flow)
    assert features.shape == (DIMENSION,) == (1024,)
    assert features.dtype == np.float64
    np.testing.assert_allclose(features, plain_features(track([flow] * 15)), rtol=0, atol=1e-9)


def test_segments_share_a_frame_and_are_averaged() -> None:
    clip = flickering(moving(33, 64, 64, right=1), 8)
    parts = [motion_features(clip[:16]), motion_features(clip[15:31])]
    np.testing.assert_array_equal(motion_features(clip[:31]), (parts[0] + parts[1]) / 2)
    np.testing.assert_array_equal(motion_features(clip), motion_features(clip[:31]))


def test_a_still_clip_has_no_features_and_the_bound_holds() -> None:
    assert not motion_features(still(16, 48, 64)).any()
    wild = np.random.default_rng(0).normal(size=(16, 400, 2)) * 1000
    histogram = direction_histograms(wild)
    assert histogram.reshape(64, 8).sum(axis=1).max() == 100
    assert np.linalg.norm(np.concatenate([histogram, histogram])) <= 100 * math.sqrt(128)


def test_short_clips_are_refused() -> None:
    with pytest.raises(StatisticError, match="FVMD needs 16 frames, found 15"):
        motion_features(still(15, 64, 64))


def test_irregular_movement_is_far_from_even_movement() -> None:
    clip = moving(16, 96, 96, right=2)
    features = motion_features(clip)
    distances = []
    for strength in (8, 16, 32, 64, 128):
        distances.append(float(np.linalg.norm(motion_features(flickering(clip, strength)) - features)))
    assert distances == sorted(distances)
    other = motion_features(moving(16, 96, 96, right=2, seed=4))
    shuffled = motion_features(clip[np.random.default_rng(2).permutation(16)])
    assert np.linalg.norm(other - features) < np.linalg.norm(shuffled - features) / 2
