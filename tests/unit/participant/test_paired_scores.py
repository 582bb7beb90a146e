"""PSNR, SSIM and MS-SSIM: against scikit-image and torchmetrics, at their ends, and in pieces."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr

from testkit.photographs import blurred, panned, with_noise
from vdb_participant.data.video import Frames
from vdb_participant.measure.paired.feature import fsim, fsimc
from vdb_participant.measure.paired.pixels import psnr
from vdb_participant.measure.paired.structure import ms_ssim, ssim
from vdb_shared.errors import StatisticError

Score = Callable[[Frames, Frames], float]

SCORES: dict[str, Score] = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim, "fsim": fsim, "fsimc": fsimc}
BEST = {"psnr": 100.0, "ssim": 1.0, "ms_ssim": 1.0, "fsim": 1.0, "fsimc": 1.0}

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of Wang 2003, section 3.2."""

CLIP = panned(frames=4, height=176, width=208)
WORSE = with_noise(CLIP, 12)


def _wang(first: Frames, second: Frames) -> float:
    return float(
        structural_similarity(
            first, second, gaussian_weights=True, use_sample_covariance=False, channel_axis=-1, data_range=255
        )
    )


def _tensor(picture: Frames) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float64))[None]


@given(st.data())
def test_psnr_is_scikit_images(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.just(3)))
    one, other = (data.draw(arrays(np.uint8, shape)) for _ in range(2))
    expected = [
        100.0 if np.array_equal(a, b) else peak_signal_noise_ratio(a, b, data_range=255)
        for a, b in zip(one, other, strict=True)
    ]
    assert psnr(one, other) == pytest.approx(np.mean(expected), abs=1e-12)


def test_psnr_is_the_mean_of_ratios() -> None:
    mixed = CLIP.copy()
    mixed[:2] = with_noise(CLIP[:2], 30)
    mixed[2:] = with_noise(CLIP[2:], 3)
    pairs = zip(mixed, CLIP, strict=True)
    each = [float(torchmetrics_psnr(_tensor(a), _tensor(b), data_range=255.0)) for a, b in pairs]
    of_mean_error = peak_signal_noise_ratio(CLIP, mixed, data_range=255)
    assert psnr(mixed, CLIP) == pytest.approx(np.mean(each), abs=1e-5)
    assert psnr(mixed, CLIP) > of_mean_error + 5


def test_psnr_ends_at_its_ceiling() -> None:
    black = np.zeros((1, 1024, 1024, 3), dtype=np.uint8)
    dot = black.copy()
    dot[0, 0, 0, 0] = 1
    assert 10 * math.log10(255**2 * dot.size) > 100
    assert psnr(black, dot) == psnr(black, black) == 100.0
    assert psnr(black, np.full_like(black, 255)) == 0.0


@pytest.mark.parametrize("photograph", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize("size", [(11, 11), (12, 31), (97, 120), (176, 208)])
def test_ssim_is_scikit_images(photograph: str, size: tuple[int, int]) -> None:
    clip = panned(frames=2, height=size[0], width=size[1], photograph=photograph)
    for worse in (with_noise(clip, 20), blurred(clip, 2), 255 - clip, np.zeros_like(clip)):
        expected = np.mean([_wang(a, b) for a, b in zip(clip, worse, strict=True)])
        assert ssim(clip, worse) == pytest.approx(expected, abs=1e-12)


def test_torchmetrics_ssim_differs_by_its_borders() -> None:
    """torchmetrics mirrors the frame at its borders and averages these windows too; inside, its map is ours."""
    first, second = _tensor(CLIP[0]), _tensor(WORSE[0])
    theirs, index = structural_similarity_index_measure(first, second, data_range=255.0, return_full_image=True)
    ours = ssim(CLIP[:1], WORSE[:1])
    assert float(index[..., 5:-5, 5:-5].mean()) == pytest.approx(ours, abs=1e-12)
    assert 1e-5 < abs(float(theirs) - ours) < 1e-2


def _plain_five_scales(one: Frames, other: Frames) -> float:
    """MS-SSIM of one channel, written down from Wang 2003, with a 2-d window and convolutions."""
    first: Any = one.astype(np.float64)
    second: Any = other.astype(np.float64)
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = 1.0
    for scale in range(5):
        mean, other_mean, square, other_square, product = (
            convolve2d(plane, window, mode="valid") for plane in (first, second, first**2, second**2, first * second)
        )
        luminance = (2 * mean * other_mean + c1) / (mean**2 + other_mean**2 + c1)
        variances = (square - mean**2) + (other_square - other_mean**2)
        structure = (2 * (product - mean * other_mean) + c2) / (variances + c2)
        term = (luminance * structure if scale == 4 else structure).mean()
        value *= max(term, 0.0) ** EXPONENTS[scale]
        first, second = (_plain_half(plane) for plane in (first, second))
    return float(value)


def _plain_half(plane: Any) -> Any:
    height, width = plane.shape
    half = np.empty(((height + 1) // 2, (width + 1) // 2))
    for row in range(half.shape[0]):
        for column in range(half.shape[1]):
            rows = [2 * row, min(2 * row + 1, height - 1)]
            columns = [2 * column, min(2 * column + 1, width - 1)]
            half[row, column] = plane[np.ix_(rows, columns)].mean()
    return half


@pytest.mark.parametrize("size", [(176, 208), (181, 203)])
def test_ms_ssim_is_the_paper_written_down(size: tuple[int, int]) -> None:
    clip = panned(frames=1, height=size[0], width=size[1])
    for worse in (with_noise(clip, 40), blurred(clip, 3)):
        expected = np.mean([_plain_five_scales(clip[0, :, :, c], worse[0, :, :, c]) for c in range(3)])
        assert ms_ssim(clip, worse) == pytest.approx(expected, abs=1e-12)


def test_ms_ssim_is_torchmetrics_but_for_the_borders_of_the_coarsest_scale() -> None:
    """Four scales are torchmetrics'; the fifth it averages over mirrored borders, we over windows inside: scikit-image's."""
    first, second = CLIP[0, :, :, :1], WORSE[0, :, :, :1]
    four = multiscale_structural_similarity_index_measure(
        _tensor(first), _tensor(second), data_range=255.0, betas=(*EXPONENTS[:4], 0.0), normalize=None
    )
    coarse = [plane[:, :, 0].reshape(11, 16, 13, 16).mean(axis=(1, 3)) for plane in (first, second)]
    fifth = structural_similarity(
        *coarse, gaussian_weights=True, use_sample_covariance=False, data_range=255, win_size=11
    )
    grey = [np.repeat(plane[None], 3, axis=3) for plane in (first, second)]
    assert ms_ssim(grey[0], grey[1]) == pytest.approx(float(four) * fifth ** EXPONENTS[4], abs=1e-7)
    whole = multiscale_structural_similarity_index_measure(_tensor(first), _tensor(second), data_range=255.0)
    assert 1e-6 < abs(float(whole) - ms_ssim(grey[0], grey[1])) < 1e-2


def test_ms_ssim_of_opposites_is_zero_not_complex() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 176, 176, 3), dtype=np.uint8)
    assert ssim(noise, 255 - noise) < 0
    assert ms_ssim(noise, 255 - noise) == 0.0


@pytest.mark.parametrize("name", SCORES)
def test_equal_frames_have_the_best_score(name: str) -> None:
    for clip in (CLIP, np.zeros_like(CLIP), np.full_like(CLIP, 255)):
        assert SCORES[name](clip, clip) == BEST[name]


@pytest.mark.parametrize("name", SCORES)
def test_neither_clip_comes_first(name: str) -> None:
    assert SCORES[name](CLIP, WORSE) == SCORES[name](WORSE, CLIP) < BEST[name]


@pytest.mark.parametrize("name", SCORES)
def test_more_noise_and_more_blur_are_worse(name: str) -> None:
    clip = CLIP[:1]
    noisy = [SCORES[name](clip, with_noise(clip, deviation)) for deviation in (1, 4, 16, 64)]
    soft = [SCORES[name](clip, blurred(clip, deviation)) for deviation in (0.5, 1, 2, 4)]
    for scores in (noisy, soft):
        assert all(later < earlier for earlier, later in pairwise([BEST[name], *scores]))


@pytest.mark.parametrize("name", SCORES)
def test_a_clip_is_the_mean_of_its_frames_in_any_pieces(name: str) -> None:
    score = SCORES[name]
    each = [score(CLIP[index : index + 1], WORSE[index : index + 1]) for index in range(4)]
    assert score(CLIP, WORSE) == math.fsum(each) / 4
    assert score(CLIP[::-1], WORSE[::-1]) == score(CLIP, WORSE)
    halves = [score(CLIP[part], WORSE[part]) for part in (slice(0, 2), slice(2, 4))]
    assert halves == [math.fsum(each[:2]) / 2, math.fsum(each[2:]) / 2]


@pytest.mark.parametrize("name", SCORES)
def test_company_in_other_threads_changes_no_bit(name: str) -> None:
    alone = SCORES[name](CLIP, WORSE)
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: SCORES[name](CLIP, WORSE), range(8))) == {alone}


_PRINTED = """
from testkit.photographs import panned, with_noise
from vdb_participant.measure.paired.feature import fsim, fsimc
from vdb_participant.measure.paired.pixels import psnr
from vdb_participant.measure.paired.structure import ms_ssim, ssim
clip = panned(frames=2, height=176, width=208)
print([score(clip, with_noise(clip, 12)).hex() for score in (psnr, ssim, ms_ssim, fsim, fsimc)])
"""


def test_the_number_of_threads_changes_no_bit() -> None:
    printed = set()
    for threads in ("1", "4"):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        environment = os.environ | counts | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", _PRINTED], env=environment, capture_output=True, text=True, check=True
        )
        printed.add(done.stdout)
    expected = [score(CLIP[:2], with_noise(CLIP[:2], 12)).hex() for score in SCORES.values()]
    assert printed == {f"{expected}\n"}


@pytest.mark.parametrize(
    ("name", "smallest", "problem"),
    [
        ("ssim", 11, "SSIM needs frames of at least 11x11, found 10x20"),
        ("ms_ssim", 176, "MS-SSIM needs frames of at least 176x176, found 175x350"),
        ("fsim", 3, "FSIM needs frames of at least 3x3, found 2x4"),
        ("fsimc", 3, "FSIMc needs frames of at least 3x3, found 2x4"),
    ],
)
def test_frames_that_are_too_small_are_refused(name: str, smallest: int, problem: str) -> None:
    enough = np.zeros((1, smallest, smallest, 3), dtype=np.uint8)
    assert SCORES[name](enough, enough) == 1.0
    small = np.zeros((1, smallest - 1, 2 * (smallest - 1), 3), dtype=np.uint8)
    with pytest.raises(StatisticError, match=problem):
        SCORES[name](small, small)


@pytest.mark.parametrize("name", SCORES)
def test_clips_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(StatisticError, match=r"found \(4, 176, 208, 3\) and \(3, 176, 208, 3\)"):
        SCORES[name](CLIP, CLIP[:3])
    with pytest.raises(StatisticError, match=r"found \(4, 176, 208, 3\) and \(4, 176, 200, 3\)"):
        SCORES[name](CLIP, CLIP[:, :, :200])
    with pytest.raises(StatisticError, match="needs a frame, found none"):
        SCORES[name](CLIP[:0], CLIP[:0])
    with pytest.raises(ValueError, match="uint8"):
        SCORES[name](np.asarray(CLIP, dtype=np.float32), CLIP)
