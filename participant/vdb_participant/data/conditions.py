"""Pictures and videos that clips start from: public files that every site holds, and clips of a site's own records.

    MODELS/conditions/<64 hex digits of the SHA-256 of its bytes>.{png,jpg,webp,mp4,mkv,webm,avi,gif}

Promises that a file whose bytes are not the agreed ones is refused, that an untrusted file takes no more than the limits of
`decoding/`, and that frames are those the file shows, in its own size. Loads no torch. Leaves the size of clips to
`generation/starts.py`.

Source: protos/README.md §7.4.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from vdb_participant.data.dataset import CLIP_SUFFIXES
from vdb_participant.data.decoding.decoder import process_decoder
from vdb_participant.data.decoding.media import DEFAULT_LIMITS, Clip, Limits
from vdb_participant.models import CONDITIONS
from vdb_shared.clips import clip_terms
from vdb_shared.errors import DatasetError
from vdb_shared.registry.classes import Start
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Spec

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".webp")
SUFFIXES: Final = PICTURE_SUFFIXES + CLIP_SUFFIXES


def public_conditions(spec: Spec, models: Path, registry: Registry) -> dict[str, Path]:
    """Return the files that a spec's public clips start from by their digests, after reading each as it will be used.

    Args:
        spec: the spec.
        models: folder of models.
        registry: the site's.

    Raises:
        DatasetError: a file is missing, is not the agreed one, or no model can start from it; says what to do.
        SpecError: a public prompt has none where a model needs one.
    """
    found: dict[str, Path] = {}
    if all(metric.inputs == "private" for metric in spec.metrics):
        return found
    read: set[tuple[str, Start, int]] = set()
    for model in (model for model in spec.models if model.start):
        frames = clip_terms(spec, model, registry).frames if model.start == "video" else 1
        for prompt in spec.prompts:
            digest = prompt.condition or ""
            if digest not in found:
                found[digest] = _agreed(models / CONDITIONS, digest, prompt.id)
            if (digest, model.start, frames) not in read:
                _try(found[digest], model.start, frames, f"{model.id} cannot start from it; ask the lead")
                read.add((digest, model.start, frames))
    return found


def verify_condition(path: Path, digest: str) -> None:
    """Check that a file's bytes are still the ones that a clip starts from.

    Raises:
        DatasetError: they are not, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            found = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}; put it back and start again") from error
    if found != digest:
        raise DatasetError(f"{path}: expected {digest}, found {found}; put the file back as it was and start again")


def starting_frames(path: Path, start: Start, frames: int, limits: Limits = DEFAULT_LIMITS) -> Clip:
    """Return what a clip starts from in the file's own size: a picture, a video's first frame, or its first frames.

    Args:
        path: the file; its suffix says whether it is a picture.
        start: "picture" or "video".
        frames: of the clip.
        limits: what reading may take.

    Raises:
        DatasetError: unreadable, beyond a limit, a picture where a video is needed, or a video that is too short.
    """
    wanted = frames if start == "video" else 1
    is_picture = path.suffix.lower() in PICTURE_SUFFIXES
    if is_picture and start == "video":
        raise DatasetError(f"{path}: is a picture, a video of {frames} frames is needed")
    decoder = process_decoder()
    clip = decoder.picture(path, limits=limits) if is_picture else decoder.video(path, frames=wanted, limits=limits)
    if len(clip.frames) < wanted:
        raise DatasetError(f"{path}: has {len(clip.frames)} frames, {wanted} are needed")
    return clip


def can_start(path: Path, start: Start, frames: int) -> bool:
    """Return whether a clip can start from a file; arguments as in `starting_frames`."""
    try:
        starting_frames(path, start, frames)
    except DatasetError:
        return False
    return True


def condition_files(models: Path) -> list[Path]:
    """Return the files of a folder of models that clips may start from, by name."""
    folder = models / CONDITIONS
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in names if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]


def _agreed(folder: Path, digest: str, prompt: str) -> Path:
    """Return the file of a digest, verified."""
    name = digest.removeprefix("sha256:")
    found = [path for path in (folder / f"{name}{suffix}" for suffix in SUFFIXES) if path.is_file()]
    if not found:
        raise DatasetError(
            f"{folder / name}.*: expected the picture or video of prompt {prompt}, found none; "
            f"get it from the lead and put it there, with one of {', '.join(SUFFIXES)}"
        )
    verify_condition(found[0], digest)
    return found[0]


def _try(path: Path, start: Start, frames: int, advice: str) -> None:
    try:
        starting_frames(path, start, frames)
    except DatasetError as error:
        raise DatasetError(f"{error}; {advice}") from error
