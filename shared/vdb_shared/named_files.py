"""Files that somebody names on a command line: read whole within a bound, or refused in one line that names them."""

from __future__ import annotations

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
