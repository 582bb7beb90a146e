"""The agent's side of decoding: it opens a file, hands it to the decoder, and takes frames from shared memory.

Promises that no untrusted file is decoded in the agent's own process; that a file which crashes, stalls or exhausts its decoder
is an error of that file, whatever was decoded before; that frames are those of `media.py`, bit for bit; and that no
frame changes once it was returned. The decoder is a program of its own, never a fork of the agent, and knows no file but those
it is handed. Leaves starting it to `program.py`, the other side to `process.py`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final, Self

from vdb_participant.data.decoding.answers import (
    Answer,
    EndedFile,
    GlancedFile,
    ReadyFile,
    RefusedFile,
    SeenFile,
    one_line,
    parse_answer,
)
from vdb_participant.data.decoding.glances import HEIGHT, PICTURES, WIDTH, small
from vdb_participant.data.decoding.media import DEFAULT_LIMITS, Clip, Frames, Limits, too_late
from vdb_participant.data.decoding.memory import Memory
from vdb_participant.data.decoding.messages import MESSAGE_BYTES, Request
from vdb_participant.data.decoding.program import PROGRAM, Program, start
from vdb_shared.errors import DatasetError

_ANSWERING_SECONDS: Final = 30.0
"""Beyond twice a file's time, since the program tries a file again in a fresh process, and itself ends one that is late."""

_TRIES: Final = 2
"""Programs that a file may bring to an end: the first may have ended for another reason, such as a machine out of memory."""


@dataclass(frozen=True, slots=True)
class Glance:
    """A few small pictures of a whole clip.

    Attributes:
        pictures: uint8 (k, h, w, 3), k at most `glances.PICTURES`.
        numbers: of the frames that they show, ascending.
        frames: how many frames of the clip could be decoded.
        height, width: of the clip, pixels.
        fps: as the file states it; 0 if it states none.
        ended: why no further frame could be decoded, or "" at the clip's own end.
    """

    pictures: Frames = field(repr=False)
    numbers: tuple[int, ...]
    frames: int
    height: int
    width: int
    fps: Fraction
    ended: str


class Decoder:
    """Decodes untrusted files elsewhere, one at a time; started at the first. Threads may share it, forks start their own."""

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        """Return a decoder.

        Args:
            program: what Python runs; it takes the number of a descriptor as its last argument.
        """
        self._words = tuple(program)
        self._lock = threading.Lock()
        self._running: Program | None = None
        self._kept: Memory | None = None
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def video(self, path: Path, *, frames: int | None = None, limits: Limits = DEFAULT_LIMITS) -> Clip:
        """Return the first frames of a video file as they are coded; rotation flags are not applied.

        Args:
            path: the file.
            frames: how many frames are wanted, or None for all; a shorter file gives fewer.
            limits: what decoding may take.

        Raises:
            DatasetError: unreadable, without frames, or beyond a limit; names file and reason.
            UsageError: no decoder can be started on this machine.
        """
        room = limits.decoded_bytes if frames is None else min(limits.decoded_bytes, frames * limits.pixels * 3)
        return self._clip(path, Request("video", path.suffix, frames or 0, limits, room))

    def picture(self, path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Clip:
        """Return a picture as a clip of one frame, as it is coded; rotation flags are not applied, transparency is left out.

        Raises:
            DatasetError, UsageError: see `video`.
        """
        room = min(limits.decoded_bytes, limits.pixels * 3)
        return self._clip(path, Request("picture", path.suffix, 1, limits, room))

    def count(self, path: Path, *, at_most: int, limits: Limits = DEFAULT_LIMITS) -> int:
        """Return how many frames of a file can be decoded, counting no further than `at_most`.

        Raises:
            DatasetError, UsageError: see `video`.
        """
        request = Request("count", path.suffix, at_most, limits)
        with _opened(path, limits) as source, self._lock:
            found = self._asked(path, request, [source])
        if not isinstance(found, SeenFile) or found.frames > at_most:
            raise _nonsense(path)
        return found.frames

    def glance(self, path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Glance:
        """Return a few small pictures of a clip, which is decoded to its end or until it cannot be decoded further.

        Raises:
            DatasetError, UsageError: see `video`.
        """
        request = Request("glance", path.suffix, PICTURES, limits, PICTURES * HEIGHT * WIDTH * 3)
        with _opened(path, limits) as source, self._lock, self._memory(request.output) as memory:
            found = self._asked(path, request, [source, memory.descriptor])
            if not isinstance(found, GlancedFile) or not _is_glance(found, limits):
                raise _nonsense(path)
            pictures = _taken(path, memory, (len(found.numbers), *found.small, 3))
        size = (found.frames, found.height, found.width, Fraction(*found.rate))
        return Glance(pictures, found.numbers, *size, one_line(found.ended) if found.ended else "")

    def started(self) -> ReadyFile:
        """Start the program if it is not running, and return what it could give up.

        Raises:
            UsageError: it cannot be started.
        """
        with self._lock:
            return self._program().ready

    def close(self) -> None:
        """End the program; the next file starts another."""
        with self._lock:
            self._end()

    def _clip(self, path: Path, request: Request) -> Clip:
        limits = request.limits
        reading = "read as a picture" if request.kind == "picture" else "decoded"
        with _opened(path, limits, reading) as source, self._lock, self._memory(request.output) as memory:
            found = self._asked(path, request, [source, memory.descriptor])
            if not isinstance(found, SeenFile) or not _is_clip(found, request):
                raise _nonsense(path)
            frames = _taken(path, memory, (found.frames, found.height, found.width, 3))
        return Clip(frames, Fraction(*found.rate))

    @contextlib.contextmanager
    def _memory(self, size: int) -> Iterator[Memory]:
        """Yield memory of this size; the same as for the last file if all went well with it. The lock is held."""
        self._notice_fork()
        memory, self._kept = self._kept, None
        if memory is not None and memory.size != size:
            memory.close()
            memory = None
        memory = memory or Memory(size)
        done = False
        try:
            yield memory
            done = not memory.is_spent
        finally:
            if done:
                self._kept = memory
            else:
                memory.close()

    def _asked(self, path: Path, request: Request, descriptors: list[int]) -> Answer:
        """Return the answer to a request.

        Raises:
            DatasetError: the file cannot be used, says its decoder; or brought its decoder to an end.
        """
        found = self._exchanged(path, request, descriptors)
        match found:
            case RefusedFile(reason=reason):
                raise DatasetError(f"{path}: {one_line(reason)}")
            case EndedFile(late=True):
                raise DatasetError(f"{path}: {too_late(request.limits)}")
            case EndedFile(signal=0, status=status):
                raise DatasetError(f"{path}: the decoder failed (exit status {status}); re-encode it or take it out")
            case EndedFile(signal=number):
                raise DatasetError(f"{path}: the decoder crashed (signal {number}); re-encode it or take it out")
        return found

    def _exchanged(self, path: Path, request: Request, descriptors: list[int]) -> Answer:
        """Return the answer of a program; one that ends over it is started again. The lock is held."""
        for _ in range(_TRIES):
            line, answered = self._program().line, False
            line.settimeout(2 * request.limits.seconds + _ANSWERING_SECONDS)
            try:
                os.lseek(descriptors[0], 0, os.SEEK_SET)
                socket.send_fds(line, [request.to_bytes()], descriptors)
                if said := line.recv(MESSAGE_BYTES):
                    found = parse_answer(said)
                    answered = True
                    return found
            except TimeoutError:
                raise DatasetError(f"{path}: {too_late(request.limits)}") from None
            except ValueError:
                raise _nonsense(path) from None
            except OSError:  # the program is gone
                continue
            finally:
                if not answered:  # whatever came between: an answer that nobody waited for would be the next file's
                    self._end()
        raise DatasetError(f"{path}: the decoder was ended twice over it; re-encode it or take it out")

    def _program(self) -> Program:
        """Return the running program, started if need be; the lock is held."""
        self._notice_fork()
        if self._running is None:
            self._running = start(self._words)
        return self._running

    def _notice_fork(self) -> None:
        """Leave program and memory to the process that this one was forked from."""
        if self._owner != os.getpid():
            if self._running is not None:
                self._running.line.close()
            if self._kept is not None:
                self._kept.close()
            self._running = self._kept = None
            self._owner = os.getpid()

    def _end(self) -> None:
        self._notice_fork()
        if self._running is not None:
            self._running.end()
        if self._kept is not None:
            self._kept.close()
        self._running = self._kept = None


@cache
def process_decoder() -> Decoder:
    """Return the decoder that all of this process shares; it ends with the process, however that ends."""
    decoder = Decoder()
    atexit.register(decoder.close)
    return decoder


@contextlib.contextmanager
def _opened(path: Path, limits: Limits, reading: str = "decoded") -> Iterator[int]:
    """Yield a descriptor of a file that may be read.

    Raises:
        DatasetError: it cannot be opened, is no file, is empty or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in its place would block
    except OSError as error:
        raise DatasetError(f"{path}: cannot be {reading}: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise DatasetError(f"{path}: cannot be {reading}: is not a file")
        if found.st_size == 0:
            raise DatasetError(f"{path}: is empty")
        if found.st_size > limits.file_bytes:
            raise DatasetError(
                f"{path}: has {found.st_size} bytes, more than the {limits.file_bytes} allowed; cut it into clips"
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(path: Path, memory: Memory, shape: tuple[int, ...]) -> Frames:
    """Return frames that nobody else can change.

    Raises:
        DatasetError: a decoder keeps a hold on them.
    """
    try:
        return memory.taken(shape)
    except OSError as error:
        raise _nonsense(path) from error


def _is_clip(found: SeenFile, request: Request) -> bool:
    """Return whether an answer is within what was asked for."""
    size = found.height * found.width
    wanted = request.frames or found.frames
    return (
        1 <= found.frames <= wanted and 1 <= size <= request.limits.pixels and found.frames * size * 3 <= request.output
    )


def _is_glance(found: GlancedFile, limits: Limits) -> bool:
    size = found.height * found.width
    numbers = found.numbers
    ascending = list(numbers) == sorted(set(numbers)) and 1 <= len(numbers) <= PICTURES
    return (
        1 <= size <= limits.pixels
        and found.small == small(found.height, found.width)
        and ascending
        and numbers[-1] < found.frames
    )


def _nonsense(path: Path) -> DatasetError:
    return DatasetError(f"{path}: the decoder gave an answer that cannot be; re-encode it or take it out")
