"""A look at all clips of a data directory from their beginning to their end: for a person, and for clips that look alike.

Promises that nothing of the data is changed or left out for what is found here, and that a clip is named which cannot be
decoded to its end. Leaves what is used to `dataset.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vdb_participant.data.conditions import PICTURE_SUFFIXES, SUFFIXES, verify_condition
from vdb_participant.data.dataset import Dataset, Problem
from vdb_participant.data.decoding.decoder import process_decoder
from vdb_participant.data.likeness import NOTHING, Fingerprint, fingerprint, groups, pairs
from vdb_participant.data.sheet import Row, page_paths, write_sheet
from vdb_participant.models import CONDITIONS
from vdb_shared.canonical import digest_string
from vdb_shared.errors import DatasetError
from vdb_shared.spec import Spec
from vdb_shared.wording import counted

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class PublicLikeness:
    """A private clip that is, or looks like, a public file that clips of a spec start from.

    Attributes:
        file: of the clip, relative to the data directory.
        prompt: of the spec.
        digest: of the public file.
        same: whether it is the same file, byte for byte.
    """

    file: str
    prompt: str
    digest: str
    same: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen.

    Attributes:
        alike: groups of clips that look alike, by file.
        public: clips that are like public files of the spec.
        unseen: public files of the spec that are not here, so that clips were compared with their digests alone.
        broken: clips that can be used but not decoded to their end, and why.
        sheets: contact sheets that were written.
    """

    alike: tuple[tuple[str, ...], ...]
    public: tuple[PublicLikeness, ...]
    unseen: int
    broken: tuple[Problem, ...]
    sheets: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Public:
    """Public files of a spec.

    Attributes:
        prompts: id of the first prompt by digest.
        seen: fingerprints of the files that are here, by digest.
    """

    prompts: Mapping[str, str]
    seen: Mapping[str, Fingerprint]


def look(data: Dataset, spec: Spec | None, models: Path, sheet: Path | None, progress: Progress) -> Looked:
    """Look at every clip.

    Args:
        data: the data directory.
        spec: with whose public files clips are compared, or None.
        models: folder of models, where public files are.
        sheet: where a contact sheet is written, or None.
        progress: told how many clips are done.

    Raises:
        UsageError: the sheet cannot be written where it should be.
        DatasetError: a clip is gone since the data were read.
    """
    paths = page_paths(sheet, data.directory, len(data.clips)) if sheet and data.clips else []
    public = _public_files(spec, models) if spec else _Public({}, {})
    prints: list[Fingerprint] = []
    broken: list[Problem] = []
    rows = _rows(data, prints, broken)
    title = f"{data.directory.name}: {counted(len(data.clips), 'clip')}"
    if data.clips:
        progress("looking at clips", 0, len(data.clips))
    for done, _ in enumerate(write_sheet(rows, paths, title), start=1):
        progress("looking at clips", done, len(data.clips))
    names = [_name(data, path) for path in data.clips]
    return Looked(
        alike=tuple(tuple(names[place] for place in group) for group in groups(prints)),
        public=tuple(_likenesses(data, prints, public)),
        unseen=len(public.prompts) - len(public.seen),
        broken=tuple(broken),
        sheets=tuple(paths),
    )


def _name(data: Dataset, path: Path) -> str:
    return path.relative_to(data.directory).as_posix()


def _rows(data: Dataset, prints: list[Fingerprint], broken: list[Problem]) -> Iterator[Row]:
    """Yield a row for each clip, and note its fingerprint and what is wrong with it."""
    for path in data.clips:
        name = _name(data, path)
        try:
            glance = process_decoder().glance(path)
        except DatasetError as error:
            reason = str(error).removeprefix(f"{path}: ")
            prints.append(NOTHING)
            broken.append(Problem(name, reason))
            yield Row(path.name, None, reason)
            continue
        prints.append(fingerprint(glance.pictures))
        if glance.ended:
            broken.append(Problem(name, f"after {counted(glance.frames, 'frame')}: {glance.ended}"))
        yield Row(path.name, glance, f"then: {glance.ended}" if glance.ended else "")


def _public_files(spec: Spec, models: Path) -> _Public:
    prompts: dict[str, str] = {}
    for prompt in spec.prompts:
        if prompt.condition:
            prompts.setdefault(prompt.condition, prompt.id)
    seen = {digest: found for digest in prompts if (found := _seen(digest, models)) is not None}
    return _Public(prompts, seen)


def _seen(digest: str, models: Path) -> Fingerprint | None:
    """Return the fingerprint of a public file, or None if it is not here or not as it should be."""
    name = digest.removeprefix("sha256:")
    for path in (models / CONDITIONS / f"{name}{suffix}" for suffix in SUFFIXES):
        if path.is_file():
            try:
                verify_condition(path, digest)
                is_picture = path.suffix.lower() in PICTURE_SUFFIXES
                decoder = process_decoder()
                return fingerprint(decoder.picture(path).frames if is_picture else decoder.glance(path).pictures)
            except DatasetError:
                return None
    return None


def _likenesses(data: Dataset, prints: Sequence[Fingerprint], public: _Public) -> Iterator[PublicLikeness]:
    """Yield every clip that is like a public file, the same files first."""
    same = set()
    if public.prompts:
        for path in data.clips:
            digest = _digest(path)
            if digest in public.prompts:
                same.add((path, digest))
                yield PublicLikeness(_name(data, path), public.prompts[digest], digest, same=True)
    digests = list(public.seen)
    for clip, other in pairs(prints, [public.seen[digest] for digest in digests]):
        path, digest = data.clips[clip], digests[other]
        if (path, digest) not in same:
            yield PublicLikeness(_name(data, path), public.prompts[digest], digest, same=False)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return digest_string(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise DatasetError(f"{path}: was there and cannot be read any more ({error.strerror}); check again") from error
