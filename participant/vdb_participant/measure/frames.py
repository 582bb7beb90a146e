"""Scores of a clip's frames alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vdb_participant.data.video import Frames
from vdb_shared.errors import StatisticError


def temporal_flickering(frames: Frames) -> float:
    """Return (255 - mean |x[t+1] - x[t]|) / 255 over consecutive frames, in [0, 1]; 1 is a still picture.

    Args:
        frames: uint8 (T, H, W, 3), T >= 2. Differences are summed as whole numbers, so the score is exact.

    Raises:
        StatisticError: fewer than two frames.

    Source: VBench (Huang et al. 2024), temporal flickering, without its filter of still clips.
    """
    if len(frames) < 2:
        raise StatisticError(f"temporal flickering needs two frames, found {len(frames)}")
    total = 0
    for earlier, later in pairwise(frames):
        total += int((np.maximum(earlier, later) - np.minimum(earlier, later)).sum(dtype=np.int64))
    differences = (len(frames) - 1) * int(frames[0].size)
    return (255 - total / differences) / 255
