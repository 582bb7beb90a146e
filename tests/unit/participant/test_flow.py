"""Optical flow: it finds known movement, and depends on two frames alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from testkit.moving import flickering, moving, picture, still
from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.flow import (
    HALVED_FROM,
    SMALLEST_SIDE,
    brightness,
    dis_flow,
    flows,
    flows_both_ways,
)
from vdb_participant.measure.motion.sampling import sample, warp
from vdb_shared.errors import StatisticError

SIZES = [(16, 16), (16, 45), (45, 45), (46, 46), (16, 46), (64, 16), (33, 100), (144, 176)]


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave OpenCV's number of threads as it was."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.parametrize(("right", "down"), [(3, -2), (-4, 1), (0, 2)])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 128)])
def test_a_known_movement_is_found(height: int, width: int, right: int, down: int) -> None:
    earlier, later = moving(2, height, width, right=right, down=down)
    inner = dis_flow(earlier, later)[8:-8, 8:-8]
    assert inner.dtype == np.float32
    errors = np.hypot(inner[..., 0] - right, inner[..., 1] - down)
    assert np.median(errors) < 0.1
    assert np.quantile(errors, 0.9) < 0.5


@pytest.mark.parametrize("size", SIZES)
def test_nothing_moves_in_equal_frames(size: tuple[int, int]) -> None:
    first = picture(*size)
    assert not dis_flow(first, first.copy()).any()
    assert not dis_flow(np.zeros_like(first), np.zeros_like(first)).any()
    assert np.isfinite(dis_flow(np.zeros_like(first), np.full_like(first, 255))).all()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", SIZES)
def test_threads_do_not_change_a_bit(size: tuple[int, int]) -> None:
    earlier, later = flickering(moving(2, *size, right=2), 20)
    found = []
    for count in (1, 2, 3, 7):
        cv2.setNumThreads(count)
        found.append(dis_flow(earlier, later).tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("size", SIZES)
def test_calls_before_do_not_change_a_bit(size: tuple[int, int]) -> None:
    earlier, later = flickering(moving(2, *size, down=1), 20)
    expected = dis_flow(earlier, later)
    for other in SIZES:
        dis_flow(picture(*other, seed=1), picture(*other, seed=2))
        np.testing.assert_array_equal(dis_flow(earlier, later), expected)


def test_flows_of_a_clip_are_those_of_its_pairs_however_its_memory_lies() -> None:
    clip = flickering(moving(4, 24, 50, right=1), 9)
    forward = list(flows(clip))
    assert len(forward) == 3
    for found, (earlier, later) in zip(forward, pairwise(clip), strict=True):
        np.testing.assert_array_equal(found, dis_flow(earlier, later))
    both = list(flows_both_ways(clip))
    np.testing.assert_array_equal(np.stack([pair[0] for pair in both]), np.stack(forward))
    backward = list(flows(clip[::-1]))[::-1]
    np.testing.assert_array_equal(np.stack([pair[1] for pair in both]), np.stack(backward))
    for arranged in (np.asfortranarray(clip), clip[..., ::-1].copy()[..., ::-1]):
        np.testing.assert_array_equal(np.stack(list(flows(arranged))), np.stack(forward))


def test_two_frames_are_held_at_a_time() -> None:
    seen: list[int] = []

    def zero(earlier: Frames, later: Frames) -> NDArray[np.float32]:
        seen.append(int(earlier[0, 0, 0]))
        return np.zeros((*earlier.shape[:2], 2), dtype=np.float32)

    clip = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((5, 16, 16, 3), dtype=np.uint8)
    steps = flows(clip, zero)
    next(steps)
    assert seen == [0]
    next(steps)
    assert seen == [0, 1]


def test_small_frames_are_refused() -> None:
    for height, width in [(15, 64), (64, 15), (1, 1), (8, 1000)]:
        with pytest.raises(StatisticError, match=f"at least 16x16 pixels, found {height}x{width}"):
            dis_flow(picture(height, width), picture(height, width))
    assert SMALLEST_SIDE == 16


def test_the_preset_is_the_documented_one_and_stays_where_frames_are_large_enough() -> None:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    settings = (search.getFinestScale(), search.getPatchSize(), search.getPatchStride())
    assert settings == (1, 8, 3)
    assert search.getGradientDescentIterations() == 25
    assert search.getVariationalRefinementIterations() == 5
    grey = brightness(picture(HALVED_FROM, SMALLEST_SIDE))
    search.calc(grey, grey, None)
    assert search.getFinestScale() == 1


@pytest.mark.parametrize("size", [(16, 16), (45, 45), (20, 45)])
def test_small_frames_are_searched_at_their_own_size(size: tuple[int, int]) -> None:
    earlier, later = moving(2, *size, right=2, down=1)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    for _ in range(2):  # OpenCV keeps the settings that it chose itself
        expected = search.calc(brightness(earlier), brightness(later), None)
        np.testing.assert_array_equal(dis_flow(earlier, later), expected)
    assert (search.getFinestScale(), search.getPatchSize(), search.getPatchStride()) == (0, 8, 3)


def test_brightness_is_the_whole_number_formula() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    levels[0, :2] = [[0, 0, 0], [255, 255, 255]]
    plain = [[(77 * int(r) + 150 * int(g) + 29 * int(b) + 128) // 256 for r, g, b in row] for row in levels]
    np.testing.assert_array_equal(brightness(levels), plain)
    assert brightness(levels)[0, 1] == 255
    theirs = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)
    assert np.abs(theirs.astype(int) - brightness(levels)).max() <= 1


def test_values_between_pixels_are_scipys() -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 256, (9, 13, 2), dtype=np.uint8)
    x, y = rng.uniform(-3, 16, (5, 40)), rng.uniform(-3, 12, (5, 40))
    x[0, :14], y[0, :14] = np.arange(14), np.arange(14) - 1
    theirs = [map_coordinates(levels[..., c].astype(float), [y, x], order=1, mode="nearest") for c in range(2)]
    np.testing.assert_allclose(sample(levels, x, y), np.stack(theirs, axis=-1), rtol=0, atol=1e-11)


def test_moving_by_whole_pixels_is_exact() -> None:
    earlier, later = moving(2, 20, 30, right=3, down=-2)
    displacements = np.broadcast_to(np.array([3.0, -2.0]), (20, 30, 2))
    np.testing.assert_array_equal(warp(later, displacements)[2:, :-3], earlier[2:, :-3])
    flat = np.full((20, 30, 3), 77, dtype=np.uint8)
    np.testing.assert_array_equal(warp(flat, displacements * 0.37), flat)


def test_still_pictures_stay() -> None:
    assert not any(found.any() for found in flows(still(3, 20, 60)))
