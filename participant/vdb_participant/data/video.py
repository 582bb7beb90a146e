"""Video files: bounded decoding outside this process, and encoding of synthetic clips inside it.

Promises that an untrusted file cannot take more than the stated size, length, memory and time, nor the agent down with it, and
that frames are uint8 RGB in the order and number in which the file shows them. Leaves which files to read to `dataset.py`,
their size to `resize.py`, how they are decoded to `decoding/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av

from vdb_participant.data.decoding.decoder import process_decoder
from vdb_participant.data.decoding.media import CONTAINERS, DEFAULT_LIMITS, Clip, Frames, Limits

__all__: Final = ["CONTAINERS", "DEFAULT_LIMITS", "Clip", "Frames", "Limits", "count_frames", "decode", "encode_mp4"]


def decode(path: Path, *, frames: int | None = None, limits: Limits = DEFAULT_LIMITS) -> Clip:
    """Return the first frames of a video file as they are coded; rotation flags are not applied.

    Args:
        path: the file.
        frames: how many frames are wanted, or None for all; a shorter file gives fewer.
        limits: what decoding may take.

    Raises:
        DatasetError: unreadable, without frames, or beyond a limit; names file and reason.
    """
    return process_decoder().video(path, frames=frames, limits=limits)


def count_frames(path: Path, *, at_most: int, limits: Limits = DEFAULT_LIMITS) -> int:
    """Return how many frames of a file can be decoded, counting no further than `at_most`.

    Raises:
        DatasetError: unreadable or beyond a limit.
    """
    return process_decoder().count(path, at_most=at_most, limits=limits)


def encode_mp4(path: Path, frames: Frames, *, fps: int) -> None:
    """Write frames as an H.264 MP4 file (4:2:0, one thread, so that the same frames give the same bytes).

    Args:
        path: the file to write.
        frames: uint8 (T, H, W, 3); H and W even.
        fps: frames per second.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "ultrafast", "crf": "18"}
        for picture in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
