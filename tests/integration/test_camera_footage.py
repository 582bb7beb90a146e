"""Real footage: our decoder, sizes and scores agree with independent implementations."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import resize as skimage_resize
from torchmetrics.functional.regression import mean_absolute_error

from testkit.footage import clip
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.resize import fit, resize
from vdb_participant.data.video import Frames, count_frames, decode
from vdb_participant.measure.frames import temporal_flickering
from vdb_shared.errors import DatasetError

FOOTAGE = {
    "bikes.mp4": (250, 272, 640, Fraction(25)),
    "carphone_pristine.mp4": (120, 144, 176, Fraction(30000, 1001)),
    "carphone_distorted.mp4": (120, 144, 176, Fraction(30000, 1001)),
    "bigbuckbunny.mp4": (132, 720, 1280, Fraction(25)),
}
"""Frames, height, width and rate of each clip, as ffprobe states them."""

FILMED = ("bikes.mp4", "carphone_pristine.mp4")


def _opencv(path: Path, frames: int) -> tuple[Frames, float, int]:
    """Return the first frames, the rate and the number of frames that OpenCV's own FFmpeg sees."""
    capture = cv2.VideoCapture(str(path))
    shown = [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB) for _ in range(frames)]
    count = frames
    while capture.grab():
        count += 1
    return np.stack(shown).astype(np.uint8), capture.get(cv2.CAP_PROP_FPS), count


@pytest.mark.parametrize("name", FOOTAGE)
def test_frames_sizes_and_rates_are_opencvs(name: str) -> None:
    frames, height, width, rate = FOOTAGE[name]
    ours = decode(clip(name), frames=40)
    theirs, their_rate, their_count = _opencv(clip(name), 40)
    assert ours.frames.shape == (40, height, width, 3)
    assert ours.fps == rate
    assert float(ours.fps) == pytest.approx(their_rate, abs=1e-9)
    assert count_frames(clip(name), at_most=10_000) == their_count == frames
    np.testing.assert_array_equal(ours.frames, theirs)


@pytest.mark.parametrize("name", FILMED)
def test_flickering_is_that_of_opencv_frames_in_torchmetrics(name: str) -> None:
    theirs, _, _ = _opencv(clip(name), 17)
    pairs = torch.from_numpy(theirs.astype(np.float64))
    error = float(mean_absolute_error(pairs[1:].flatten(), pairs[:-1].flatten()))
    ours = temporal_flickering(decode(clip(name), frames=17).frames)
    assert ours == pytest.approx((255 - error) / 255, abs=1e-6)
    assert 0.9 < ours < 1.0


@pytest.mark.parametrize("name", FILMED)
def test_sizes_agree_with_pillow_and_scikit_image(name: str) -> None:
    frames = decode(clip(name), frames=3).frames
    ours = resize(frames, 96, 112)
    pillow = np.stack([np.asarray(Image.fromarray(f).resize((112, 96), Image.Resampling.BILINEAR)) for f in frames])
    # Pillow may take the columns first, which changes a rounding.
    assert np.abs(ours.astype(int) - pillow).max() <= 1
    smooth = np.stack([skimage_resize(frame, (96, 112), order=1, anti_aliasing=True) for frame in frames]) * 255
    # Another antialiasing filter, a Gaussian: the same picture but for fine detail.
    assert np.abs(ours - smooth).mean() < 3
    assert np.corrcoef(ours.ravel(), smooth.ravel())[0, 1] > 0.99


def test_flickering_hardly_depends_on_size_but_does_on_the_codec() -> None:
    pristine, distorted = (decode(clip(f"carphone_{kind}.mp4"), frames=33).frames for kind in ("pristine", "distorted"))
    full = temporal_flickering(pristine)
    assert abs(temporal_flickering(resize(pristine, 72, 88)) - full) < 0.01
    # Heavy compression freezes blocks, so less of the picture changes.
    assert temporal_flickering(distorted) > full


def test_footage_is_a_data_directory(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in FOOTAGE:
        shutil.copy(clip(name), tmp_path / "clips" / name)
    dataset = Dataset.open(tmp_path, frames=121)
    assert {problem.file: problem.reason for problem in dataset.problems} == {
        f"clips/carphone_{kind}.mp4": "is too short: 120 of 121 frames" for kind in ("pristine", "distorted")
    }
    assert [path.name for path in dataset.clips] == ["bigbuckbunny.mp4", "bikes.mp4"]
    fitted = fit(decode(dataset.clips[1], frames=9), frames=9, height=32, width=32)
    assert fitted.shape == (9, 32, 32, 3)


def test_cut_footage_is_named(tmp_path: Path) -> None:
    whole = clip("bikes.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="cannot be decoded") as refusal:
        decode(path)
    assert str(path) in str(refusal.value)
