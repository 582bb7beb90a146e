"""Clips whose movement is known: a smooth random picture seen through a window that moves."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from vdb_participant.data.video import Frames


def picture(height: int, width: int, *, seed: int = 0, smoothness: float = 2.5) -> Frames:
    """Return a smooth random picture over all levels: uint8 (H, W, 3)."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = gaussian_filter(noise, (smoothness, smoothness, 0), mode="wrap")
    levels = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
    return np.asarray(np.rint(levels), dtype=np.uint8)


def moving(frames: int, height: int, width: int, *, right: int = 0, down: int = 0, seed: int = 0) -> Frames:
    """Return a clip whose content moves by whole pixels a frame: uint8 (T, H, W, 3)."""
    across, along = abs(right) * (frames - 1), abs(down) * (frames - 1)
    whole = picture(height + along, width + across, seed=seed)
    clip = []
    for time in range(frames):
        x = -right * time + (across if right > 0 else 0)
        y = -down * time + (along if down > 0 else 0)
        clip.append(whole[y : y + height, x : x + width])
    return np.stack(clip)


def still(frames: int, height: int, width: int, *, seed: int = 0) -> Frames:
    """Return a clip of one picture: uint8 (T, H, W, 3)."""
    return moving(frames, height, width, seed=seed)


def flickering(clip: Frames, strength: int, *, seed: int = 0) -> Frames:
    """Return a clip with uniform noise of up to `strength` levels in each pixel of each frame."""
    noise = np.random.default_rng(seed).uniform(-strength, strength, clip.shape)
    return np.clip(np.rint(clip + noise), 0, 255).astype(np.uint8)
