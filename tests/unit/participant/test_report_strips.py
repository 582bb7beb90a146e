"""Film strips: the clip's own pixels, a few frames of it, and never too much."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from vdb_participant.data.resize import resize
from vdb_participant.report.strips import HEIGHTS, MOST_VALUES, chosen_frames, film_strip, height_within, scaled


def clip(frames: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(frames).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def decoded(png: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(png)) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture)


def test_a_strip_has_first_and_last_frame_and_those_evenly_between() -> None:
    assert chosen_frames(9) == (0, 2, 4, 6, 8)
    assert chosen_frames(81) == (0, 20, 40, 60, 80)
    assert chosen_frames(3) == (0, 1, 2)
    assert chosen_frames(1) == (0,)


def test_small_clips_lose_nothing() -> None:
    frames = clip(9, 32, 48)
    strip = film_strip(frames)
    picture = decoded(strip.png)
    assert picture.shape == (strip.height, strip.width, 3) == (32, 5 * 48 + 4 * 2, 3)
    for place, number in enumerate(strip.frames):
        start = place * (48 + 2)
        np.testing.assert_array_equal(picture[:, start : start + 48], frames[number])


def test_large_clips_are_scaled_by_the_resize_that_metrics_use() -> None:
    frames = clip(5, 360, 640)
    strip = film_strip(frames)
    assert strip.height == 160
    expected = resize(frames[:1], 160, 284)[0]
    np.testing.assert_array_equal(decoded(strip.png)[:, :284], expected)
    assert len(strip.png) < 1.01 * decoded(strip.png).size


def test_frames_keep_their_shape_and_are_never_enlarged() -> None:
    assert scaled(32, 32, 160) == (32, 32)
    assert scaled(720, 1280, 160) == (160, 284)
    assert scaled(1280, 720, 160) == (160, 90)
    assert scaled(16, 4096, 160) == (2, 480)


@pytest.mark.parametrize(
    ("shapes", "most"),
    [
        ([(9, 32, 32, 3)] * 18, 160),
        ([(81, 480, 832, 3)] * 6, 160),
        ([(81, 480, 832, 3)] * 18, 96),
        ([(81, 720, 1280, 3)] * 60, 48),
        ([(81, 720, 1280, 3)] * 5000, None),
        ([], 160),
    ],
)
def test_more_and_larger_clips_are_shown_smaller(shapes: list[tuple[int, int, int, int]], most: int | None) -> None:
    assert height_within(shapes) == most


@given(
    st.lists(
        st.tuples(st.integers(1, 300), st.integers(16, 4096), st.integers(16, 4096), st.just(3)),
        min_size=1,
        max_size=60,
    )
)
def test_all_pictures_of_a_page_together_stay_within_bounds(shapes: list[tuple[int, int, int, int]]) -> None:
    most = height_within(shapes)
    assert most in HEIGHTS
    total = 0
    for frames, height, width, _ in shapes:
        high, wide = scaled(height, width, most)
        assert high <= most
        total += min(5, frames) * high * (wide + 2) * 3
    assert total <= MOST_VALUES
