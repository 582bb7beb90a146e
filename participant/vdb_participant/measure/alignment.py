"""Scores of the direction of frame embeddings: towards the prompt, and from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vdb_shared.errors import StatisticError

Vector = NDArray[np.float64]


def clip_score(frames: Vector, text: Vector) -> float:
    """Return the mean over frames of max(100 cos(frame, text), 0), in [0, 100].

    Args:
        frames: unit vectors (T, D).
        text: unit vector (D,).

    Source: Hessel et al. 2021 (CLIPScore) with weight 100, as in torchmetrics, per frame.
    """
    return float(np.maximum(100.0 * (frames @ text), 0.0).mean())


def clip_temporal_consistency(frames: Vector) -> float:
    """Return the mean cosine of consecutive frames, in [-1, 1], not clamped.

    Args:
        frames: unit vectors (T, D), T >= 2.

    Raises:
        StatisticError: fewer than two frames.

    Source: frame consistency of Gen-1 (Esser et al. 2023).
    """
    if len(frames) < 2:
        raise StatisticError(f"temporal consistency needs two frames, found {len(frames)}")
    return float((frames[:-1] * frames[1:]).sum(axis=1).mean())
