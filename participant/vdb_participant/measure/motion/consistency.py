"""How alike the frames of a clip stay: to the one before, and to the first."""

from __future__ import annotations

import numpy as np

from vdb_participant.measure.motion.sampling import Values
from vdb_shared.errors import StatisticError


def frame_consistency(frames: Values) -> float:
    """Return the mean over t >= 1 of (max(0, cos(f[t], f[t-1])) + max(0, cos(f[t], f[0]))) / 2, in [0, 1].

    The embeddings decide what is compared: DINO's class features for the subject, CLIP's for the background.

    Args:
        frames: unit vectors (T, D), T >= 2; one without direction (NaN) makes the score NaN.

    Raises:
        StatisticError: fewer than two frames.

    Source: VBench (Huang et al. 2024), subject and background consistency of one clip.
    """
    if len(frames) < 2:
        raise StatisticError(f"consistency needs two frames, found {len(frames)}")
    with_previous = np.maximum((frames[1:] * frames[:-1]).sum(axis=1), 0.0)
    with_first = np.maximum((frames[1:] * frames[0]).sum(axis=1), 0.0)
    return float(((with_previous + with_first) / 2).mean())
