"""How well every other frame follows from its neighbours."""

from __future__ import annotations

import numpy as np

from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.flow import Flow, Frame, dis_flow, require_frames
from vdb_participant.measure.motion.sampling import warp


def motion_smoothness(frames: Frames, flow: Flow = dis_flow) -> float:
    """Return (255 - mean |interpolated - real|) / 255 over the odd frames between two even ones, in [0, 1].

    Args:
        frames: uint8 (T, H, W, 3), T >= 3; frames are numbered from 0, and the last of an even number is not used.
        flow: how flow is found.

    Raises:
        StatisticError: fewer than three frames, or they are too small.

    Source: VBench (Huang et al. 2024), motion smoothness, with `halfway` instead of AMT (whose weights are not free for
    commercial use), and always at the frames' own size.
    """
    require_frames(frames, 3, "motion smoothness")
    odd = range(1, len(frames) - 1, 2)
    total = 0
    for index in odd:
        interpolated = halfway(frames[index - 1], frames[index + 1], flow)
        total += int(np.abs(interpolated.astype(np.int64) - frames[index]).sum())
    return (255 - total / (len(odd) * int(frames[0].size))) / 255


def halfway(earlier: Frame, later: Frame, flow: Flow = dis_flow) -> Frame:
    """Return the frame in the middle of two: the mean of both, each moved half the way, in whole levels (H, W, 3).

    With the flows f forward and b backward, the middle's pixel p is taken from `earlier` at p - (f - b)(p) / 4 and from
    `later` at p + (f - b)(p) / 4.

    Raises:
        StatisticError: the frames are too small.

    Source: Jiang et al. 2018 (Super SloMo), eq. 4 with t = 1/2, and equal weights instead of its networks.
    """
    quarter = (flow(earlier, later).astype(np.float64) - flow(later, earlier)) / 4
    middle = (warp(earlier, -quarter) + warp(later, quarter)) / 2
    return np.asarray(np.rint(middle), dtype=np.uint8)
