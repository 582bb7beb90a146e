"""Values between pixels, in float64 and by one formula, so that they are the same on all hardware."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.measure.motion.flow import Displacements

Values = NDArray[np.float64]

_AT_ONCE: Final = 2**16
"""Positions that are sampled together: some megabytes, which a processor keeps close."""


def sample(picture: NDArray[Any], x: Values, y: Values) -> Values:
    """Return bilinear values of a picture; a position outside takes that of the nearest pixel of the border.

    Args:
        picture: (H, W, C).
        x: positions (...), in pixels to the right of the centre of the first.
        y: of the same shape, in pixels down.

    Returns:
        float64 (..., C), exact at the centres of pixels and where neighbours are equal.
    """
    height, width, channels = picture.shape
    planes = [np.ascontiguousarray(picture[..., channel]).reshape(-1) for channel in range(channels)]
    across, down = x.reshape(-1), y.reshape(-1)
    values = np.empty((x.size, channels))
    for start in range(0, x.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        _sample_part(
            planes, np.clip(across[part], 0, width - 1), np.clip(down[part], 0, height - 1), width, values[part]
        )
    return values.reshape(*x.shape, channels)


def targets(displacements: NDArray[np.floating[Any]]) -> tuple[Values, Values]:
    """Return where each pixel moves to: x and y, float64 (H, W) each."""
    height, width = displacements.shape[:2]
    return (
        np.arange(width, dtype=np.float64) + displacements[..., 0],
        np.arange(height, dtype=np.float64)[:, np.newaxis] + displacements[..., 1],
    )


def warp(picture: NDArray[Any], displacements: Displacements | Values) -> Values:
    """Return the picture (H, W, C) seen from where the displacements (H, W, 2) start: float64 (H, W, C)."""
    return sample(picture, *targets(displacements))


def _sample_part(planes: list[NDArray[Any]], x: Values, y: Values, width: int, values: Values) -> None:
    """Write the values (N, C) of flat planes at positions (N,) inside of them."""
    left, top = x.astype(np.intp), y.astype(np.intp)
    along, down = x - left, y - top
    # The last column and row have no neighbour, and their positions no fraction: they are their own neighbour.
    right = np.where(left < width - 1, 1, 0)
    below = np.where(top < len(planes[0]) // width - 1, width, 0)
    first = top * width + left
    corners = (first, first + right, first + below, first + right + below)
    for channel, plane in enumerate(planes):
        upper_left, upper_right, lower_left, lower_right = (plane[corner].astype(np.float64) for corner in corners)
        upper = upper_left + along * (upper_right - upper_left)
        lower = lower_left + along * (lower_right - lower_left)
        values[:, channel] = upper + down * (lower - upper)
