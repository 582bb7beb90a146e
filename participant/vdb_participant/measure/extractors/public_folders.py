"""The folders that a public map is fitted from: a raw extractor's and one of public clips.

Promises to refuse, before a machine learning framework is loaded, whatever names of folders and their lists of files show to be
of no use. Leaves loading and measuring to `fitting.py`.

Source: protos/README.md §7.4.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vdb_participant.data.dataset import CLIP_SUFFIXES
from vdb_participant.measure.extractors.projection import ANCHORS_NAME, PROJECTION_NAME
from vdb_participant.models import WEIGHTS_SUFFIX, script_in
from vdb_shared.errors import DatasetError, ModelError, UsageError
from vdb_shared.metrics.extractors import ARCHITECTURES

FEWEST_CLIPS_PER_AXIS: Final = 2
"""Fewer clips for each axis that is kept, and the last axes follow the clips' accidents instead of the features' spread."""

_ARCHITECTURE_OF: Final = {"videomae": "VideoMAEModel", "vjepa2": "VJEPA2Model"}
"""By `model_type` of config.json."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What public clips are brought to, as a spec's `video` says; None leaves them as they are."""

    frames: int | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RawExtractor:
    """A folder with an extractor's weights and no map.

    Attributes:
        folder: where it stands.
        architecture: as specs write it.
    """

    folder: Path
    architecture: str


def raw_extractor(folder: Path, architecture: str = "") -> RawExtractor:
    """Return the extractor that a folder seems to hold.

    Args:
        folder: of the weights.
        architecture: as a spec writes it, or "" to take it from the folder.

    Raises:
        UsageError: it is none; or has a map or anchors already, which belong to other features; or its architecture is not
            known.
        ModelError: its config.json is not JSON.
    """
    if architecture and architecture not in ARCHITECTURES:
        raise UsageError(f"--architecture {architecture}: no such architecture; known are {', '.join(ARCHITECTURES)}")
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected the folder of an extractor's weights, found none")
    script = script_in(folder)
    if not script and not any(path.suffix == WEIGHTS_SUFFIX for path in folder.iterdir()):
        raise UsageError(
            f"{folder}: expected the folder of an extractor's weights, found no {WEIGHTS_SUFFIX} file in it"
        )
    for name in (PROJECTION_NAME, ANCHORS_NAME):
        if (folder / name).is_file():
            raise UsageError(f"{folder}: holds {name} already; take the raw extractor's folder, without it")
    model_type = settings_of(folder).get("model_type")
    chosen = architecture or ("I3D" if script else _ARCHITECTURE_OF.get(str(model_type), ""))
    if not chosen:
        raise UsageError(
            f"{folder}: cannot tell its architecture from config.json; name it with --architecture, as specs do"
        )
    return RawExtractor(folder, chosen)


def public_clips(folder: Path, dimension: int) -> list[Path]:
    """Return the videos of a folder of public clips, by name.

    Args:
        folder: of the clips.
        dimension: how many axes are wanted, at least.

    Raises:
        DatasetError: no such folder, or no videos in it.
        UsageError: too few of them.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected a folder of public clips, found none")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in CLIP_SUFFIXES and path.is_file())
    if not found:
        raise DatasetError(f"{folder}: has no videos ({', '.join(CLIP_SUFFIXES)}); put public clips into it")
    most = len(found) // FEWEST_CLIPS_PER_AXIS
    if most < dimension:
        raise UsageError(f"{folder}: {too_few(len(found), most, dimension)}")
    return found


def too_few(clips: int, most: int, dimension: int, whose: str = "") -> str:
    """Return in words that there are too few clips for so many axes."""
    return (
        f"{clips} public clips{whose} serve for at most {most} axes, {dimension} are asked for; add clips (at least "
        f"{FEWEST_CLIPS_PER_AXIS} for each axis, better 10) or ask for fewer with --dimension"
    )


def check_new(output: Path) -> None:
    """Check that a folder can be made.

    Raises:
        UsageError: it exists, or the folder that it is to stand in does not.
    """
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output}: exists already; name another folder or remove it")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: expected a folder to write into, found none; make it first")


def settings_of(folder: Path) -> dict[str, object]:
    """Return what a folder's config.json says; nothing where there is none.

    Raises:
        ModelError: it is not JSON.
    """
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(f"{path}: is not JSON: {error}; fetch the agreed weights again") from error
    return known if isinstance(known, dict) else {}
