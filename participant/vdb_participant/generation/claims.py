"""Claims on clips, so that several agents on one folder never make a clip twice.

Promises that at most one process holds a claim, and that the claim of a process that died, however it died, is free at once:
the kernel holds it (flock), not a file's presence. Needs a local disk or NFSv4; a file system that has no locks is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vdb_shared.errors import StoreError

FRESH_SECONDS: Final = 60.0
"""An empty partial file of this age may belong to a process that has not locked it yet."""


@contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the claim whose lock file is `path` for the length of a block; the file goes with it.

    Args:
        path: of the lock file.
        wait: until whoever holds it lets go, or dies.

    Yields:
        Whether the claim is ours; always, with `wait`.

    Raises:
        StoreError: the folder cannot hold locks.
    """
    handle = _acquire(path, wait=wait)
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path, *, wait: bool) -> int | None:
    while True:
        try:
            path.parent.mkdir(exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: cannot be made: {error.strerror}; free space and start again") from error
        if not _lock(handle, path, wait=wait):
            os.close(handle)
            return None
        if _same(handle, path):
            return handle
        os.close(handle)  # whoever held it removed the file meanwhile: another may hold a new one


def _lock(handle: int, path: Path, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return False
        os.close(handle)
        raise StoreError(f"{path}: cannot be locked: {error.strerror}; choose a folder on a local disk") from error
    return True


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def remove_leftovers(folder: Path, now: float) -> None:
    """Remove what processes that died left in a store: half-written files, free claims, steps of settled clips.

    Args:
        folder: of the store.
        now: seconds since the epoch.
    """
    for path in folder.glob("??/.partial-*"):
        _remove_unless_locked(path, now)
    for path in folder.glob("??/*.lock"):
        _remove_unless_locked(path, now + FRESH_SECONDS)
    for path in folder.glob("??/*.steps"):
        if path.with_suffix(".clip").exists() or path.with_suffix(".failed").exists():
            path.unlink(missing_ok=True)


def _remove_unless_locked(path: Path, now: float) -> None:
    with suppress(FileNotFoundError), path.open("r+b") as stream:  # NFS locks only what may be written
        found = os.fstat(stream.fileno())
        if found.st_size == 0 and now - found.st_mtime < FRESH_SECONDS:
            return
        with suppress(BlockingIOError):  # whoever made it lives
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
