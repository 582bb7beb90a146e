"""A glance at a whole clip: a few small pictures from its beginning to its end, in one pass and little memory.

Promises that a clip is decoded to its end, or that it is said where and why that was not possible. For people and for finding
clips that look alike; nothing that is measured comes from here. Runs in the process that it is called in (see `media.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from av.video.reformatter import VideoReformatter

from vdb_participant.data.decoding.media import Frames, Limits, Sink, Size, Source, decoded
from vdb_shared.errors import DatasetError

PICTURES: Final = 8
"""Of a glance: enough to see what happens, few enough for one row."""

HEIGHT: Final = 96
WIDTH: Final = 176
"""Most pixels of a small picture; a larger frame is scaled down, none is scaled up."""

_KEPT: Final = 4 * PICTURES
"""Small pictures held while the clip's length is not known: chosen ones lie within 1/32 of a clip from their place."""


@dataclass(frozen=True, slots=True)
class Glanced:
    """What was seen of a clip.

    Attributes:
        size: of its frames, and how many could be decoded.
        height, width: of a small picture.
        numbers: of the frames that they show, ascending.
        ended: why no further frame could be decoded, or "" at the clip's own end.
    """

    size: Size
    height: int
    width: int
    numbers: tuple[int, ...]
    ended: str


def glance(source: Source, limits: Limits, sink: Sink) -> Glanced:
    """Hand at most `PICTURES` small pictures of a clip to `sink`, evenly spaced from the first frame on.

    Raises:
        DatasetError: no frame at all can be decoded; says why, not which file.
    """
    kept, size, ended = _Thinned(), Size(0, 0, 0, Fraction(0)), ""
    try:
        for frame, rate in decoded(source, limits):
            if size.frames and (frame.height, frame.width) != (size.height, size.width):
                raise DatasetError("its frames change size")
            kept.offer(size.frames, frame)
            size = Size(size.frames + 1, frame.height, frame.width, rate)
    except DatasetError as error:
        if not size.frames:
            raise
        ended = str(error)
    if not size.frames:
        raise DatasetError("has no frames that can be decoded")
    chosen = kept.spread(size.frames)
    for place, number in enumerate(chosen):
        sink(place, kept.pictures[number])
    height, width = small(size.height, size.width)
    return Glanced(size, height, width, chosen, ended)


def small(height: int, width: int) -> tuple[int, int]:
    """Return height and width of a frame's small picture."""
    scale = min(1.0, HEIGHT / height, WIDTH / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


class _Thinned:
    """Small pictures of every 2^s-th frame; s grows with the clip."""

    def __init__(self) -> None:
        self.pictures: dict[int, Frames] = {}
        self._stride = 1
        self._colours = VideoReformatter()

    def offer(self, number: int, frame: Any) -> None:
        """Keep a frame's small picture if it is its turn."""
        if number % self._stride:
            return
        if len(self.pictures) == _KEPT:
            self._stride *= 2
            self.pictures = {kept: seen for kept, seen in self.pictures.items() if kept % self._stride == 0}
            if number % self._stride:
                return
        height, width = small(frame.height, frame.width)
        scaled = self._colours.reformat(
            frame, width=width, height=height, format="rgb24", interpolation="AREA", threads=1
        )
        self.pictures[number] = scaled.to_ndarray().astype(np.uint8, copy=False)

    def spread(self, frames: int) -> tuple[int, ...]:
        """Return the numbers of kept frames that are nearest to even places, ascending."""
        places = np.linspace(0, frames - 1, min(PICTURES, frames))
        kept = np.array(list(self.pictures))
        return tuple(sorted({int(kept[np.argmin(np.abs(kept - place))]) for place in places}))
