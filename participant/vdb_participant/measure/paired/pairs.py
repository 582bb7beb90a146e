"""Frames in pairs: what may be compared, and how scores of pairs become the score of a clip.

Promises that one pair is in work at a time, so that memory does not grow with the clip, and that the mean is the sum of
the pairs' scores rounded once, in whatever order or pieces a clip is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_shared.errors import StatisticError

Picture: TypeAlias = NDArray[np.uint8]
"""One frame: (H, W, 3), RGB, 0..255."""

Plane: TypeAlias = NDArray[np.float64]
"""One channel (H, W), or channels (3, H, W), in float64."""


def check_pairs(
    frames: Frames, reference: Frames, *, smallest: int = 1, score: str = "a score against a reference"
) -> None:
    """Refuse clips that cannot be compared frame by frame.

    Args:
        frames: uint8 (T, H, W, 3).
        reference: of the same shape.
        smallest: length that the shorter side of a frame must have.
        score: what needs it, for the message.

    Raises:
        StatisticError: the shapes differ, there is no frame, or frames are smaller than that.
    """
    for clip in (frames, reference):
        if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
            raise ValueError(f"frames must be uint8 (T, H, W, 3), not {clip.dtype} {clip.shape}")
    if frames.shape != reference.shape:
        raise StatisticError(
            f"expected a clip and a reference of one shape, found {frames.shape} and {reference.shape}; "
            "cut and resize the reference to the clip"
        )
    if len(frames) == 0:
        raise StatisticError(f"{score} needs a frame, found none")
    height, width = frames.shape[1:3]
    if min(height, width) < smallest:
        raise StatisticError(f"{score} needs frames of at least {smallest}x{smallest}, found {height}x{width}")


def mean_over_frames(score: Callable[[Picture, Picture], float], frames: Frames, reference: Frames) -> float:
    """Return the mean of a score over the pairs of frames with the same index."""
    return math.fsum(map(score, frames, reference)) / len(frames)
