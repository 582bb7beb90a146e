"""Optical flow of consecutive frames; by dense inverse search where no other way is given.

Promises a flow that depends on two frames alone: not on the number of threads, nor on what was computed before; and that
no more than two frames and their flows are held. Between processors of other instruction sets DIS differs in the last
places of float32, and by whole pixels where two frames show nothing in common. Leaves what flow says about a clip to the
modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_shared.errors import StatisticError

Frame = NDArray[np.uint8]
"""A picture: (H, W, 3), RGB, 0..255."""

Displacements = NDArray[np.float32]
"""How far the content of each pixel moves, in pixels to the right and down: (H, W, 2)."""

SMALLEST_SIDE: Final = 16
"""Of a frame in which DIS searches: two of its patches. OpenCV would take 12, and crashes on low and wide frames."""

HALVED_FROM: Final = 46
"""Longer side from which DIS may end its search at half the size, as the preset says. Below, OpenCV would put settings of
its own in place of the preset's, depending on the call before."""


class Flow(Protocol):
    """A way to find where the content of one frame is in another."""

    def __call__(self, earlier: Frame, later: Frame, /) -> Displacements:
        """Return the displacements (H, W, 2) by which `earlier` becomes `later`, two frames of one size.

        Raises:
            StatisticError: they are too small.
        """
        ...


def dis_flow(earlier: Frame, later: Frame) -> Displacements:
    """Return the displacements that OpenCV's DIS finds with its preset "medium", float32 (H, W, 2).

    It searches in brightness, (77 R + 150 G + 29 B + 128) // 256, down to half the size; frames whose longer side has less
    than 46 pixels are searched at their own size, with the preset's other settings.

    Raises:
        StatisticError: a side has fewer than 16 pixels.

    Source: Kroeger et al. 2016 (Fast optical flow using dense inverse search), with the variational refinement of OpenCV.
    """
    height, width = earlier.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise StatisticError(
            f"optical flow needs frames of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels, found {height}x{width}"
        )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if max(height, width) < HALVED_FROM:
        search.setFinestScale(0)
    return np.asarray(search.calc(brightness(earlier), brightness(later), None), dtype=np.float32)


def brightness(frame: Frame) -> NDArray[np.uint8]:
    """Return (77 R + 150 G + 29 B + 128) // 256, uint8 (H, W): the weights of BT.601 in 256ths, exact in whole numbers."""
    red, green, blue = (frame[..., channel].astype(np.uint16) for channel in range(3))
    return ((77 * red + 150 * green + 29 * blue + 128) >> 8).astype(np.uint8)


def flows(frames: Frames, flow: Flow = dis_flow) -> Iterator[Displacements]:
    """Yield the displacements from each frame to the next, T - 1 of them.

    Args:
        frames: uint8 (T, H, W, 3).
        flow: how they are found.

    Raises:
        StatisticError: the frames are too small.
    """
    for earlier, later in pairwise(frames):
        yield flow(earlier, later)


def flows_both_ways(frames: Frames, flow: Flow = dis_flow) -> Iterator[tuple[Displacements, Displacements]]:
    """Yield the displacements from each frame to the next and those from the next back, T - 1 pairs.

    Args:
        frames: uint8 (T, H, W, 3).
        flow: how they are found.

    Raises:
        StatisticError: the frames are too small.
    """
    for earlier, later in pairwise(frames):
        yield flow(earlier, later), flow(later, earlier)


def require_frames(frames: Frames, least: int, score: str) -> None:
    """Check that a clip has frames enough for a score.

    Raises:
        StatisticError: it has fewer than `least`.
    """
    if len(frames) < least:
        raise StatisticError(f"{score} needs {least} frames, found {len(frames)}")
