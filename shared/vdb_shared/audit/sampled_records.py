"""What opened records say, held against the spec: whose work it is, whether the list can be so long, whether clips fit.

Promises that nothing here needs a model or an extractor. Leaves who signed and what was chosen to `spot_check.py`.

Source: protos/README.md §10.14.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

from vdb_shared import labels
from vdb_shared.audit.checks.base import demand, demand_equal
from vdb_shared.audit.spot_report import Opened
from vdb_shared.bundle.sample_file import OpenedLine, SampleFile, SampleOpening
from vdb_shared.bundle.samples import SampleLine, parse_line, words_digest
from vdb_shared.bundle.statement import RunManifest
from vdb_shared.canonical import digest_string, labelled_hash
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, checked_work, public_tasks, shard

_demand = partial(demand, "S07")

Place = tuple[int, int]
"""Of an institution among those that joined, in order of seat, from 0; and their number."""


def check_total(spec: Spec, place: Place, manifest: RunManifest, total: int) -> None:
    """Check that a list has no fewer lines than its owner declared public clips, and no more than the spec has room for.

    Raises:
        VerificationError: S07.
    """
    declared = manifest.public_clips_made + manifest.public_clips_failed
    _demand(total >= declared, f"The list has {total} lines, but {declared} public clips alone were declared.")
    second = sum(not item.counted for item in checked_work(spec, *place))
    each = len(spec.models) * spec.generation.samples + 1
    most = declared + second + each * spec.privacy.maximum_records
    _demand(total <= most, f"The list has {total} lines, the spec leaves room for {most}: it was filled up.")


def check_records(spec: Spec, place: Place, opening: SampleOpening) -> Mapping[str, int]:
    """Check that opened records are work that the spec asks of an institution, each once; return how many are of each side.

    Raises:
        VerificationError: S07.
        FormatError: a line is malformed.
    """
    own = {
        "public": frozenset(shard(public_tasks(spec), *place)),
        "second": frozenset(item.task for item in checked_work(spec, *place) if not item.counted),
    }
    models = {model.id for model in spec.models}
    seen: set[tuple[str, ClipTask]] = set()
    private: dict[tuple[str, str], OpenedLine] = {}
    for item in opening.opened:
        line = parse_line(item.line.encode())
        if item.words is not None:
            told = words_digest(item.words.text, bytes.fromhex(item.words.salt))
            _demand(told == line.words, f"Line {item.number} was made with other words than are told.")
            task = ClipTask(line.model, item.words.text, line.number, line.condition or "")
            _demand((line.side, task) not in seen, f"Line {item.number} is of a record that stands in the list before.")
            seen.add((line.side, task))
        if line.side in own:
            _demand(item.words is not None, f"The words of line {item.number} are public and are not told.")
            _demand(task in own[line.side], f"Line {item.number} is of no clip that falls to this institution.")
        else:
            _demand(
                _private(line, models, spec.generation.samples),
                f"Line {item.number} is of no clip that the spec asks for.",
            )
            _check_new_clip(item, line, private)
    return Counter(parse_line(item.line.encode()).side for item in opening.opened)


def opened_of(opening: SampleOpening) -> Opened:
    """Return how many lines were opened, of how many, and how many different clips they have.

    Raises:
        FormatError: a line is malformed.
    """
    lines = [parse_line(item.line.encode()) for item in opening.opened]
    without = sum(line.clip is None for line in lines)
    clips = {(line.model, line.clip) for line in lines if line.clip is not None}
    return Opened(len(lines), opening.total, without, len(clips))


def _check_new_clip(item: OpenedLine, line: SampleLine, known: dict[tuple[str, str], OpenedLine]) -> None:
    """Check that a private line's clip stands in no line before it, unless both tell words, and other ones; remember it.

    Equal `shares` show nothing: different clips may add the same bounded numbers.

    Raises:
        VerificationError: S07.
    """
    if line.clip is None:
        return
    first = known.setdefault((line.model, line.clip), item)
    _demand(
        first is item or (first.words is not None and item.words is not None),
        f"Lines {first.number} and {item.number} have the same clip, and their words are not told: one record that stands "
        "twice, or one clip that a model made of two prompts. Ask the institution for --with-clips, which tells the words.",
    )


def shown_clips(file: SampleFile) -> tuple[int, int]:
    """Return how many clips a file shows, each with the digest in the list, and of how many opened lines there is one.

    Raises:
        VerificationError: S08: one has other frames.
        FormatError: a line is malformed.
    """
    lines = [(item, parse_line(item.line.encode())) for item in file.opening.opened]
    for item, line in lines:
        if item.clip is not None:
            found = frames_digest(item, file.clips[item.number])
            demand_equal("S08", f"digest of the frames of line {item.number}", line.clip, found)
    return len(file.clips), sum(line.clip is not None for _, line in lines)


def frames_digest(item: OpenedLine, frames: bytes) -> str:
    """Return the digest of frames that a file shows (§7.4)."""
    if item.clip is None:
        raise ValueError(f"line {item.number} shows no clip")
    shape = b"".join(size.to_bytes(4, "little") for size in (item.clip.frames, item.clip.height, item.clip.width))
    return digest_string(labelled_hash(labels.HASH_CLIP, shape, frames))


def _private(line: SampleLine, models: set[str], samples: int) -> bool:
    if line.side == "reference":
        return line.model == "clips" and line.number == 0
    return line.model in models and line.number < samples
