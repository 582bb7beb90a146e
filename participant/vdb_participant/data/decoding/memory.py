"""Memory that a decoder writes frames to and the agent takes them from.

Promises a size that neither side can change, so that the agent cannot lose what it reads from, and frames that no decoder can
change once they were taken. The beginning stays mapped on both sides from file to file, since mapping fresh pages takes as
long as some decoding; clips that are larger change hands without being copied.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Final

import numpy as np

from vdb_participant.data.decoding.media import Frames
from vdb_shared.errors import DatasetError

KEPT: Final = 2**26
"""Bytes that stay mapped: 64 MiB, 340 frames of 256 x 256 pixels."""


class Memory:
    """The agent's side."""

    def __init__(self, size: int) -> None:
        """Return memory; pages that nobody writes take none.

        Args:
            size: bytes.
        """
        self.size = size
        self.descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, size)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        self._window = mmap.mmap(self.descriptor, min(size, KEPT), mmap.MAP_SHARED, mmap.PROT_READ)
        self.is_spent = False

    def taken(self, shape: tuple[int, ...]) -> Frames:
        """Return frames from its beginning; if they are many, it is spent.

        Raises:
            OSError: a decoder keeps a hold on them.
        """
        size = int(np.prod(shape))
        if size <= len(self._window):
            return np.frombuffer(self._window, np.uint8, size).reshape(shape).copy()
        self.is_spent = True
        self._window.close()
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        private = mmap.PROT_READ | mmap.PROT_WRITE  # what is written to it stays here
        return np.ndarray(shape, np.uint8, mmap.mmap(self.descriptor, size, mmap.MAP_PRIVATE, private))

    def close(self) -> None:
        """Give it back; frames that were taken stay."""
        self._window.close()
        os.close(self.descriptor)


class Output:
    """The decoder's side: takes frames one after the other."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._size = 0
        self._window: mmap.mmap | None = None
        self._known = (0, 0)

    def begin(self, descriptor: int, size: int) -> None:
        """Take frames into other memory, or the same again.

        Args:
            descriptor: of the memory; -1 for none.
            size: bytes that may be written.
        """
        self._descriptor, self._size = descriptor, size
        found = os.fstat(descriptor) if descriptor >= 0 else None
        known = (found.st_dev, found.st_ino) if found else self._known
        if known != self._known:
            self._drop()
        if found and self._window is None:
            self._window, self._known = mmap.mmap(descriptor, min(size, KEPT)), known

    def __call__(self, number: int, frame: Frames) -> None:
        """Write frame `number`.

        Raises:
            DatasetError: there is no room for it.
        """
        start = number * frame.nbytes
        if start + frame.nbytes > self._size:
            raise DatasetError(f"its frames take more than {self._size} bytes; cut it into clips")
        if self._window is not None and start + frame.nbytes <= len(self._window):
            np.copyto(np.ndarray(frame.shape, np.uint8, self._window, start), frame)
            return
        self._drop()  # the agent takes larger clips as they are, and nobody else may hold them then
        skipped = start % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(self._descriptor, frame.nbytes + skipped, offset=start - skipped) as window:
            place = np.ndarray(frame.shape, np.uint8, window, skipped)
            np.copyto(place, frame)
            del place  # a window with views cannot be closed

    def _drop(self) -> None:
        if self._window is not None:
            self._window.close()
        self._window, self._known = None, (0, 0)
