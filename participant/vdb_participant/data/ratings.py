"""What people said of clips: ratings.jsonl, parsed strictly. Loads no video library.

Promises that a line is a vote or a score or is refused with its place and reason, that a repeated rating counts once, and
that a rating counts only for the spec of whose clips it speaks: another model, version, seed or setting is another spec.
Leaves what ratings add to sums to measure/judging.py.

`metrics show preference-bt@1` and `metrics show human-correlation@1` show a line of each kind.

Source: protos/README.md §6.4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.errors import DatasetError
from vdb_shared.fields import Digest, Name
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.spec import Spec

RATINGS_FILE: Final = "ratings.jsonl"

MAX_LINE_BYTES: Final = 4 * 1024
"""Names have at most 64 characters; a longer line is no rating."""

MAX_RATINGS_BYTES: Final = 256 * 2**20

VOTE: Final = (
    '{"spec": "sha256:…", "rater": "r1", "prompt": "p01", "sample": 0, "first": "model-a", "second": "model-b", '
    '"choice": "first"}'
)
"""A line: this person prefers the clip of the first model; "second" and "tie" are the other choices."""

SCORE: Final = (
    '{"spec": "sha256:…", "rater": "r1", "prompt": "p01", "sample": 0, "model": "model-a", "score": 4, "lowest": 1, '
    '"highest": 5}'
)
"""A line: this person gives the clip 4 points on a scale from 1 to 5."""

_SHOWN: Final = 80
"""Characters of a wrong value that are shown."""

_NAME: Final = "expected at most 64 lower-case letters, digits, dots, dashes and underscores"
_NUMBER: Final = "expected a finite number"
_EXPECTED: Final[Mapping[str, str]] = {
    "spec": "expected the digest of the spec that the clips were made by, as `data check DIR --spec SPEC` prints it",
    "rater": _NAME,
    "prompt": _NAME,
    "sample": "expected the number of the clip of this prompt, from 0",
    "first": _NAME,
    "second": _NAME,
    "choice": 'expected "first", "second" or "tie"',
    "model": _NAME,
    "score": _NUMBER,
    "lowest": _NUMBER,
    "highest": _NUMBER,
}
"""What is allowed in each field."""

Choice = Literal["first", "second", "tie"]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _RatingLineFile(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    spec: Digest
    rater: Name
    prompt: Name
    sample: int = Field(ge=0)


class VoteLineFile(_RatingLineFile):
    """One line that compares the clips of two models."""

    first: Name
    second: Name
    choice: Choice


class ScoreLineFile(_RatingLineFile):
    """One line that scores the clip of one model on a scale from `lowest` to `highest`."""

    model: Name
    score: _Finite
    lowest: _Finite
    highest: _Finite


@dataclass(frozen=True, slots=True)
class Vote:
    """Which of two clips a person prefers.

    Attributes:
        place: of the line.
        spec: digest of the spec that the clips were made by.
        rater: who says so; stays at the site.
        prompt, sample: of both clips; id of a public prompt.
        first, second: ids of the models.
        choice: which is preferred.
    """

    place: str
    spec: str
    rater: str
    prompt: str
    sample: int
    first: str
    second: str
    choice: Choice

    @property
    def models(self) -> tuple[str, ...]:
        """Of the clips it speaks of."""
        return self.first, self.second


@dataclass(frozen=True, slots=True)
class Score:
    """How a person scores a clip.

    Attributes:
        place, spec, rater, prompt, sample: as of a vote.
        model: id of the model.
        score: on [0, 1]; 0 is the lower end of the scale that the person was given.
    """

    place: str
    spec: str
    rater: str
    prompt: str
    sample: int
    model: str
    score: float

    @property
    def models(self) -> tuple[str, ...]:
        """Of the clips it speaks of."""
        return (self.model,)


Rating = TypeVar("Rating", Vote, Score)
Line = TypeVar("Line", VoteLineFile, ScoreLineFile)


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings, by people who saw clips of public prompts.

    Attributes:
        votes, scores: in the order of the file.
        unusable: place and reason of lines that are not used.
        parts: of every line, usable or not: its rater, and itself. Who rated once is one record in whatever they rate later.
    """

    votes: tuple[Vote, ...] = ()
    scores: tuple[Score, ...] = ()
    unusable: tuple[tuple[str, str], ...] = ()
    parts: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def raters(self) -> frozenset[str]:
        """Who rated: each is one record."""
        return frozenset({vote.rater for vote in self.votes} | {score.rater for score in self.scores})

    def used_by(self, spec: Spec) -> Ratings:
        """Return the ratings that a spec uses, and why it uses the others not: none without a metric of people's ratings."""
        finishes = {definition_of(metric.id).finish for metric in spec.metrics if metric.inputs == "ratings"}
        votes = self.votes if "preference" in finishes else ()
        scores = self.scores if "correlation" in finishes else ()
        judge = _Judge.of(spec)
        reasons = {vote.place: judge.reason(vote) for vote in votes}
        reasons |= {score.place: judge.reason(score) for score in scores}
        return Ratings(
            tuple(vote for vote in votes if not reasons[vote.place]),
            tuple(score for score in scores if not reasons[score.place]),
            tuple((place, reason) for place, reason in reasons.items() if reason),
        )


NO_RATINGS: Final = Ratings()
"""Of an institution that has none."""


@dataclass(frozen=True, slots=True)
class _Judge:
    """Knows the clips of a spec; hashing a spec for each line would take long."""

    digest: str
    prompts: frozenset[str]
    models: frozenset[str]
    samples: int

    @classmethod
    def of(cls, spec: Spec) -> _Judge:
        prompts, models = ({item.id for item in items} for items in (spec.prompts, spec.models))
        return cls(spec.digest, frozenset(prompts), frozenset(models), spec.generation.samples)

    def reason(self, rating: Vote | Score) -> str:
        """Return why a rating speaks of no clip of the spec, or ""."""
        if rating.spec != self.digest:
            return f"is about clips of the spec {rating.spec}"
        if rating.prompt not in self.prompts:
            return f"names the prompt {rating.prompt!r}, which the spec has not"
        if rating.sample >= self.samples:
            return f"names sample {rating.sample}; the spec has {self.samples} of each prompt, from 0"
        unknown = [model for model in rating.models if model not in self.models]
        return f"names the model {unknown[0]!r}, which the spec has not" if unknown else ""


def by_rater(ratings: Iterable[Rating]) -> Mapping[str, Sequence[Rating]]:
    """Return ratings by who gave them, in order of raters' names."""
    found: dict[str, list[Rating]] = {}
    for rating in ratings:
        found.setdefault(rating.rater, []).append(rating)
    return {rater: found[rater] for rater in sorted(found)}


def read_ratings(path: Path) -> Ratings:
    """Return the ratings in a file; none where there is no file.

    Raises:
        DatasetError: a line is no rating, or there are too many bytes; begins with the place.
    """
    if not path.is_file():
        return NO_RATINGS
    if path.stat().st_size > MAX_RATINGS_BYTES:
        raise DatasetError(f"{path}: has more than {MAX_RATINGS_BYTES} bytes; split the ratings")
    votes: list[Vote] = []
    scores: list[Score] = []
    unusable: list[tuple[str, str]] = []
    parts: list[tuple[bytes, bytes]] = []
    place_of: dict[object, str] = {}
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not raw.strip():
            continue
        rating = _parse(f"{path}:{number}", f"{RATINGS_FILE}:{number}", raw)
        parts.append((_part(b"rater", rating.rater.encode()), _part(b"line", raw.strip())))
        subject = (rating.spec, rating.rater, rating.prompt, rating.sample, frozenset(rating.models))
        first = place_of.setdefault((type(rating), subject), rating.place)
        if first != rating.place:
            unusable.append((rating.place, f"repeats what {first} says of the same clips"))
        elif isinstance(rating, Vote):
            votes.append(rating)
        else:
            scores.append(rating)
    return Ratings(tuple(votes), tuple(scores), tuple(unusable), tuple(parts))


def _part(kind: bytes, content: bytes) -> bytes:
    return labelled_hash(labels.HASH_RATINGS, kind, content)


def _parse(where: str, place: str, raw: bytes) -> Vote | Score:
    """Return what a line says.

    Raises:
        DatasetError: the line is no rating; begins with `where`.
    """
    if len(raw) > MAX_LINE_BYTES:
        raise DatasetError(f"{where}: has {len(raw)} bytes; a line has at most {MAX_LINE_BYTES}")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
        if not isinstance(value, dict) or ("choice" in value) == ("score" in value):
            raise DatasetError(f"{where}: is neither a vote, like {VOTE}, nor a score, like {SCORE}")
        if "choice" in value:
            return _vote(where, place, _checked(where, value, VoteLineFile, f"a vote is like {VOTE}"))
        return _score(where, place, _checked(where, value, ScoreLineFile, f"a score is like {SCORE}"))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: is not UTF-8 text: {error.reason}; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: is not a JSON object: {error}") from error


def _checked(where: str, value: Mapping[str, Any], kind: type[Line], like: str) -> Line:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    field = str(first["loc"][0])
    match first["type"]:
        case "missing":
            problem = "is missing"
        case "extra_forbidden":
            problem = "is no field of this kind of line; remove it"
        case _:
            problem = f"{_EXPECTED[field]}, found {json.dumps(first['input'], ensure_ascii=False)[:_SHOWN]}"
    raise DatasetError(f"{where}: {field}: {problem}; {like}")


def _vote(where: str, place: str, line: VoteLineFile) -> Vote:
    if line.first == line.second:
        raise DatasetError(f"{where}: compares {line.first!r} with itself; name two models")
    return Vote(place, line.spec, line.rater, line.prompt, line.sample, line.first, line.second, line.choice)


def _score(where: str, place: str, line: ScoreLineFile) -> Score:
    if not line.lowest < line.highest:
        raise DatasetError(
            f"{where}: the scale from {line.lowest:g} to {line.highest:g} is empty; give lowest < highest"
        )
    if not line.lowest <= line.score <= line.highest:
        raise DatasetError(
            f"{where}: the score {line.score:g} is not on its scale, from {line.lowest:g} to {line.highest:g}"
        )
    half = line.highest / 2 - line.lowest / 2
    score = min(max((line.score / 2 - line.lowest / 2) / half if half else 0.0, 0.0), 1.0)
    return Score(place, line.spec, line.rater, line.prompt, line.sample, line.model, score)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
