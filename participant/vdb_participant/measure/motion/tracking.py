"""Features of the movement of tracked points, for a Fréchet distance between the movement of two sets of clips.

Promises features of the published size, order and quantisation. Leaves their projection and distance to `distribution.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.resize import resize
from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.flow import Displacements, Flow, dis_flow, flows, require_frames
from vdb_participant.measure.motion.sampling import Values, sample

SIDE: Final = 256
"""Height and width at which points are tracked, in whose pixels magnitudes are counted."""

MARGIN: Final = 8
"""Pixels between the border and the outermost points."""

GRID: Final = 20
"""Points along each side."""

PLACES_A_PIXEL: Final = 64
"""Tracked points lie on multiples of a 64th of a pixel, finer than DIS is exact. Without that, the last places of float32
would give points that move evenly an acceleration, which the histograms count as an eighth of the largest."""

SEGMENT: Final = 16
"""Frames over which points are tracked before they start again from the grid."""

DIRECTIONS: Final = 8
MAGNITUDES: Final = 256

CUBE_FRAMES: Final = 4
CUBE_SIDE: Final = 5
"""A histogram is of 4 frames x 5 x 5 points."""

_ALONG_TIME: Final = SEGMENT // CUBE_FRAMES
_ALONG_SIDE: Final = GRID // CUBE_SIDE
_CUBES: Final = _ALONG_TIME * _ALONG_SIDE * _ALONG_SIDE

DIMENSION: Final = 2 * _CUBES * DIRECTIONS
"""Velocities and accelerations, 4 x 4 x 4 cubes, 8 directions: 1024."""


def motion_features(frames: Frames, flow: Flow = dis_flow) -> Values:
    """Return the histograms of velocity and acceleration of 400 tracked points, float64 (1024,).

    The clip is stretched to 256x256 and cut into segments of 16 frames, of which each starts with the last frame of the one
    before; what is left at the end is not used. The result is the mean over segments: histograms of velocities, then of
    accelerations; within each, cubes by time, row and column; within each cube, directions. A histogram's sum is at
    most 100, so that the norm is at most 100 √128.

    Args:
        frames: uint8 (T, H, W, 3), T >= 16.
        flow: how points are followed.

    Raises:
        StatisticError: fewer than 16 frames.

    Source: FVMD (Liu et al. 2024) and its published code, with points that follow DIS flow, in 64ths of a pixel, instead of
    PIPs++.
    """
    require_frames(frames, SEGMENT, "FVMD")
    segments = 1 + (len(frames) - SEGMENT) // (SEGMENT - 1)
    steps = flows(resize(frames, SIDE, SIDE), flow)
    total = np.zeros(DIMENSION)
    for _ in range(segments):
        velocities, accelerations = derivatives(track(islice(steps, SEGMENT - 1)))
        total += np.concatenate([direction_histograms(velocities), direction_histograms(accelerations)])
    return total / segments


def track(steps: Iterable[Displacements]) -> Values:
    """Return where the points of the grid are in each frame, float64 (S + 1, 400, 2) in x and y, row after row.

    A point moves by the flow at its place, bilinearly, to the nearest 64th of a pixel; outside of the frame it moves by the
    flow of the nearest pixel of the border.

    Args:
        steps: S flows of consecutive frames, (256, 256, 2).
    """
    line = MARGIN + np.arange(GRID) / (GRID - 1) * (SIDE - 2 * MARGIN)
    y, x = np.meshgrid(line, line, indexing="ij")
    start = np.stack([x.ravel(), y.ravel()], axis=-1)
    places = [np.rint(start * PLACES_A_PIXEL) / PLACES_A_PIXEL]
    for step in steps:
        here = places[-1]
        there = here + sample(step, here[:, 0], here[:, 1])
        places.append(np.rint(there * PLACES_A_PIXEL) / PLACES_A_PIXEL)
    return np.stack(places)


def derivatives(places: Values) -> tuple[Values, Values]:
    """Return velocities and accelerations of places (S, N, 2), of the same shape; the first one and two are zero."""
    velocities = np.zeros_like(places)
    velocities[1:] = np.diff(places, axis=0)
    accelerations = np.zeros_like(places)
    accelerations[2:] = np.diff(velocities[1:], axis=0)
    return velocities, accelerations


def direction_histograms(vectors: Values) -> Values:
    """Return the histograms of directions of all cubes of one segment, float64 (512,).

    A vector (x, y) of length m adds ceil(log2(1 + min(m, 255))) / 8 to the bin floor((atan2(x, y) + π) / (π/4)), at most 7.
    All weights are eighths, so the sums are exact.

    Args:
        vectors: (16, 400, 2).
    """
    angles = np.arctan2(vectors[..., 0], vectors[..., 1]) + np.pi
    bins = np.clip(angles // (2 * np.pi / DIRECTIONS), 0, DIRECTIONS - 1).astype(np.intp)
    lengths = np.minimum(np.linalg.norm(vectors, axis=-1), MAGNITUDES - 1)
    weights = np.ceil(np.log2(1 + lengths)) / np.log2(MAGNITUDES)
    counts = np.bincount((_CUBE_OF_VECTOR * DIRECTIONS + bins).ravel(), weights.ravel(), minlength=_CUBES * DIRECTIONS)
    return counts.astype(np.float64)


def _cube_of_vector() -> NDArray[np.intp]:
    """Return the number of the cube of each vector of a segment, (16, 400)."""
    time, row, column = np.indices((SEGMENT, GRID, GRID))
    cubes = ((time // CUBE_FRAMES) * _ALONG_SIDE + row // CUBE_SIDE) * _ALONG_SIDE + column // CUBE_SIDE
    return np.asarray(cubes.reshape(SEGMENT, GRID * GRID), dtype=np.intp)


_CUBE_OF_VECTOR: Final = _cube_of_vector()
