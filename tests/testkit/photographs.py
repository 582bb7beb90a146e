"""Short clips cut from scikit-image's photographs, and the same clips made worse by a known amount."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data

from vdb_participant.data.video import Frames


def panned(*, frames: int, height: int, width: int, photograph: str = "astronaut") -> Frames:
    """Return a window that moves over a photograph, 5 pixels down and 3 to the right each frame."""
    picture = getattr(data, photograph)()
    starts = [(5 * index, 3 * index) for index in range(frames)]
    return np.stack([picture[top : top + height, left : left + width] for top, left in starts])


def with_noise(clip: Frames, deviation: float, seed: int = 0) -> Frames:
    """Return a clip with Gaussian noise; a larger deviation scales the same noise."""
    noise = np.random.default_rng(seed).standard_normal(clip.shape)
    return _bytes(clip + deviation * noise)


def blurred(clip: Frames, deviation: float) -> Frames:
    """Return a clip with each frame blurred by a Gaussian."""
    return _bytes(gaussian_filter(clip.astype(np.float64), (0, deviation, deviation, 0)))


def _bytes(values: Any) -> Frames:
    clip: Frames = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return clip
