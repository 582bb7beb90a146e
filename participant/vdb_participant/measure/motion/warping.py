"""How well each frame is found again in the next one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.flow import Displacements, Flow, dis_flow, flows_both_ways, require_frames
from vdb_participant.measure.motion.sampling import sample, targets, warp
from vdb_shared.errors import StatisticError


def warping_error(frames: Frames, flow: Flow = dis_flow) -> float:
    """Return the mean squared difference of frames and their successors moved back along the flow, in [0, 3].

    The mean over consecutive pairs of the mean over visible pixels of |x[t+1](p + f(p)) - x[t](p)|², summed over three
    channels in [0, 1]. Pairs without a visible pixel are left out.

    Args:
        frames: uint8 (T, H, W, 3), T >= 2.
        flow: how flow is found.

    Raises:
        StatisticError: fewer than two frames, they are too small, or no pair has a visible pixel.

    Source: EvalCrafter (Liu et al. 2024), warping error, after Lai et al. 2018; here at the frames' own size, with DIS
    instead of RAFT, and with the visibility below.
    """
    require_frames(frames, 2, "warping error")
    errors = []
    for (earlier, later), (forward, backward) in zip(pairwise(frames), flows_both_ways(frames, flow), strict=True):
        seen = visible(forward, backward)
        if seen.any():
            differences = (warp(later, forward) - earlier) / 255
            errors.append(float(np.square(differences[seen]).sum(axis=-1).mean()))
    if not errors:
        raise StatisticError("warping error needs two consecutive frames that show the same, found none; cut the clip")
    return float(np.mean(errors))


def visible(forward: Displacements, backward: Displacements) -> NDArray[np.bool_]:
    """Return which pixels of a frame are seen in the next one too, (H, W).

    A pixel p is not if p + f(p) lies outside of the frame, or if |f(p) + b|² > 0.01 (|f(p)|² + |b|²) + 0.5 with the backward
    flow b bilinearly at p + f(p).

    Args:
        forward: f, from the frame to the next one (H, W, 2).
        backward: from the next one back (H, W, 2).

    Source: the disocclusions of Ruder et al. 2016 (after Sundaram et al. 2010), as in Lai et al. 2018; without their
    motion boundaries, and with the rule for the outside, which they leave open.
    """
    height, width = forward.shape[:2]
    x, y = targets(forward)
    there = forward.astype(np.float64)
    back = sample(backward, x, y)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    missed = np.square(there + back).sum(axis=-1)
    length = np.square(there).sum(axis=-1) + np.square(back).sum(axis=-1)
    return np.asarray(inside & ~(missed > 0.01 * length + 0.5))
