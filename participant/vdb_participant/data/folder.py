"""Where things lie in a data directory, and whether a folder is one at all.

Promises that a mistyped folder is told at once: this loads no video and no tensor library. Leaves what is in the files to
`dataset.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vdb_participant.data.ratings import RATINGS_FILE
from vdb_shared.errors import DatasetError

CLIPS_FOLDER: Final = "clips"
PROMPTS_FILE: Final = "prompts.jsonl"


def data_root(directory: Path) -> Path:
    """Return the data directory without links in its path.

    Raises:
        DatasetError: no such folder, nothing in it that could be used, something in it leads out of it, or its path is not
            UTF-8.
    """
    if not directory.is_dir():
        raise DatasetError(
            f"{directory}: expected a data folder, found none; name the one with clips/ and prompts.jsonl"
        )
    root = directory.resolve()
    if not is_text(root):
        raise DatasetError(
            f"{as_text(root)}: has a name that is not UTF-8, which no record of a session can hold; rename it"
        )
    clips, prompts, ratings = (root / name for name in (CLIPS_FOLDER, PROMPTS_FILE, RATINGS_FILE))
    if not clips.is_dir() and not prompts.is_file() and not ratings.is_file():
        raise DatasetError(
            f"{directory}: expected {CLIPS_FOLDER}/ with videos, {PROMPTS_FILE} or {RATINGS_FILE}, found none of them; "
            f"put videos into {clips}"
        )
    for place in (clips, prompts, ratings):
        if not place.resolve().is_relative_to(root):
            raise DatasetError(f"{place}: leads out of the data folder; put the files themselves there")
    return root


def is_text(path: Path) -> bool:
    """Return whether a path is UTF-8; names of files may be any bytes, and what a session records is text."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def as_text(path: Path) -> str:
    r"""Return a path with "/", each byte that is no UTF-8 as "\xe9"."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
