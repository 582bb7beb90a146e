"""Files that somebody names on a command line: read whole within a bound, never written over, or refused in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vdb_shared.errors import UsageError


def read_file(path: Path, limit: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        UsageError: it cannot be read, or has more than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if len(data) > limit:
        raise UsageError(f"{path}: is larger than the {limit} bytes that are accepted")
    return data


def spare(inputs: Sequence[Path], outputs: Iterable[Path | None]) -> None:
    """Check that no output would be written over what a command reads, before it reads anything.

    Args:
        inputs: files, or folders of which every file is spared.
        outputs: where to write, or None.

    Raises:
        UsageError: one would.
    """
    for out in outputs:
        if out is not None and any(_holds(path, out) for path in inputs):
            raise UsageError(f"{out}: is what this command reads, and would be written over; name another file")


def _holds(read: Path, out: Path) -> bool:
    if not (read.exists() and out.exists()) or out.is_dir():
        return False
    return out.samefile(read) or out.resolve().is_relative_to(read.resolve())
