"""Durable and private files: what a coordinator keeps beside its database.

Promises that a file written here is complete or absent after a power cut, and that secrets are readable by their owner only.

Source: open(2), fsync(2), rename(2).
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vdb_shared.errors import StoreError, UsageError


def write_durably(
    path: Path, content: bytes, *, mode: int = 0o644, before_rename: Callable[[], None] = lambda: None
) -> None:
    """Write a file so that after any crash it is there as a whole or as it was before.

    Args:
        path: of the file.
        content: all of it.
        mode: its permissions.
        before_rename: called when the content is durable under another name; what it raises leaves the file as it was.

    Raises:
        StoreError: the file system refuses: full, read-only, no permission.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        before_rename()
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # a file system that is read-only now refuses this too
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
        raise
    sync_directory(path.parent)


def make_directories(path: Path) -> None:
    """Make a directory and those above it, so that their names outlive a power cut.

    Raises:
        StoreError: the file system refuses.
    """
    if path.is_dir():
        return
    make_directories(path.parent)
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}") from error
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        StoreError: the file system refuses.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"{directory}: cannot be made durable: {error.strerror}") from error


def write_secret(path: Path, content: bytes) -> None:
    """Write a file durably that only its owner can read."""
    write_durably(path, content, mode=0o600)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def which_file(path: Path) -> tuple[int, ...] | None:
    """Return what tells a file from another one that takes its name, None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


class DirectoryLock:
    """Held while a process serves a directory; the operating system lets go when the process ends."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise UsageError(f"{path.parent}: another process serves this directory; stop it first") from error

    def release(self) -> None:
        """Let go."""
        os.close(self._descriptor)
