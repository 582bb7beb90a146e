"""One resize: against Pillow, and the same bytes however it is computed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vdb_participant.data.resize import Filter, fit, resize
from vdb_participant.data.video import Clip, Frames
from vdb_shared.errors import DatasetError

PILLOW: dict[Filter, Image.Resampling] = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def _noise(seed: int, *shape: int) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _pillow(frames: Frames, height: int, width: int, kernel: Filter) -> Frames:
    """Pillow's resize, made to take the rows first whatever is cheaper."""
    rows_done = [Image.fromarray(frame).resize((width, frame.shape[0]), PILLOW[kernel]) for frame in frames]
    return np.stack([np.asarray(image.resize((width, height), PILLOW[kernel])) for image in rows_done])


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(32, 48), (48, 32), (20, 20), (200, 130), (60, 200), (7, 300), (1, 1)])
def test_bytes_are_pillows(kernel: Filter, size: tuple[int, int]) -> None:
    frames = _noise(1, 2, 90, 70, 3)
    np.testing.assert_array_equal(resize(frames, *size, kernel=kernel), _pillow(frames, *size, kernel))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["bilinear", "bicubic"]),
)
def test_bytes_are_pillows_for_any_size(old: tuple[int, int], new: tuple[int, int], kernel: Filter) -> None:
    frames = _noise(2, 1, *old, 3)
    np.testing.assert_array_equal(resize(frames, *new, kernel=kernel), _pillow(frames, *new, kernel))


def test_shrinking_does_not_alias() -> None:
    # Stripes one pixel wide become grey; a resize without antialiasing would keep black or white.
    stripes = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    inner = resize(stripes, 16, 16)[0, 2:-2, 2:-2]
    assert abs(int(inner.min()) - 128) <= 2
    assert abs(int(inner.max()) - 128) <= 2


def test_neither_chunks_nor_threads_change_a_byte() -> None:
    frames = _noise(3, 5, 61, 83, 3)
    whole = resize(frames, 32, 32)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(resize(frame[None], 32, 32)[0], whole[index])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(resize(frames, 32, 32), whole)
    finally:
        torch.set_num_threads(threads)


def test_the_same_size_is_the_same_clip() -> None:
    frames = _noise(4, 2, 32, 48, 3)
    np.testing.assert_array_equal(resize(frames, 32, 48), frames)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bytes() -> None:
    frames = _noise(5, 4, 270, 480, 3)
    for kernel in PILLOW:
        np.testing.assert_array_equal(
            resize(frames, 64, 64, kernel=kernel, device="cuda"), resize(frames, 64, 64, kernel=kernel)
        )


def test_fitting_takes_the_first_frames() -> None:
    clip = Clip(_noise(6, 12, 48, 48, 3), fps=Fraction(8))
    fitted = fit(clip, frames=9, height=32, width=32)
    assert fitted.shape == (9, 32, 32, 3)
    np.testing.assert_array_equal(fitted, resize(clip.frames, 32, 32)[:9])
    with pytest.raises(DatasetError, match="has 12 frames, 13 are needed"):
        fit(clip, frames=13, height=32, width=32)


def test_other_arrays_are_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="uint8"):
        resize(np.zeros((1, 4, 4, 3), dtype=np.float32), 2, 2)
