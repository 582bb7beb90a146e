"""Structural similarity of frames, at one scale and at five.

Source: Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 2004 (SSIM); Wang, Simoncelli & Bovik, Asilomar 2003 (MS-SSIM).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.ndimage import correlate1d

from vdb_participant.data.video import Frames
from vdb_participant.measure.paired.pairs import Picture, Plane, check_pairs, mean_over_frames

BORDER: Final = 5
"""Pixels that the 11x11 window reaches to each side. Where it would leave the frame, nothing is scored."""

SIGMA: Final = 1.5
"""Standard deviation of the Gaussian window, in pixels."""

_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2
"""Constants of the luminance and the contrast-structure term: (K 255)^2 with K1 = 0.01 and K2 = 0.03."""

EXPONENTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weight of each scale, finest first; their sum is 1.0001 as published."""

SMALLEST: Final = 2 * BORDER + 1
SMALLEST_OF_FIVE: Final = SMALLEST * 2 ** (len(EXPONENTS) - 1)
"""Shortest side, 176: the coarsest of five scales still holds one window."""


def ssim(frames: Frames, reference: Frames) -> float:
    """Return the mean over frames of the structural similarity, in [-1, 1]; 1 for identical frames.

    Local means, population variances and the covariance are weighted by an 11x11 Gaussian of sigma 1.5; the index is
    averaged over the pixels whose window lies within the frame, then over the three channels. Frames are neither
    converted to grey nor shrunk first.

    Args:
        frames: uint8 (T, H, W, 3), H and W >= 11.
        reference: of the same shape.

    Raises:
        StatisticError: the shapes differ, there is no frame, or frames are smaller than the window.

    Source: Wang et al. 2004, eq. 13, with K1 = 0.01 and K2 = 0.03 for 255 levels, each channel on its own.
    """
    check_pairs(frames, reference, smallest=SMALLEST, score="SSIM")
    return mean_over_frames(_one_scale, frames, reference)


def ms_ssim(frames: Frames, reference: Frames) -> float:
    """Return the mean over frames of the multi-scale structural similarity, in [0, 1]; 1 for identical frames.

    A scale's contrast-structure term, and at the fifth scale the whole index, is averaged over the windows within the
    frame as in `ssim`; a negative average counts as 0, which has a real power. The product of the averages with the
    published exponents is taken for each channel, then averaged. The next scale is the mean of 2x2 pixels; a last odd
    row or column is paired with itself.

    Args:
        frames: uint8 (T, H, W, 3), H and W >= 176.
        reference: of the same shape.

    Raises:
        StatisticError: the shapes differ, there is no frame, or frames are smaller than five scales need.

    Source: Wang et al. 2003, eq. 7 and section 3.2; borders and shrinking as in the authors' code.
    """
    check_pairs(frames, reference, smallest=SMALLEST_OF_FIVE, score="MS-SSIM")
    return mean_over_frames(_five_scales, frames, reference)


def _one_scale(first: Picture, second: Picture) -> float:
    luminance, structure = _terms(_planes(first), _planes(second))
    return float((luminance * structure).mean())


def _five_scales(first: Picture, second: Picture) -> float:
    one, other = _planes(first), _planes(second)
    product = np.ones(len(one))
    for exponent in EXPONENTS[:-1]:
        _, structure = _terms(one, other)
        product *= _of_channels(structure) ** exponent
        one, other = _halved(one), _halved(other)
    luminance, structure = _terms(one, other)
    product *= _of_channels(luminance * structure) ** EXPONENTS[-1]
    return float(product.mean())


def _planes(picture: Picture) -> Plane:
    return np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float64)


def _terms(one: Plane, other: Plane) -> tuple[Plane, Plane]:
    """Return the luminance and the contrast-structure term of each window: (3, H - 10, W - 10) of (3, H, W)."""
    mean, other_mean = _windows(one), _windows(other)
    product, squares = mean * other_mean, mean * mean + other_mean * other_mean
    covariance = _windows(one * other) - product
    variances = _windows(one * one + other * other) - squares
    return (2 * product + _C1) / (squares + _C1), (2 * covariance + _C2) / (variances + _C2)


def _windows(planes: Plane) -> Plane:
    """Return the Gaussian mean of every 11x11 window within the frame, rows first."""
    inside = slice(BORDER, -BORDER)
    rows = correlate1d(planes, _GAUSSIAN, axis=1)[:, inside]
    return np.asarray(correlate1d(rows, _GAUSSIAN, axis=2)[:, :, inside], dtype=np.float64)


def _gaussian() -> Plane:
    weights = np.exp(-0.5 * (np.arange(-BORDER, BORDER + 1) / SIGMA) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


_GAUSSIAN: Final = _gaussian()


def _of_channels(terms: Plane) -> Plane:
    """Return the mean of each channel, (3,), at least 0."""
    return np.asarray(np.maximum(terms.mean(axis=(1, 2)), 0), dtype=np.float64)


def _halved(planes: Plane) -> Plane:
    _, height, width = planes.shape
    even = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    rows = even[:, ::2] + even[:, 1::2]
    return np.asarray((rows[:, :, ::2] + rows[:, :, 1::2]) / 4, dtype=np.float64)
