"""How much movement a clip shows."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np

from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.flow import Displacements, Flow, dis_flow, flows, require_frames
from vdb_participant.measure.motion.sampling import Values
from vdb_shared.errors import StatisticError

SAMPLED_RATE: Final = 8
"""Frames in a second among which VBench looks for movement."""


def dynamic_degree(frames: Frames, fps: Fraction | float, flow: Flow = dis_flow) -> float:
    """Return 1.0 if a clip moves and 0.0 if it does not.

    Every max(1, round(fps / 8))-th frame is taken, n in all. A pair of neighbours among them moves if the mean of the
    largest 5 % of its flow magnitudes is above 6 min(H, W) / 256 pixels; a clip, if at least max(1, round(4 n / 16)) of its
    pairs do. Halves are rounded to even numbers.

    Args:
        frames: uint8 (T, H, W, 3).
        fps: frames in a second.
        flow: how flow is found.

    Raises:
        StatisticError: fewer than two frames are taken, they are too small, or the rate is not positive.

    Source: VBench (Huang et al. 2024), dynamic degree, with DIS instead of RAFT. VBench lets every clip of two frames move,
    as round(8 / 16) is 0; here one pair must.
    """
    taken = frames[:: _interval(fps)]
    require_frames(taken, 2, f"dynamic degree, which looks at {SAMPLED_RATE} frames a second,")
    threshold = 6.0 * min(frames.shape[1:3]) / 256.0
    moving = sum(_fastest(displacements) > threshold for displacements in flows(taken, flow))
    return float(moving >= max(1, round(4 * len(taken) / 16)))


def motion_magnitude(frames: Frames, flow: Flow = dis_flow) -> float:
    """Return the mean flow magnitude of consecutive frames in shorter sides of the frame, >= 0.

    Args:
        frames: uint8 (T, H, W, 3), T >= 2.
        flow: how flow is found.

    Raises:
        StatisticError: fewer than two frames, or they are too small.

    Source: EvalCrafter (Liu et al. 2024), flow score, divided by min(H, W) and with DIS instead of RAFT.
    """
    require_frames(frames, 2, "motion magnitude")
    means = [float(_magnitudes(displacements).mean()) for displacements in flows(frames, flow)]
    return float(np.mean(means) / min(frames.shape[1:3]))


def _interval(fps: Fraction | float) -> int:
    if not 0 < fps < float("inf"):
        raise StatisticError(f"dynamic degree needs a positive number of frames in a second, found {fps}")
    return max(1, round(fps / SAMPLED_RATE))


def _magnitudes(displacements: Displacements) -> Values:
    right, down = displacements[..., 0].astype(np.float64), displacements[..., 1].astype(np.float64)
    return np.asarray(np.hypot(right, down))


def _fastest(displacements: Displacements) -> float:
    """Return the mean of the largest floor(H W / 20) magnitudes."""
    magnitudes = np.sort(_magnitudes(displacements), axis=None)
    return float(magnitudes[len(magnitudes) - len(magnitudes) // 20 :].mean())
