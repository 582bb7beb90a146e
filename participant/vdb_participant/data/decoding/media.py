"""Reading one open media file: frames of a video, their number, a picture, or a glance at a whole clip.

Promises frames in uint8 RGB, in the order and number in which the file shows them, and no more of them than `Limits` say.
Runs in the process that it is called in: a crash of a decoding library ends that process, and an endless loop keeps it. So
the agent calls it through `decoder.py` alone. Loads no torch.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vdb_shared.errors import DatasetError

Frames = NDArray[np.uint8]
"""A clip: (T, H, W, 3), RGB, 0..255."""

CONTAINERS: Final = "mov,mp4,matroska,webm,avi,gif"
"""FFmpeg's names of the formats that are read, whatever a file is called: none of them can refer to other files or hosts,
as playlists do."""

_PICTURES: Final = ("PNG", "JPEG", "WEBP")
"""What Pillow may read, whatever a file is called."""

_MODES: Final = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"))
"""Pillow's names of pictures with at most 8 bits a channel; others it would cut to bytes without a word."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What decoding one file may take.

    Attributes:
        file_bytes: size of the file.
        pixels: height x width of a frame; 8192 x 4320 is the largest delivery format.
        decoded_bytes: memory of the frames that are kept.
        seconds: wall clock for one file.
        memory: bytes of address space for decoding, besides the program itself and the frames that are kept.
    """

    file_bytes: int = 4 * 2**30
    pixels: int = 8192 * 4320
    decoded_bytes: int = 4 * 2**30
    seconds: float = 120.0
    memory: int = 4 * 2**30


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Clip:
    """Decoded frames, uint8 (T, H, W, 3) RGB, and the rate that the file states, in frames per second."""

    frames: Frames
    fps: Fraction


@dataclass(frozen=True, slots=True)
class Size:
    """What a video's frames have in common.

    Attributes:
        frames: how many there are, or were taken.
        height, width: pixels.
        fps: as the file states it, in frames per second; 0 if it states none.
    """

    frames: int
    height: int
    width: int
    fps: Fraction


Sink = Callable[[int, Frames], None]
"""Takes frame number i, uint8 (H, W, 3)."""


class Source(io.FileIO):
    """An open file that is known by its suffix alone: what its name is, no decoding library needs to know."""

    def __init__(self, descriptor: int, suffix: str) -> None:
        super().__init__(descriptor, "rb")
        self.name = f"clip{suffix}"


def read_frames(source: Source, frames: int | None, limits: Limits, sink: Sink) -> Size:
    """Hand a video's first frames to `sink` as they are coded; rotation flags are not applied.

    Args:
        source: the file.
        frames: how many frames are wanted, or None for all; a shorter file gives fewer.
        limits: what decoding may take.
        sink: takes each frame.

    Raises:
        DatasetError: unreadable, without frames, or beyond a limit; says why, not which file.
    """
    colours, size = VideoReformatter(), None
    for frame, rate in decoded(source, limits):
        count = size.frames if size else 0
        if (count + 1) * frame.height * frame.width * 3 > limits.decoded_bytes:
            raise DatasetError(f"its frames take more than {limits.decoded_bytes} bytes; cut it into clips")
        if size and (frame.height, frame.width) != (size.height, size.width):
            raise DatasetError("its frames change size; cut it into clips of one size")
        picture = colours.reformat(frame, format="rgb24", threads=1)  # a confined process can start no thread
        sink(count, picture.to_ndarray().astype(np.uint8, copy=False))
        size = Size(count + 1, frame.height, frame.width, rate)
        if size.frames == frames:
            break
    if size is None:
        raise DatasetError("has no frames that can be decoded")
    return size


def count_frames(source: Source, at_most: int, limits: Limits) -> int:
    """Return how many frames of a file can be decoded, counting no further than `at_most`.

    Raises:
        DatasetError: unreadable or beyond a limit.
    """
    count = 0
    for count, _ in enumerate(decoded(source, limits), start=1):
        if count == at_most:
            break
    return count


def read_picture(source: Source, limits: Limits, sink: Sink) -> Size:
    """Hand a picture to `sink` as it is coded; rotation flags are not applied, transparency is left out.

    Raises:
        DatasetError: unreadable or beyond a limit; says why, not which file.
    """
    try:
        with Image.open(io.BufferedReader(source), formats=_PICTURES) as image:
            if image.width * image.height > limits.pixels:
                raise DatasetError(f"{image.width}x{image.height} is larger than {limits.pixels} pixels")
            if image.mode not in _MODES:
                raise DatasetError(f"is of mode {image.mode}; save it with 8 bits for each channel")
            sink(0, np.array(image.convert("RGB"), dtype=np.uint8))
            return Size(1, image.height, image.width, Fraction(0))
    except UnidentifiedImageError as error:
        raise DatasetError("cannot be read as a picture: cannot identify image file") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"cannot be read as a picture: {_words(error)}") from error


def decoded(source: Source, limits: Limits) -> Iterator[tuple[Any, Fraction]]:
    """Yield a file's frames with its frame rate, within limits.

    Raises:
        DatasetError: see `read_frames`.
    """
    late = DatasetError(too_late(limits))
    ends = time.monotonic() + limits.seconds
    try:
        options = {"format_whitelist": CONTAINERS}
        with av.open(source, options=options, timeout=limits.seconds, metadata_errors="ignore") as container:
            stream = _video_stream(container, limits)
            rate = max(Fraction(stream.average_rate or stream.guessed_rate or 0), Fraction(0))
            for frame in container.decode(stream):
                if time.monotonic() > ends:
                    raise late
                yield frame, rate
    except av.ExitError as error:  # the time-out of opening and reading
        raise late from error
    except MemoryError:  # which FFmpeg's own also is
        raise
    except (av.FFmpegError, OSError, EOFError, ValueError) as error:
        raise DatasetError(f"cannot be decoded: {_words(error)}") from error


def too_late(limits: Limits) -> str:
    """Return why a file is given up that takes too long."""
    return f"decoding took longer than {limits.seconds:g} s; cut it into clips"


def _words(error: BaseException) -> str:
    """Return the first line of what a library says."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words).splitlines()[0]


def _video_stream(container: Any, limits: Limits) -> Any:
    """Return the first video stream, told never to decode larger frames than allowed."""
    if not container.streams.video:
        raise DatasetError("has no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise DatasetError("is coded in a way that is not known here; re-encode it")
    if stream.width * stream.height > limits.pixels:
        raise DatasetError(f"{stream.width}x{stream.height} is larger than {limits.pixels} pixels")
    stream.codec_context.options = {"max_pixels": str(limits.pixels)}  # a stream may change size on its way
    stream.thread_count = 1  # sites run several processes; frames are the same either way
    return stream
