"""`vdb-participant data check`: what the agent understands of a data directory, and what it leaves out.

Promises that text and JSON say the same. A data directory without ratings is shown without a word about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from vdb_participant.commands.spec_file import read_spec
from vdb_participant.data.dataset import Dataset, Problem
from vdb_participant.data.ratings import Ratings


@dataclass(frozen=True, slots=True)
class Checked:
    """A data directory that was looked at.

    Attributes:
        data: as it was understood.
        ratings: all, or those that the spec uses.
        problems: what is not used, and why; with a spec, also ratings that are of no clip of it.
        spec: digest of the spec, which ratings of its clips must name; "" without one.
    """

    data: Dataset
    ratings: Ratings
    problems: tuple[Problem, ...]
    spec: str = ""


def checked(folder: Path, frames: int, spec: Path | None) -> Checked:
    """Return what there is in a data directory.

    Args:
        folder: the data directory.
        frames: clips with fewer frames are too short.
        spec: file of the spec against which ratings are checked, or None.

    Raises:
        DatasetError, SpecError: what cannot be read.
    """
    chosen = None if spec is None else read_spec(spec)
    data = Dataset.open(folder, frames=frames)
    ratings = data.ratings if chosen is None else data.ratings.used_by(chosen)
    foreign = () if chosen is None else ratings.unusable
    problems = (*data.problems, *(Problem(place, reason) for place, reason in foreign))
    return Checked(data, ratings, problems, "" if chosen is None else chosen.digest)


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
        | ({"spec": found.spec} if found.spec else {})
    )


def told(out: Console, folder: Path, found: Checked) -> bool:
    """Print what there is; return whether there is something, and all of it can be used."""
    data, ratings = found.data, found.ratings
    out.print(f"{folder}: {len(data.records)} records, {len(data.clips)} clips, {len(data.prompts)} prompts")
    out.print(f"{len(data.captioned)} clips are named by one line alone: models may start from them")
    if data.ratings.parts:
        numbers = f"{len(ratings.votes)} votes and {len(ratings.scores)} scores"
        out.print(f"ratings by {len(ratings.raters)} people, each one more record: {numbers}")
    if found.spec:
        out.print(f"ratings of clips of the spec name it as {found.spec}")
    out.print(f"content {data.digest}")
    for problem in found.problems:
        out.print(f"not used: {problem.file}: {problem.reason}")
    return not found.problems and bool(data.records or ratings.raters)
