"""A folder beside a new file or directory, in which it is made until it is whole.

Promises that nobody else reads it, that two programs do not work in one, and that what a killed program left in it is gone when
the next one begins. The last step, giving what was made its name, is the caller's and cannot be seen half done.

Source: flock(2), rename(2).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vdb_coordinator.files import make_directories, sync_directory
from vdb_shared.errors import StoreError, UsageError


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """Make an empty private folder beside a target for the length of a block.

    Raises:
        UsageError: another program makes the same target.
        StoreError: the file system refuses.
    """
    folder = target.absolute().with_name(f".{target.absolute().name}.unfinished")
    make_directories(folder.parent)
    try:
        descriptor = _held(folder)
        try:
            for left in folder.iterdir():
                _remove(left)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be used: {error.strerror}") from error


def move_into_place(made: Path, target: Path) -> None:
    """Give what was made its name, durably.

    Raises:
        UsageError: there is something of that name meanwhile.
        StoreError: the file system refuses.
    """
    if target.is_dir() and made.is_dir() and not any(target.iterdir()):
        pass  # rename(2) replaces an empty directory
    elif target.exists():
        raise UsageError(f"{target}: exists already; name another one or remove it")
    try:
        made.rename(target)
        sync_directory(target.absolute().parent)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror}") from error


def _held(folder: Path) -> int:
    """Return a descriptor that locks the folder that has this name."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise UsageError(f"{folder}: another program works there; wait for its end") from error
        if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
        os.close(descriptor)  # it was removed by who held it before


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
