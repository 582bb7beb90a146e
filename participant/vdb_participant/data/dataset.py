"""An institution's data directory: what is in it, and what of it cannot be used.

Promises that nothing in the directory is ever written, that no link leads out of it, that every item that cannot be used
is listed with its reason, that one clip or prompt is never in two records, and that a line more or less adds or takes away
its own prompt, at most one captioned clip, and nothing else. Leaves frames to `video.py`.

    DIR/clips/*.{mp4,mkv,webm,avi,gif}
    DIR/prompts.jsonl    one JSON object a line: {"id": …, "prompt": …, "clip": "clips/….mp4"}; "clip" may be left out.
                         A clip that several lines name belongs to the first; the others are prompts without a clip
    DIR/ratings.jsonl    what people said of clips of public prompts (ratings.py); may be missing
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from vdb_participant.data.folder import CLIPS_FOLDER, PROMPTS_FILE, as_text, data_root, is_text
from vdb_participant.data.prompt_lines import MAX_PROMPTS_BYTES, clip_problem, parse_line
from vdb_participant.data.ratings import NO_RATINGS, RATINGS_FILE, Ratings, read_ratings
from vdb_participant.data.video import count_frames
from vdb_shared.canonical import digest_string
from vdb_shared.errors import DatasetError
from vdb_shared.privacy.record_list import NONE, RecordList, part_of_file, part_of_words
from vdb_shared.spec import Prompt
from vdb_shared.wording import counted

CLIP_SUFFIXES: Final = (".mp4", ".mkv", ".webm", ".avi", ".gif")


@dataclass(frozen=True, slots=True)
class Problem:
    """An item that is not used: its place (relative path, with ":line" in prompts.jsonl) and the reason."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """The unit that privacy protects, besides each rater: a private clip, a private prompt, or a pair of both.

    Attributes:
        prompt: the prompt, or None for a clip without words.
        clip: path of the reference clip, or None for a prompt without one, or whose clip belongs to an earlier line.
    """

    prompt: Prompt | None
    clip: Path | None


@dataclass(frozen=True, slots=True)
class CaptionedClip:
    """A clip that exactly one line names, with the words of this line: what a model may start from.

    Attributes:
        prompt: the words, also where an earlier line has the same.
        clip: path of the clip.
        digest: of its bytes, "sha256:…".
    """

    prompt: Prompt
    clip: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data directory as it was understood.

    Attributes:
        directory: resolved path.
        records: pairs and prompts in the order of prompts.jsonl, then the other clips by name.
        problems: what is not used, and why.
        private: all words of prompts.jsonl and all video files of clips/, usable or not, so that it does not depend on what
            a spec asks for; the ledger charges by it. It never leaves the site.
        ratings: what people said of clips of public prompts; each rater is one more record.
        captioned: clips that models may start from, in the order of prompts.jsonl. A clip that several lines name is none of
            them: without one of these lines it would go to another prompt, and sums would change by two records' shares.
    """

    directory: Path
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]
    private: RecordList
    captioned: tuple[CaptionedClip, ...] = ()
    ratings: Ratings = NO_RATINGS

    @classmethod
    def open(cls, directory: Path, *, frames: int = 1, wrong: list[DatasetError] | None = None) -> Dataset:
        """Return the data directory's records and problems.

        Args:
            directory: DIR above.
            frames: clips with fewer frames are too short.
            wrong: takes the lines that are wrong, so that clips are looked at in spite of them; what is returned then lacks
                these lines, and is for whoever tells mistakes alone.

        Raises:
            DatasetError: no such folder, nothing in it that could be used, or, without `wrong`, prompts.jsonl or the ratings
                are wrong (names file:line).
        """
        root = data_root(directory)
        clips_folder, prompts_file, ratings_file = root / CLIPS_FOLDER, root / PROMPTS_FILE, root / RATINGS_FILE
        lines, mistakes = _read_prompts(root, prompts_file)
        if mistakes and wrong is None:
            raise _all_of(mistakes, root)
        found = _find_clips(root, clips_folder, frames)
        records, problems = _join(root, lines, found)
        ratings = NO_RATINGS
        try:
            ratings = read_ratings(ratings_file)
        except DatasetError as error:
            if wrong is None:
                raise
            mistakes.append(error)
        if wrong is not None:
            wrong += mistakes
        problems += [Problem(place, reason) for place, reason in ratings.unusable]
        private = RecordList.of((*_private(root, lines, found), *ratings.parts))
        return cls(root, records, (*found.problems, *problems), private, _captioned(root, lines, found), ratings)

    @property
    def digest(self) -> str:
        """The content id: of words, files and ratings, whatever their names, order and pairs. It never leaves the site."""
        return self.private.dataset

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All prompts."""
        return tuple(record.prompt for record in self.records if record.prompt is not None)

    @property
    def clips(self) -> tuple[Path, ...]:
        """All reference clips."""
        return tuple(record.clip for record in self.records if record.clip is not None)


class _Line(NamedTuple):
    place: str
    prompt: Prompt
    clip: str | None


@dataclass(frozen=True, slots=True)
class _FoundClips:
    """Usable clips with the SHA-256 of their bytes, all names seen, and what is wrong with the rest.

    Attributes:
        twins: usable clips by the names of their duplicates.
        all_digests: SHA-256 of every video file that can be read, usable or not.
    """

    digests: dict[Path, bytes]
    unusable: dict[Path, str]
    problems: tuple[Problem, ...]
    twins: dict[Path, Path]
    all_digests: dict[Path, bytes]


def _find_clips(root: Path, folder: Path, frames: int) -> _FoundClips:
    digests: dict[Path, bytes] = {}
    unusable: dict[Path, str] = {}
    first_with: dict[bytes, Path] = {}
    twins: dict[Path, Path] = {}
    all_digests: dict[Path, bytes] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        reason = _refusal(root, path) or _hashed(path, all_digests) or _unreadable(path, frames)
        digest = all_digests.get(path, b"")
        if not reason and digest in first_with:
            twins[path] = first_with[digest]
            reason = f"is a duplicate of {first_with[digest].name}"
        if reason:
            unusable[path] = reason
        else:
            digests[path] = digest
            first_with[digest] = path
    problems = tuple(Problem(as_text(path.relative_to(root)), reason) for path, reason in unusable.items())
    return _FoundClips(digests, unusable, problems, twins, all_digests)


def _refusal(root: Path, path: Path) -> str:
    """Return why a directory entry is not even opened, or ""."""
    if not is_text(path):
        return "has a name that is not UTF-8; rename it"
    if path.suffix.lower() not in CLIP_SUFFIXES:
        return f"is not one of {', '.join(CLIP_SUFFIXES)}"
    if not path.resolve().is_relative_to(root):
        return "is a link that leads out of the data folder"
    if not path.is_file():
        return "is not a file"
    return ""


def _hashed(path: Path, digests: dict[Path, bytes]) -> str:
    """Add the digest of a file, or return why it cannot be read."""
    try:
        with path.open("rb") as stream:
            digests[path] = hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _unreadable(path: Path, frames: int) -> str:
    """Return why a clip cannot be used, or ""."""
    try:
        count = count_frames(path, at_most=frames)
    except DatasetError as error:
        return str(error).removeprefix(f"{path}: ")
    if count == 0:
        return "has no frames"
    return f"is too short: {count} of {frames} frames" if count < frames else ""


def _read_prompts(root: Path, path: Path) -> tuple[list[_Line], list[DatasetError]]:
    """Return the lines of prompts.jsonl, parsed strictly, and all that are wrong; no clip is opened for that."""
    if not path.is_file():
        return [], []
    if path.stat().st_size > MAX_PROMPTS_BYTES:
        return [], [DatasetError(f"{path}: has more than {MAX_PROMPTS_BYTES} bytes; split the data set")]
    lines: list[_Line] = []
    mistakes: list[DatasetError] = []
    place_of: dict[str, str] = {}
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            lines.append(_line(root, number, raw, place_of))
        except DatasetError as error:
            mistakes.append(error)
    return lines, mistakes


def _all_of(mistakes: Sequence[DatasetError], root: Path) -> DatasetError:
    """Return mistakes as one."""
    first, *others = mistakes
    if not others:
        return first
    are = "is" if len(others) == 1 else "are"
    tail = f"{counted(len(others), 'more line')} {are} wrong; `vdb-participant data check {root}` names all"
    return DatasetError(f"{first}; {tail}", every=tuple(mistakes))


def _line(root: Path, number: int, raw: bytes, place_of: dict[str, str]) -> _Line:
    """Return what a line says, and note its id with its place."""
    place = f"{PROMPTS_FILE}:{number}"
    line = parse_line(f"{root / place}", raw)
    if line.id in place_of:
        raise DatasetError(f"{root / place}: id {line.id!r} stands already in {place_of[line.id]}; ids must differ")
    place_of[line.id] = place
    if line.clip is not None and (problem := clip_problem(root / CLIPS_FOLDER, line.clip)):
        raise DatasetError(f"{root / place}: {problem}")
    return _Line(place, Prompt(id=line.id, text=line.prompt), line.clip)


def _join(root: Path, lines: Sequence[_Line], found: _FoundClips) -> tuple[tuple[Record, ...], list[Problem]]:
    """Return the records, and the lines that are not used.

    No line loses its prompt over a clip, unusable or another line's: otherwise a line less would let another prompt in,
    and sums would change by two records' shares (protos/README.md §8.1). Only a prompt's own words make it a repetition.
    """
    records: list[Record] = []
    problems: list[Problem] = []
    place_of_text: dict[str, str] = {}
    taken: set[Path] = set()
    for line in lines:
        clip = _named_clip(root, line, found)
        if line.prompt.text in place_of_text:
            problems.append(Problem(line.place, f"has the same prompt as {place_of_text[line.prompt.text]}"))
            continue
        place_of_text[line.prompt.text] = line.place
        if clip is None or clip in taken:
            records.append(Record(line.prompt, None))
        else:
            taken.add(clip)
            records.append(Record(line.prompt, clip))
    spare = (clip for clip in found.digests if clip not in taken)
    return (*records, *(Record(None, clip) for clip in spare)), problems


def _captioned(root: Path, lines: Sequence[_Line], found: _FoundClips) -> tuple[CaptionedClip, ...]:
    """Return the clips that one line alone names, whichever of a clip's duplicates it names.

    One line less can then take away its own clip's words or leave a shared clip to one other line, never both; and words
    that stand twice are no rival's loss, since each line brings a clip of its own (protos/README.md §8.1).
    """
    named = [(line, root / line.clip) for line in lines if line.clip is not None]
    clips = [(line, found.twins.get(path, path)) for line, path in named]
    count = Counter(clip for _, clip in clips)
    return tuple(
        CaptionedClip(line.prompt, clip, digest_string(found.digests[clip]))
        for line, clip in clips
        if clip in found.digests and count[clip] == 1
    )


def _named_clip(root: Path, line: _Line, found: _FoundClips) -> Path | None:
    """Return the usable clip that a line names, whichever of a clip's duplicates it names, or None."""
    if line.clip is None:
        return None
    path = found.twins.get(root / line.clip, root / line.clip)
    return path if path in found.digests else None


def _private(root: Path, lines: Sequence[_Line], found: _FoundClips) -> Iterator[tuple[bytes, bytes]]:
    """Return the parts of every line, words with the file it names, and of every file that no line names."""
    named: set[Path] = set()
    for line in lines:
        path = root / line.clip if line.clip is not None else None
        file = found.all_digests.get(path) if path is not None else None
        if path is not None:
            named.add(path)
        yield part_of_words(line.prompt.text), NONE if file is None else part_of_file(file)
    for path, digest in found.all_digests.items():
        if path not in named:
            yield NONE, part_of_file(digest)
