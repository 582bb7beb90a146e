"""Files that survive a crash: appended, replaced and erased with fsync, readable by their owner alone.

Promises that what `append`, `replace` and `write_durably` returned from is on the disk, with the folders in which it lies, and
that a failed write leaves what was there. Leaves formats to callers. Erasing overwrites the bytes in place; file systems that
copy on write, and flash drives, may keep older ones (§12.4).
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Final, Protocol

from vdb_shared.errors import StoreError, UsageError

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_OLD: Final = ".old"
_NEW: Final = ".new"


class Storage(Protocol):
    """Where one journal lives."""

    def read(self) -> bytes:
        """Return all bytes."""

    def append(self, position: int, data: bytes) -> None:
        """Write `data` at `position`, dropping whatever was there or beyond, and return once it is durable."""

    def replace(self, data: bytes) -> None:
        """Put `data` in the place of all bytes, durably and at once, and overwrite the old ones."""


def write_private(path: Path, data: bytes) -> None:
    """Write a file that the operator asked for, such as exact figures; only its owner can read it, also if it was there before.

    What is no regular file, such as a pipe or a terminal, is written to as it is.

    Raises:
        UsageError: it cannot be written, or is another user's.
    """
    try:
        with open(path, "wb", opener=_private) as stream:
            stream.write(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def _private(path: str, flags: int) -> int:
    """Open a file for writing; what it held is gone only when nobody else can read it."""
    descriptor = os.open(path, flags & ~os.O_TRUNC, PRIVATE_FILE)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, PRIVATE_FILE)
            os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class FileStorage:
    """One file, locked for as long as it is open, so that two agents never share a session; implements Storage."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it and its folder when missing.

        Raises:
            StoreError: another process has it open, or it cannot be opened.
        """
        make_folder(path.parent)
        self._path = path
        self._lock = _open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StoreError(
                f"{path.parent}: another vdb-participant works on this session; wait for it or stop it"
            ) from error
        _finish_replacing(path)
        self._file = _open(path, os.O_RDWR | os.O_CREAT)
        sync_folder(path.parent)

    def close(self) -> None:
        """Let go of file and lock."""
        os.close(self._file)
        os.close(self._lock)

    def read(self) -> bytes:
        """Return all bytes."""
        with self._path.open("rb") as stream:
            return stream.read()

    def append(self, position: int, data: bytes) -> None:
        """Write `data` at `position`, dropping whatever was there or beyond, and return once it is durable."""
        try:
            os.ftruncate(self._file, position)
            _write(self._file, data, position)
            os.fsync(self._file)
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and run again"
            ) from error

    def replace(self, data: bytes) -> None:
        """Put `data` in the place of all bytes, durably and at once, and overwrite the old ones.

        The old bytes keep a name of their own until they are overwritten, so that whoever opens the file after a crash
        finds them; before the new ones have their name, both names mean the same file, which is then only unnamed.
        """
        old = self._path.with_suffix(_OLD)
        try:
            new = _write_new(self._path, data)
            os.link(self._path, old)
            sync_folder(self._path.parent)
            new.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot be replaced ({error.strerror}); free some space and run again"
            ) from error
        replaced, self._file = self._file, _open(self._path, os.O_RDWR)
        os.close(replaced)
        _wipe(old)


def make_folder(path: Path) -> None:
    """Make a folder (and those above it) that only its owner may read, so that a power cut takes none of them back.

    Without the second part a journal could be durable in a folder that is not.
    """
    try:
        if path.is_dir():
            return
        make_folder(path.parent)
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made a folder ({error.strerror}); choose another with --dir") from error


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole file, 0600, so that after a crash it has the old bytes or the new ones.

    Raises:
        StoreError: it cannot be written.
    """
    make_folder(path.parent)
    try:
        _write_new(path, data).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error


def erase(path: Path) -> None:
    """Overwrite and remove a file, if it is there."""
    _wipe(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        StoreError: the disk refuses.
    """
    descriptor = _open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be made durable ({error.strerror}); look at the disk and run again"
        ) from error
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, PRIVATE_FILE)
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened ({error.strerror})") from error


def _write(descriptor: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written


def _write_new(path: Path, data: bytes) -> Path:
    new = path.with_name(path.name + _NEW)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    try:
        _write(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return new


def _finish_replacing(path: Path) -> None:
    """Overwrite what a replacement left behind, unless it never came to take the file's place."""
    old = path.with_suffix(_OLD)
    if old.exists() and path.exists() and old.samefile(path):
        old.unlink()
    else:
        _wipe(old)


def _wipe(path: Path) -> None:
    """Overwrite a file with zeros and remove it, if it is there.

    Raises:
        StoreError: the disk refuses; the file is there still.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return
    try:
        _write(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
        path.unlink()
    except OSError as error:
        raise StoreError(f"{path}: cannot be erased ({error.strerror}); look at the disk and run again") from error
    finally:
        os.close(descriptor)
