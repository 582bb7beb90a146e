"""Peak signal-to-noise ratio: how far pixels are from the reference's."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vdb_participant.data.video import Frames
from vdb_participant.measure.paired.pairs import Picture, check_pairs, mean_over_frames

CEILING: Final = 100.0
"""Decibels that no frame exceeds, identical ones included; a 4K frame with one value off by one would have 122."""


def psnr(frames: Frames, reference: Frames) -> float:
    """Return the mean over frames of min(10 log10(255^2 / mean squared error), 100), in dB, in [0, 100].

    The error of a frame is taken over its pixels and channels, as a whole number divided once. The mean of the frames'
    ratios is not the ratio of their mean error.

    Args:
        frames: uint8 (T, H, W, 3).
        reference: of the same shape.

    Raises:
        StatisticError: the shapes differ, or there is no frame.

    Source: Huynh-Thu & Ghanbari, Scope of validity of PSNR in image/video quality assessment, 2008; the ceiling is ours.
    """
    check_pairs(frames, reference, score="PSNR")
    return mean_over_frames(_decibels, frames, reference)


def _decibels(first: Picture, second: Picture) -> float:
    difference = (np.maximum(first, second) - np.minimum(first, second)).astype(np.int64)
    error = int((difference * difference).sum())
    return min(10 * math.log10(255**2 * first.size / error), CEILING) if error else CEILING
