"""Clips for tests of decoding, and how a library alone reads them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from testkit.obedient_decoder import ordered
from vdb_participant.data.video import Frames, encode_mp4
from vdb_participant.embedded.scenes import Scene, render

PICTURES = render(Scene("circle", "red", "circling", "dark"), 0, frames=13, size=48)


def write_clip(path: Path) -> Path:
    """Write a clip of `PICTURES` and return its path."""
    encode_mp4(path, PICTURES, fps=8)
    return path


def ordering(clip: Path, order: str) -> Path:
    """Return a copy of a clip, beside it, that gives an order to a decoder that obeys."""
    path = clip.with_name(f"{order}.mp4")
    path.write_bytes(ordered(clip.read_bytes(), order))
    return path


def plainly(path: Path) -> Frames:
    """Return the frames that PyAV alone reads, by path and in this process."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
