"""Where things lie in a data directory, and whether a folder is one at all.

Promises that a mistyped folder is told at once: this loads no video and no tensor library. Leaves what is in the files to
`dataset.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vdb_participant.data.ratings import RATINGS_FILE
from vdb_shared.errors import DatasetError

CLIPS_FOLDER: Final = "clips"
PROMPTS_FILE: Final = "prompts.jsonl"


def data_root(directory: Path) -> Path:
    """Return the data directory without links in its path.

    Raises:
        DatasetError: no such folder, nothing in it that could be used, or something in it leads out of it.
    """
    if not directory.is_dir():
        raise DatasetError(
            f"{directory}: expected a data folder, found none; name the one with clips/ and prompts.jsonl"
        )
    root = directory.resolve()
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
