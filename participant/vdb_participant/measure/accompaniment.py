"""Scores of sound and picture together: whether what moves is what sounds.

Promises scores that depend on neither loudness nor the size of motions, and an error for a clip that is silent, still or
too short.

Source: after Yariv et al. 2024 (audio-video alignment by motion and onsets), with correlation in the place of matched peaks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import Sound
from vdb_participant.measure.motion.flow import flows
from vdb_shared.errors import StatisticError

Values = NDArray[np.float64]

LARGEST_OFFSET: Final = 0.5
"""Seconds by which sound may be sought before or after the picture."""

_FEWEST: Final = 6
"""Pairs of frames that must overlap for a correlation to mean anything."""


def audio_video_correlation(frames: Frames, sound: Sound | None, fps: float) -> float:
    """Return the correlation of motion and loudness between consecutive frames, in [-1, 1].

    Args:
        frames: uint8 (T, H, W, 3).
        sound: of the clip; begins with its first frame.
        fps: frames per second.

    Raises:
        StatisticError: no sound, too few frames, or nothing moves or sounds differently at different times.
    """
    return _correlation(motion_of(frames), loudness_of(sound, len(frames) - 1, fps))


def audio_video_offset(frames: Frames, sound: Sound | None, fps: float) -> float:
    """Return by how many seconds, at most half a second, sound must be moved to go best with motion; >= 0.

    Both are compared at whole frames; of equally good places the nearest counts.

    Raises:
        StatisticError: as `audio_video_correlation`.
    """
    motion = motion_of(frames)
    loudness = loudness_of(sound, len(motion), fps)
    _correlation(motion, loudness)
    reach = min(round(LARGEST_OFFSET * fps), len(motion) - _FEWEST)
    best, found = -np.inf, 0
    for shift in sorted(range(-reach, reach + 1), key=abs):
        one = motion[max(0, -shift) : len(motion) - max(0, shift)]
        other = loudness[max(0, shift) : len(motion) - max(0, -shift)]
        value = _correlation(one, other) if one.std() > 0 and other.std() > 0 else -np.inf
        if value > best + 1e-12:
            best, found = value, shift
    return min(abs(found) / fps, LARGEST_OFFSET)


def motion_of(frames: Frames) -> Values:
    """Return the mean magnitude of optical flow between consecutive frames, (T - 1,), in pixels."""
    return np.array([float(np.hypot(flow[..., 0], flow[..., 1]).mean()) for flow in flows(frames)])


def loudness_of(sound: Sound | None, intervals: int, fps: float) -> Values:
    """Return the root mean square of the sound between consecutive frames, (intervals,).

    Raises:
        StatisticError: there is no sound, there are too few intervals, or it ends before the last frame's interval begins.
    """
    if sound is None:
        raise StatisticError("the clip has no sound")
    if intervals < _FEWEST:
        raise StatisticError(f"sound and picture need {_FEWEST + 1} frames to be compared, found {intervals + 1}")
    mono = np.asarray(sound.waveform, dtype=np.float64).mean(axis=0)
    edges = np.rint(np.arange(intervals + 1) * sound.rate / fps).astype(int)
    if edges[-2] >= len(mono):
        raise StatisticError(f"the sound has {len(mono) / sound.rate:.2f} s, less than the clip's frames")
    return np.array([float(np.sqrt(np.mean(mono[a:b] ** 2))) for a, b in pairwise(edges)])


def _correlation(one: Values, other: Values) -> float:
    if not (one.std() > 0 and other.std() > 0):
        raise StatisticError("nothing moves, or nothing sounds, differently at different times")
    return float(np.clip(np.corrcoef(one, other)[0, 1], -1.0, 1.0))
