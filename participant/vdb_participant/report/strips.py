"""Film strips: a few frames of a clip side by side in one picture, and how large pictures may be so that a page stays small.

Promises pictures without loss beyond scaling down, by the one resize of the project, and that all pictures of a page together
have at most `MOST_VALUES` values, so that no page grows beyond what a browser or a letter box takes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from vdb_participant.data.resize import resize
from vdb_participant.data.video import Frames

FRAMES: Final = 5
"""Of a strip: the beginning, the end, and enough between them to see what moves."""

HEIGHTS: Final = (160, 128, 96, 64, 48, 32, 16)
"""Most pixels that a frame may be high; the first for which all pictures stay within bounds is taken."""

MOST_VALUES: Final = 6 * 2**20
"""Values (bytes before compression) of all pictures of a page: 8 MiB as base64 if nothing could be compressed."""

_WIDEST: Final = 3
"""Most times as wide as high that a frame of full height may be; a wider one is made lower."""

_GAP: Final = 2
_GREY: Final = 128
"""Between frames, seen on light and on dark ground."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A film strip.

    Attributes:
        png: the picture.
        height, width: of the picture, pixels.
        frames: numbers of the clip's frames that it shows, from 0.
    """

    png: bytes = field(repr=False)
    height: int
    width: int
    frames: tuple[int, ...]

    @property
    def uri(self) -> str:
        """The picture as a data: URI."""
        return f"data:image/png;base64,{b64encode(self.png).decode('ascii')}"


def film_strip(clip: Frames, most: int = HEIGHTS[0]) -> Strip:
    """Return the film strip of a clip.

    Args:
        clip: uint8 (T, H, W, 3), T at least 1.
        most: pixels that a frame may be high; a larger one is scaled down, none is scaled up.
    """
    numbers = chosen_frames(len(clip))
    frames = resize(clip[list(numbers)], *scaled(clip.shape[1], clip.shape[2], most))
    gap = np.full((frames.shape[1], _GAP, 3), _GREY, dtype=np.uint8)
    parts = [part for frame in frames for part in (gap, frame)][1:]
    picture = np.concatenate(parts, axis=1)
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return Strip(stream.getvalue(), picture.shape[0], picture.shape[1], numbers)


def chosen_frames(count: int) -> tuple[int, ...]:
    """Return the numbers of the frames of a strip, evenly spaced from the first to the last."""
    return tuple(int(number) for number in np.linspace(0, count - 1, min(FRAMES, count)).round())


def scaled(height: int, width: int, most: int) -> tuple[int, int]:
    """Return height and width of a frame that is scaled down, but never up, to be at most so high and `_WIDEST` as wide."""
    scale = min(1.0, most / height, _WIDEST * most / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def height_within(shapes: Sequence[tuple[int, int, int, int]], values: int = MOST_VALUES) -> int | None:
    """Return how high frames may be so that the strips of these clips stay within bounds; None if they are too many.

    Args:
        shapes: (T, H, W, 3) of each clip.
        values: of all strips together.
    """
    return next((most for most in HEIGHTS if sum(_values(shape, most) for shape in shapes) <= values), None)


def _values(shape: tuple[int, int, int, int], most: int) -> int:
    height, width = scaled(shape[1], shape[2], most)
    return min(FRAMES, shape[0]) * height * (width + _GAP) * 3
