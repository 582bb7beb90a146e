"""Feature similarity of frames: where phase congruency says that features are, gradients and phases are compared.

Source: Zhang, Zhang, Mou & Zhang, FSIM: a feature similarity index for image quality assessment, IEEE TIP 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import correlate

from vdb_participant.data.video import Frames
from vdb_participant.measure.paired.pairs import Picture, Plane, check_pairs, mean_over_frames
from vdb_participant.measure.paired.phase import SMALLEST, phase_congruency

_PHASE: Final = 0.85
_GRADIENT: Final = 160.0
_CHROMA: Final = 200.0
"""Constants T1, T2 and T3 = T4 that keep similarities finite; for gradients and colours of 255 levels."""

_CHROMA_EXPONENT: Final = 0.03
"""Lambda, the weight of colour."""

_VIEWED: Final = 256
"""Shorter side that frames are shrunk towards, as they are seen from a usual distance."""

_SCHARR: Final = np.array([[3.0, 0.0, -3.0], [10.0, 0.0, -10.0], [3.0, 0.0, -3.0]]) / 16

_YIQ: Final = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""Luminance and the two chrominances from red, green and blue."""


@dataclass(frozen=True, slots=True)
class _Features:
    """What is compared of a frame, each (H, W)."""

    phase: Plane
    gradient: Plane
    chroma: tuple[Plane, Plane]


def fsim(frames: Frames, reference: Frames) -> float:
    """Return the mean over frames of the feature similarity of luminance, in [0, 1]; 1 for identical frames.

    Frames are shrunk by F = max(1, round(min(H, W) / 256)), halves up: the mean of FxF pixels at every F-th one, zeros
    outside of the frame. At each pixel the similarity of phase congruency times that of the Scharr gradient, zeros
    outside, is weighted by the larger phase congruency of the two. Where neither frame has any, as for two flat
    frames, all pixels weigh the same.

    Args:
        frames: uint8 (T, H, W, 3), H and W >= 3.
        reference: of the same shape.

    Raises:
        StatisticError: the shapes differ, there is no frame, or frames are too small.

    Source: Zhang et al. 2011, section III, with T1 = 0.85 and T2 = 160; shrinking and borders as in the authors' code.
    """
    check_pairs(frames, reference, smallest=SMALLEST, score="FSIM")
    return mean_over_frames(lambda first, second: _similarity_of(first, second, colour=False), frames, reference)


def fsimc(frames: Frames, reference: Frames) -> float:
    """Return `fsim` with the similarity of chrominance as another factor at each pixel, in [0, 1].

    The factor is the real part of (similarity of I times similarity of Q)^0.03; the product may be negative.

    Args:
        frames: uint8 (T, H, W, 3), H and W >= 3.
        reference: of the same shape.

    Raises:
        StatisticError: as `fsim`.

    Source: Zhang et al. 2011, section III, with T3 = T4 = 200 and lambda = 0.03; the real part as in the authors' code.
    """
    check_pairs(frames, reference, smallest=SMALLEST, score="FSIMc")
    return mean_over_frames(lambda first, second: _similarity_of(first, second, colour=True), frames, reference)


def _similarity_of(first: Picture, second: Picture, *, colour: bool) -> float:
    one, other = _features(first), _features(second)
    weight = np.maximum(one.phase, other.phase)
    if not weight.any():
        weight = np.ones_like(weight)
    similarity = _similarity(one.phase, other.phase, _PHASE) * _similarity(one.gradient, other.gradient, _GRADIENT)
    if colour:
        in_phase, quadrature = (_similarity(a, b, _CHROMA) for a, b in zip(one.chroma, other.chroma, strict=True))
        similarity = similarity * ((in_phase * quadrature).astype(np.complex128) ** _CHROMA_EXPONENT).real
    return float((similarity * weight).sum() / weight.sum())


def _similarity(one: Plane, other: Plane, constant: float) -> Plane:
    return (2 * one * other + constant) / (one * one + other * other + constant)


def _features(picture: Picture) -> _Features:
    height, width = picture.shape[:2]
    factor = max(1, math.floor(min(height, width) / _VIEWED + 0.5))
    red, green, blue = picture.transpose(2, 0, 1).astype(np.float64)
    luminance, *chroma = (_shrunk(r * red + g * green + b * blue, factor) for r, g, b in _YIQ)
    gradient = np.hypot(_derivative(luminance, _SCHARR), _derivative(luminance, _SCHARR.T))
    return _Features(phase_congruency(luminance), gradient, (chroma[0], chroma[1]))


def _derivative(plane: Plane, kernel: Plane) -> Plane:
    return np.asarray(correlate(plane, kernel, mode="constant"), dtype=np.float64)


def _shrunk(plane: Plane, factor: int) -> Plane:
    """Return means of factor x factor blocks; the first block begins (factor - 1) // 2 pixels outside of the frame."""
    ahead = (factor - 1) // 2
    rows, columns = (-(-length // factor) for length in plane.shape)
    blocks = np.zeros((rows * factor, columns * factor))
    kept = plane[: rows * factor - ahead, : columns * factor - ahead]
    blocks[ahead : ahead + kept.shape[0], ahead : ahead + kept.shape[1]] = kept
    return np.asarray(blocks.reshape(rows, factor, columns, factor).mean(axis=(1, 3)), dtype=np.float64)
