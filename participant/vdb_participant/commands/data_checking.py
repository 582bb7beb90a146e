"""`vdb-participant data check`: what the agent understands of a data directory, what it leaves out, and what to look at.

Promises that text and JSON say the same, and that what only looks odd is told and changes nothing. A data directory without
ratings is shown without a word about them, unless the spec asks for some.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from vdb_participant.commands.spec_file import read_spec
from vdb_participant.data.dataset import Dataset, Problem
from vdb_participant.data.inputs import inputs_of
from vdb_participant.data.looking import Looked, Progress, look
from vdb_participant.data.ratings import RATINGS_FILE, Ratings
from vdb_participant.data.sheet import page_paths
from vdb_shared.errors import DatasetError, UsageError
from vdb_shared.spec import Spec
from vdb_shared.wording import counted


@dataclass(frozen=True, slots=True)
class Checked:
    """A data directory that was looked at.

    Attributes:
        data: as it was understood.
        ratings: all, or those that the spec uses.
        problems: what is not used, and why; with a spec, also ratings that are of no clip of it.
        spec: digest of the spec, which ratings of its clips must name; "" without one.
        asked: whether the spec has metrics of people's ratings.
        looked: what was seen of whole clips, or None if nobody looked.
        lacks: what keeps the data from serving the spec, or "".
    """

    data: Dataset
    ratings: Ratings
    problems: tuple[Problem, ...]
    spec: str = ""
    asked: bool = False
    looked: Looked | None = None
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be checked.

    Attributes:
        frames: clips with fewer frames are too short.
        spec: file of the spec against which ratings and public files are checked, or None.
        models: folder of models, where a spec's public files are.
        sheet: where a contact sheet is written, or None.
        quick: whether only the first frames of clips are decoded.
    """

    frames: int
    spec: Path | None
    models: Path
    sheet: Path | None = None
    quick: bool = False


def checked(folder: Path, wish: Wish, progress: Progress) -> Checked:
    """Return what there is in a data directory.

    Args:
        folder: the data directory.
        wish: what is to be checked.
        progress: told how many clips were looked at.

    Raises:
        DatasetError: what cannot be read; with wrong lines, all of them and all that is wrong with clips.
        SpecError: the spec is none.
        UsageError: the contact sheet cannot be made, or not there.
    """
    if wish.quick and wish.sheet:
        raise UsageError("--sheet looks at whole clips, which --quick does not; leave one of them out")
    if wish.sheet:
        page_paths(wish.sheet, folder, 0)
    chosen = None if wish.spec is None else read_spec(wish.spec)
    wrong: list[DatasetError] = []
    data = Dataset.open(folder, frames=wish.frames, wrong=wrong)
    if wrong:
        raise _all_wrong(wrong, data, wish, progress)
    ratings = data.ratings if chosen is None else data.ratings.used_by(chosen)
    foreign = () if chosen is None else ratings.unusable
    problems = (*data.problems, *(Problem(place, reason) for place, reason in foreign))
    looked = None if wish.quick else look(data, chosen, wish.models, wish.sheet, progress)
    asked = chosen is not None and any(metric.inputs == "ratings" for metric in chosen.metrics)
    lacks = "" if chosen is None else _lacking(chosen, data)
    return Checked(data, ratings, problems, "" if chosen is None else chosen.digest, asked, looked, lacks)


def _lacking(spec: Spec, data: Dataset) -> str:
    """Return what keeps a data directory from serving a spec, or ""."""
    try:
        inputs_of(spec, data)
    except DatasetError as error:
        return str(error).partition("; see ")[0]
    return ""


def _all_wrong(wrong: Sequence[DatasetError], data: Dataset, wish: Wish, progress: Progress) -> DatasetError:
    """Return wrong lines, and what is wrong with clips, as one: whoever mends the lines should not find the clips next."""
    looked = None if wish.quick else look(data, None, wish.models, None, progress)
    problems = [f"not used: {problem.file}: {problem.reason}" for problem in data.problems]
    problems += [_broken(problem) for problem in (looked.broken if looked else ())]
    every = (*wrong, *map(DatasetError, problems))
    return DatasetError(str(every[0]), every=every)


def _broken(problem: Problem) -> str:
    return f"cannot be decoded to its end: {problem.file}: {problem.reason}"


def facts(found: Checked) -> dict[str, Any]:
    """Return the JSON form."""
    data, ratings = found.data, found.ratings
    numbers = {"raters": len(ratings.raters), "votes": len(ratings.votes), "scores": len(ratings.scores)}
    return (
        {
            "clips": len(data.clips),
            "prompts": len(data.prompts),
            "captioned": len(data.captioned),
            "dataset": data.digest,
            "problems": [{"file": problem.file, "reason": problem.reason} for problem in found.problems],
        }
        | (numbers if data.ratings.parts else {})
        | ({"spec": found.spec, "lacks": found.lacks} if found.spec else {})
        | (_seen(found.looked) if found.looked else {})
    )


def _seen(looked: Looked) -> dict[str, Any]:
    return {
        "alike": [list(group) for group in looked.alike],
        "public": [
            {"file": item.file, "prompt": item.prompt, "condition": item.digest, "same": item.same}
            for item in looked.public
        ],
        "not_here": looked.unseen,
        "broken": [{"file": problem.file, "reason": problem.reason} for problem in looked.broken],
        "sheets": [str(path) for path in looked.sheets],
    }


def told(out: Console, folder: Path, found: Checked) -> bool:
    """Print what there is; return whether there is something, and all of it can be used."""
    data, ratings = found.data, found.ratings
    out.print(
        f"{folder}: {counted(len(data.records), 'record')}, {counted(len(data.clips), 'clip')}, "
        f"{counted(len(data.prompts), 'prompt')}"
    )
    one = len(data.captioned) == 1
    named = f"{counted(len(data.captioned), 'clip')} {'is' if one else 'are'} named by one line alone"
    out.print(f"{named}: models may start from {'it' if one else 'them'}")
    if data.ratings.parts:
        numbers = f"{counted(len(ratings.votes), 'vote')} and {counted(len(ratings.scores), 'score')}"
        people = counted(len(ratings.raters), "person", "people")
        out.print(f"ratings by {people}, each one more record: {numbers}")
    elif found.asked:
        out.print(f"no {RATINGS_FILE} in {folder}: nothing goes from here into the spec's metrics of people's ratings")
    if len(data.private) != len(data.records):
        out.print(
            f"{counted(len(data.private), 'record')} count in the privacy ledger: raters, and what cannot be used, too"
        )
    if found.spec:
        out.print(f"ratings of clips of the spec name it as {found.spec}")
    out.print(f"content {data.digest}")
    for line in _remarks(found):
        out.print(line)
    return not found.problems and not found.lacks and bool(data.records or ratings.raters)


def _remarks(found: Checked) -> Iterator[str]:
    for problem in found.problems:
        yield f"not used: {problem.file}: {problem.reason}"
    if found.looked:
        yield from _lines(found.looked)
    if found.lacks:
        yield f"cannot serve the spec: {found.lacks}"


def _lines(looked: Looked) -> Iterator[str]:
    """Yield what a person should look at; none of it is left out for that."""
    for problem in looked.broken:
        yield _broken(problem)
    for group in looked.alike:
        yield f"look alike: {', '.join(group)}"
    for item in looked.public:
        how = "is" if item.same else "looks like"
        yield f"{item.file} {how} what public clips of prompt {item.prompt} start from, {item.digest}"
    if looked.unseen:
        files = counted(looked.unseen, "public file")
        are = "is" if looked.unseen == 1 else "are"
        yield f"{files} of the spec {are} not in the folder of models: clips were compared with the digests alone"
    if looked.alike:
        yield "clips that look alike are a record each; if they are one video, keep one of them"
    if looked.sheets:
        yield from _sheets(looked.sheets)


def _sheets(pages: Sequence[Path]) -> Iterator[str]:
    """Yield where pictures of private videos lie now."""
    first, last = pages[0], pages[-1]
    where = f"{first}" if len(pages) == 1 else f"{first} to {last.name}, {len(pages)} pages"
    yield f"contact sheet {where}"
    yield "it shows your videos, and only you can read it; delete it once you have looked"
