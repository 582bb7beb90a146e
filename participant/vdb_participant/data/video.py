"""Video files: bounded decoding, and encoding of synthetic clips.

Promises that an untrusted file cannot take more than the stated size, length and time, and that frames are uint8 RGB in
the order and number in which the file shows them. Leaves which files to read to `dataset.py`, their size to `resize.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vdb_shared.errors import DatasetError

Frames = NDArray[np.uint8]
"""A clip: (T, H, W, 3), RGB, 0..255."""


CONTAINERS: Final = "mov,mp4,matroska,webm,avi,gif"
"""FFmpeg's names of the formats that are read, whatever a file is called: none of them can refer to other files or hosts,
as playlists do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What decoding one file may take.

    Attributes:
        file_bytes: size of the file.
        pixels: height x width of a frame; 8192 x 4320 is the largest delivery format.
        decoded_bytes: memory of the frames that are kept.
        seconds: wall clock for one file.
    """

    file_bytes: int = 4 * 2**30
    pixels: int = 8192 * 4320
    decoded_bytes: int = 4 * 2**30
    seconds: float = 120.0


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Clip:
    """Decoded frames, uint8 (T, H, W, 3) RGB, and the rate that the file states, in frames per second."""

    frames: Frames
    fps: Fraction


def decode(path: Path, *, frames: int | None = None, limits: Limits = DEFAULT_LIMITS) -> Clip:
    """Return the first frames of a video file as they are coded; rotation flags are not applied.

    Args:
        path: the file.
        frames: how many frames are wanted, or None for all; a shorter file gives fewer.
        limits: what decoding may take.

    Raises:
        DatasetError: unreadable, without frames, or beyond a limit; names file and reason.
    """
    shown: list[Frames] = []
    fps = Fraction(0)
    colours = VideoReformatter()
    for frame, rate in _decoded(path, limits):
        kept = (len(shown) + 1) * frame.height * frame.width * 3
        if kept > limits.decoded_bytes:
            raise DatasetError(f"{path}: its frames take more than {limits.decoded_bytes} bytes; cut it into clips")
        picture: Frames = colours.reformat(frame, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
        shown.append(picture)
        fps = rate
        if len(shown) == frames:
            break
    if not shown:
        raise DatasetError(f"{path}: has no frames that can be decoded")
    if any(frame.shape != shown[0].shape for frame in shown):
        raise DatasetError(f"{path}: its frames change size; cut it into clips of one size")
    return Clip(np.stack(shown), fps)


def count_frames(path: Path, *, at_most: int, limits: Limits = DEFAULT_LIMITS) -> int:
    """Return how many frames of a file can be decoded, counting no further than `at_most`.

    Raises:
        DatasetError: unreadable or beyond a limit.
    """
    count = 0
    for count, _ in enumerate(_decoded(path, limits), start=1):
        if count == at_most:
            break
    return count


def _decoded(path: Path, limits: Limits) -> Iterator[tuple[Any, Fraction]]:
    """Yield a file's frames with its frame rate, within limits."""
    late = DatasetError(f"{path}: decoding took longer than {limits.seconds:g} s; cut it into clips")
    ends = time.monotonic() + limits.seconds
    try:
        _check_size(path, limits)
        options = {"format_whitelist": CONTAINERS}
        with av.open(str(path), options=options, timeout=limits.seconds, metadata_errors="ignore") as container:
            stream = _video_stream(path, container, limits)
            rate = Fraction(stream.average_rate or stream.guessed_rate or 0)
            for frame in container.decode(stream):
                if time.monotonic() > ends:
                    raise late
                yield frame, rate
    except av.ExitError as error:  # the time-out of opening and reading
        raise late from error
    except (av.FFmpegError, OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DatasetError(f"{path}: cannot be decoded: {reason}") from error


def _check_size(path: Path, limits: Limits) -> None:
    size = path.stat().st_size
    if size == 0:
        raise DatasetError(f"{path}: is empty")
    if size > limits.file_bytes:
        raise DatasetError(f"{path}: has {size} bytes, more than the {limits.file_bytes} allowed; cut it into clips")


def _video_stream(path: Path, container: Any, limits: Limits) -> Any:
    """Return the first video stream, told never to decode larger frames than allowed."""
    if not container.streams.video:
        raise DatasetError(f"{path}: has no video stream")
    stream = container.streams.video[0]
    if stream.width * stream.height > limits.pixels:
        raise DatasetError(f"{path}: {stream.width}x{stream.height} is larger than {limits.pixels} pixels")
    stream.codec_context.options = {"max_pixels": str(limits.pixels)}  # a stream may change size on its way
    stream.thread_count = 1  # sites run several processes; frames are the same either way
    return stream


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
