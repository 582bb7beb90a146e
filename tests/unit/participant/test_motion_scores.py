"""Scores of movement against plain transcriptions of the published formulas, and on clips whose score is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from testkit.moving import flickering, moving, picture, still
from testkit.plain_motion import plain_consistency, plain_dynamic_degree, plain_smoothness, plain_warping_error
from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.consistency import frame_consistency
from vdb_participant.measure.motion.degree import dynamic_degree, motion_magnitude
from vdb_participant.measure.motion.flow import Flow, dis_flow
from vdb_participant.measure.motion.smoothness import halfway, motion_smoothness
from vdb_participant.measure.motion.tracking import motion_features
from vdb_participant.measure.motion.warping import visible, warping_error
from vdb_shared.errors import StatisticError


def invented(earlier: Frames, later: Frames) -> NDArray[np.float32]:
    """Return rough displacements of up to a few pixels, which follow from the two frames and nearly lead back."""
    sums = int(earlier.sum(dtype=np.int64)), int(later.sum(dtype=np.int64))
    level = np.random.default_rng(sorted(sums)).normal(size=2) * (2 if sums[0] < sums[1] else -2)
    rough = np.random.default_rng(sums).normal(size=(*earlier.shape[:2], 2)) * 0.4
    return np.asarray(level + rough, dtype=np.float32)


def nowhere(earlier: Frames, _later: Frames) -> NDArray[np.float32]:
    return np.zeros((*earlier.shape[:2], 2), dtype=np.float32)


def small_clip(frames: int = 5, height: int = 20, width: int = 26, seed: int = 0) -> Frames:
    return flickering(moving(frames, height, width, right=2, down=1, seed=seed), 25, seed=seed)


FLOWS = [invented, dis_flow]


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("seed", range(3))
def test_warping_error_is_the_plain_loop(seed: int, flow: Flow) -> None:
    clip = small_clip(seed=seed)
    assert warping_error(clip, flow) == pytest.approx(plain_warping_error(clip, flow), abs=1e-12)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("frames", "fps"), [(2, 8), (3, 5), (9, 8), (9, 12), (17, 24), (33, 30)])
def test_dynamic_degree_is_the_plain_loop(frames: int, fps: int, flow: Flow) -> None:
    for right in (0, 1, 2):
        clip = flickering(moving(frames, 20, 30, right=right), 4)
        if len(clip[:: max(1, round(fps / 8))]) > 1:
            assert dynamic_degree(clip, fps, flow) == plain_dynamic_degree(clip, fps, flow)


def test_dynamic_degree_is_the_plain_loop_near_its_threshold() -> None:
    clip = still(2, 16, 40)
    degrees = []
    for power in range(60):

        def flow(earlier: Frames, _later: Frames, power: int = power) -> NDArray[np.float32]:
            rough = np.random.default_rng(power).exponential(size=(*earlier.shape[:2], 2))
            return np.asarray(rough * 0.03 * 1.04**power, dtype=np.float32)

        degrees.append(dynamic_degree(clip, 8, flow))
        assert degrees[-1] == plain_dynamic_degree(clip, 8, flow)
    assert degrees[0] == 0.0
    assert degrees[-1] == 1.0


@pytest.mark.parametrize(
    ("fps", "interval"),
    [(1, 1), (8, 1), (11, 1), (12, 2), (Fraction(25, 2), 2), (15, 2), (20, 2), (24, 3), (28, 4), (30, 4), (60, 8)],
)
def test_dynamic_degree_takes_every_so_manieth_frame(fps: float | Fraction, interval: int) -> None:
    pairs: list[tuple[int, int]] = []

    def flow(earlier: Frames, later: Frames) -> NDArray[np.float32]:
        pairs.append((int(earlier[0, 0, 0]), int(later[0, 0, 0])))
        return nowhere(earlier, later)

    numbered = np.arange(33, dtype=np.uint8).reshape(33, 1, 1, 1) * np.ones((16, 16, 3), dtype=np.uint8)
    dynamic_degree(numbered, fps, flow)
    assert pairs == list(pairwise(range(0, 33, interval)))


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("frames", [3, 4, 5])
def test_smoothness_is_the_plain_loop(frames: int, flow: Flow) -> None:
    clip = small_clip(frames, 18, 20)
    assert motion_smoothness(clip, flow) == pytest.approx(plain_smoothness(clip, flow), abs=1e-12)


@pytest.mark.parametrize("flow", FLOWS)
def test_magnitude_is_the_plain_loop(flow: Flow) -> None:
    clip = small_clip()
    lengths = [
        math.hypot(u, v)
        for index in range(len(clip) - 1)
        for row in flow(clip[index], clip[index + 1]).tolist()
        for u, v in row
    ]
    assert motion_magnitude(clip, flow) == pytest.approx(sum(lengths) / len(lengths) / 20, rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_consistency_is_the_plain_loop(frames: int, dimension: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(frames, dimension))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert frame_consistency(features) == pytest.approx(plain_consistency(features.tolist()), abs=1e-12)


# Clips whose score is known.


def test_a_still_clip() -> None:
    clip = still(9, 32, 48)
    assert dynamic_degree(clip, 8) == 0.0
    assert motion_magnitude(clip) == 0.0
    assert warping_error(clip) == 0.0
    assert motion_smoothness(clip) == 1.0


def test_two_still_frames_do_not_move() -> None:
    assert dynamic_degree(still(2, 32, 48), 8) == 0.0
    assert dynamic_degree(moving(2, 32, 48, right=4), 8) == 1.0


def test_a_clip_moves_from_a_quarter_of_its_frames_on() -> None:
    # 16 sampled frames: round(4 * 16 / 16) = 4 of their 15 pairs.
    for moves, degree in [(3, 0.0), (4, 1.0)]:
        walk = moving(moves + 1, 32, 64, right=3)
        clip = np.concatenate([walk, np.repeat(walk[-1:], 16 - len(walk), axis=0)])
        assert dynamic_degree(clip, 8) == degree


def test_movement_is_looked_for_at_eight_frames_a_second() -> None:
    clip = moving(33, 64, 64, right=1)
    # A threshold of 1.5 pixels: one pixel a frame is under it, three pixels are above.
    assert dynamic_degree(clip, 8) == 0.0
    assert dynamic_degree(clip, 24) == 1.0
    assert dynamic_degree(clip, Fraction(24000, 1001)) == 1.0
    assert dynamic_degree(clip, 1) == 0.0


def test_magnitude_is_the_distance_in_shorter_sides() -> None:
    assert motion_magnitude(moving(5, 64, 96, right=3, down=-4)) == pytest.approx(5 / 64, rel=0.05)


def test_movement_by_whole_pixels_is_found_again_exactly() -> None:
    clip = moving(2, 24, 24, right=2)
    forward = np.full((24, 24, 2), [2, 0], dtype=np.float32)

    def exact(earlier: Frames, later: Frames) -> NDArray[np.float32]:
        return forward if np.array_equal(earlier, clip[0]) else -forward

    assert warping_error(clip, exact) == 0.0


def test_what_is_covered_next_is_not_seen() -> None:
    forward = np.zeros((20, 40, 2), dtype=np.float32)
    backward = np.zeros_like(forward)
    forward[5:15, 10:16, 0] = 6
    backward[5:15, 16:22, 0] = -6
    hidden = np.zeros((20, 40), dtype=bool)
    hidden[5:15, 16:22] = True  # background on which the square lies in the next frame
    np.testing.assert_array_equal(visible(forward, backward), ~hidden)


def test_what_leaves_the_frame_is_not_seen() -> None:
    forward = np.full((20, 40, 2), [3, -2], dtype=np.float32)
    seen = visible(forward, -forward)
    expected = np.zeros((20, 40), dtype=bool)
    expected[2:, :-3] = True
    np.testing.assert_array_equal(seen, expected)


def test_a_miss_of_more_than_half_a_squared_pixel_is_not_seen() -> None:
    still_flow = np.zeros((4, 4, 2), dtype=np.float32)
    for length, seen in [(0.70, True), (0.72, False)]:
        # |f + b|² > 0.01 (|f|² + |b|²) + 0.5 with f = 0 begins at |b|² = 0.5 / 0.99, 0.7107 pixels
        back = np.full_like(still_flow, [length, 0])
        assert visible(still_flow, back).all() == seen


def test_pairs_without_a_visible_pixel_are_left_out() -> None:
    clip = np.concatenate([moving(2, 24, 24, right=2), picture(24, 24, seed=9)[np.newaxis]])
    forward = np.full((24, 24, 2), [2, 0], dtype=np.float32)

    def flow(earlier: Frames, later: Frames) -> NDArray[np.float32]:
        if any(np.array_equal(frame, clip[2]) for frame in (earlier, later)):
            return np.full((24, 24, 2), 1000, dtype=np.float32)
        return forward if np.array_equal(earlier, clip[0]) else -forward

    assert warping_error(clip, flow) == 0.0
    with pytest.raises(StatisticError, match="two consecutive frames that show the same, found none"):
        warping_error(clip[1:], flow)


def test_largest_errors() -> None:
    clip = np.zeros((3, 16, 16, 3), dtype=np.uint8)
    clip[1] = 255
    assert warping_error(clip, nowhere) == 3.0
    assert motion_smoothness(clip, nowhere) == 0.0


def test_the_middle_of_an_even_movement_is_the_real_frame() -> None:
    clip = moving(3, 48, 64, right=2, down=1)
    inner = np.abs(halfway(clip[0], clip[2]).astype(int) - clip[1])[6:-6, 6:-6]
    assert inner.mean() < 1
    assert motion_smoothness(clip) > 0.98


def test_the_middle_is_the_same_from_both_sides() -> None:
    clip = small_clip(3, 32, 48)
    np.testing.assert_array_equal(halfway(clip[0], clip[2]), halfway(clip[2], clip[0]))


def test_the_last_of_an_even_number_of_frames_is_not_interpolated() -> None:
    clip = small_clip(6)
    assert motion_smoothness(clip) == motion_smoothness(clip[:5])


def test_consistency_clamps_each_cosine() -> None:
    angles = np.radians([0, 60, 180])
    frames = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert frame_consistency(frames) == pytest.approx(((0.5 + 0.5) / 2 + 0) / 2, abs=1e-12)
    assert frame_consistency(np.tile([0.6, 0.8], (4, 1))) == pytest.approx(1, abs=1e-15)
    assert math.isnan(frame_consistency(np.array([[1.0, 0.0], [np.nan, np.nan]])))


# Degradations.

STRENGTHS = (0, 4, 8, 16, 32, 64)


@pytest.fixture(scope="module")
def clean() -> Frames:
    return moving(17, 64, 96, right=2, down=1)


def test_the_stronger_the_noise_the_worse_the_scores(clean: Frames) -> None:
    clips = [flickering(clean, strength) for strength in STRENGTHS]
    errors = [warping_error(clip) for clip in clips]
    assert errors == sorted(errors)
    assert len(set(errors)) == len(errors)
    smoothness = [motion_smoothness(clip) for clip in clips]
    assert smoothness == sorted(smoothness, reverse=True)
    assert len(set(smoothness)) == len(smoothness)


def test_shuffled_frames_are_worse(clean: Frames) -> None:
    shuffled = clean[np.random.default_rng(1).permutation(len(clean))]
    assert warping_error(shuffled) > 10 * warping_error(clean)
    assert motion_smoothness(shuffled) < motion_smoothness(clean) - 0.05


def test_a_frozen_clip_has_stopped(clean: Frames) -> None:
    magnitudes, degrees = [], []
    for kept in (17, 9, 5, 1):
        frozen = np.concatenate([clean[:kept], np.repeat(clean[kept - 1 : kept], 17 - kept, axis=0)])
        magnitudes.append(motion_magnitude(frozen))
        degrees.append(dynamic_degree(frozen, 8))
    assert magnitudes == sorted(magnitudes, reverse=True)
    assert magnitudes[0] > 0
    assert magnitudes[-1] == 0
    assert (degrees[0], degrees[-1]) == (1.0, 0.0)


def test_twice_as_fast_is_twice_the_magnitude(clean: Frames) -> None:
    assert motion_magnitude(clean[::2]) == pytest.approx(2 * motion_magnitude(clean), rel=0.05)


def test_stutter_is_not_smooth(clean: Frames) -> None:
    stutter = clean.copy()
    stutter[1::2] = clean[:-1:2]
    assert motion_smoothness(stutter) < motion_smoothness(clean) - 0.02


# Clips from which nothing much can be told.

SCORES: dict[str, Callable[[Frames], float]] = {
    "dynamic degree": lambda clip: dynamic_degree(clip, 8),
    "motion magnitude": motion_magnitude,
    "warping error": warping_error,
    "motion smoothness": motion_smoothness,
    "FVMD": lambda clip: float(np.linalg.norm(motion_features(clip))),
}

CLIPS = {
    "black": np.zeros((16, 32, 32, 3), dtype=np.uint8),
    "white": np.full((16, 32, 32, 3), 255, dtype=np.uint8),
    "black and white": (np.arange(16) % 2 * 255).astype(np.uint8).reshape(16, 1, 1, 1) * np.ones((32, 32, 3), np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8),
    "two frames": moving(2, 32, 32, right=1),
    "three frames": moving(3, 32, 32, right=1),
    "one frame": moving(1, 32, 32),
    "no frame": np.zeros((0, 32, 32, 3), dtype=np.uint8),
    "one pixel": np.zeros((16, 1, 1, 3), dtype=np.uint8),
    "a line": np.zeros((16, 1, 64, 3), dtype=np.uint8),
}

REFUSED = {
    "two frames": {"motion smoothness", "FVMD"},
    "three frames": {"FVMD"},
    "one frame": set(SCORES),
    "no frame": set(SCORES),
    "one pixel": set(SCORES) - {"FVMD"},
    "a line": set(SCORES) - {"FVMD"},
}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("kind", CLIPS)
def test_any_clip_has_a_finite_score_or_a_reason(kind: str, score: str) -> None:
    clip = CLIPS[kind]
    if score in REFUSED.get(kind, ()):
        with pytest.raises(StatisticError, match=r"^[^\n]+, found [^\n]+$"):
            SCORES[score](clip)
    else:
        assert 0 <= SCORES[score](clip) <= (1200 if score == "FVMD" else 3)


def test_what_short_clips_lack_is_said() -> None:
    with pytest.raises(StatisticError, match="needs 2 frames, found 1"):
        dynamic_degree(still(9, 32, 32), 240)
    with pytest.raises(StatisticError, match="warping error needs 2 frames, found 1"):
        warping_error(still(1, 32, 32))
    with pytest.raises(StatisticError, match="motion magnitude needs 2 frames, found 1"):
        motion_magnitude(still(1, 32, 32))
    with pytest.raises(StatisticError, match="motion smoothness needs 3 frames, found 2"):
        motion_smoothness(still(2, 32, 32))
    with pytest.raises(StatisticError, match="consistency needs two frames, found 1"):
        frame_consistency(np.ones((1, 4)))
    for fps in (0, -8, math.nan, math.inf):
        with pytest.raises(StatisticError, match="positive number of frames in a second"):
            dynamic_degree(still(9, 32, 32), fps)
