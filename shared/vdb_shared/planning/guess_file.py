"""Guess files: what somebody who knows the clips better lays over the defaults.

    version = "vdb-guess/1"
    [[metrics]]                 for each metric that is guessed otherwise; `template` writes all of them
    id = "clip-score@1"
    inputs = "public"           or "private"; both where it is absent
    mean = 27.0                 the fields of the finish's guess, see `guess.py`; of scores in the metric's unit

Promises errors of one line that name the file, the line, the field and what it may be.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from vdb_shared.errors import UsageError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.planning.assumptions import of_clips, of_ratings
from vdb_shared.planning.guess import BOUNDS, Guess, Guesses, ScoreGuess, in_units, range_of
from vdb_shared.spec import Metric, Spec
from vdb_shared.toml_lines import line_of, toml_problem

MAX_GUESS_BYTES: Final = 2**18

_VERSION: Final = "vdb-guess/1"


def _number(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Number = Annotated[float, BeforeValidator(_number)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    id: str
    inputs: Literal["public", "private"] | None = None
    mean: _Number | None = None
    deviation: _Number | None = None
    apart: _Number | None = None
    rate: _Number | None = None
    exponent: _Number | None = None
    norm: _Number | None = None
    centre: _Number | None = None
    confidence: _Number | None = None


class _File(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-guess/1"]
    metrics: Annotated[
        tuple[_Entry, ...], BeforeValidator(lambda found: tuple(found) if isinstance(found, list) else found)
    ]


class _FieldError(Exception):
    """Something in the file is not as it should be: a field, and what is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def parse_guesses(text: str, spec: Spec, before: Guesses, *, file: str = "guess") -> dict[tuple[str, str], Guess]:
    """Return guesses with those of a TOML file laid over them.

    Args:
        text: the file's.
        spec: whose metrics are guessed.
        before: a guess for each of them.
        file: its name, for errors.

    Raises:
        UsageError: names file, line and field.
    """
    try:
        return _parsed(tomllib.loads(text), spec, before)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {toml_problem(text, error)}") from error
    except _FieldError as error:
        line = line_of(text, error.field)
        where = file if line is None else f"{file}:{line}"
        raise UsageError(f"{where}: {error.field}: {error.problem}") from error


def template(spec: Spec, guesses: Guesses) -> str:
    """Return a guess file with every metric of a spec, to be edited."""
    lines = [
        "# What a plan guesses of clips that nobody has measured yet; docs/planning.md says what each field means.",
        "",
    ]
    lines += [f'version = "{_VERSION}"']
    for metric in of_clips(spec):
        guess = guesses[metric.id, metric.inputs]
        lines += ["", "[[metrics]]", f'id = "{metric.id}"', f'inputs = "{metric.inputs}"']
        lines += [f"{name} = {float(f'{value:.6g}')!r}" for name, value in in_units(metric, guess).items()]
    return "\n".join(lines) + "\n"


def _parsed(values: Mapping[str, Any], spec: Spec, before: Guesses) -> dict[tuple[str, str], Guess]:
    try:
        found = _File.model_validate(values)
    except ValidationError as error:
        raise _mistake(error.errors(include_url=False)[0], spec) from error
    guesses = dict(before)
    for number, entry in enumerate(found.metrics):
        meant = [item for item in of_clips(spec) if item.id == entry.id and entry.inputs in {None, item.inputs}]
        if entry.id in of_ratings(spec):
            raise _FieldError(f"metrics.{number}.id", f"{entry.id} is of people's ratings, of which nothing is guessed")
        if not meant:
            on = "" if entry.inputs is None else f" on {entry.inputs} prompts"
            raise _FieldError(f"metrics.{number}.id", f"the spec has no {entry.id}{on}; it has {_metrics_of(spec)}")
        for metric in meant:
            key = metric.id, metric.inputs
            guesses[key] = _laid_over(metric, guesses[key], entry, f"metrics.{number}")
    return guesses


def _metrics_of(spec: Spec) -> str:
    return ", ".join(f"{metric.id} ({metric.inputs})" for metric in of_clips(spec))


def _mistake(found: ErrorDetails, spec: Spec) -> _FieldError:
    """Return a mistake in the form of the file, in words."""
    place = [str(part) for part in found["loc"]]
    match found["type"], place:
        case _, ["version"]:
            problem = f'expected version = "{_VERSION}" in the first line'
        case _, ["metrics"] | ["metrics", _]:
            problem = "expected [[metrics]] tables, one for each metric that is guessed otherwise"
        case "extra_forbidden", [_]:
            problem = "is no field of a guess file; it has version and [[metrics]] tables"
        case "extra_forbidden", _:
            problem = "is no field of any guess; --guess-template prints those of each metric"
        case _, [*_, "id"]:
            problem = f"expected the id of a metric of the spec: {_metrics_of(spec)}"
        case _, [*_, "inputs"]:
            problem = f'expected "public" or "private", found {_shown(found["input"])}'
        case _:
            problem = f"expected a number, found {_shown(found['input'])}"
    return _FieldError(".".join(place), problem)


def _shown(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _laid_over(metric: Metric, guess: Guess, entry: _Entry, place: str) -> Guess:
    given = {name: value for name, value in entry.model_dump(exclude={"id", "inputs"}).items() if value is not None}
    known = [item.name for item in fields(guess)]
    for name, value in given.items():
        if name not in known:
            raise _FieldError(f"{place}.{name}", f"is not guessed of {metric.id}; of it are {', '.join(known)}")
        low, high = (_outward(metric, guess, name, bound) for bound in BOUNDS[name])
        if not (math.isfinite(value) and low <= value <= high):
            raise _FieldError(f"{place}.{name}", f"expected {low:g} to {high:g}{_unit(metric, guess)}, found {value:g}")
    inward = {name: _inward(metric, guess, name, value) for name, value in given.items()}
    found = type(guess)(**(asdict(guess) | inward))
    if isinstance(found, ScoreGuess) and found.deviation**2 >= found.mean * (1.0 - found.mean):
        mean = _outward(metric, guess, "mean", found.mean)
        most = _outward(metric, guess, "deviation", math.sqrt(found.mean * (1.0 - found.mean)))
        raise _FieldError(
            f"{place}.{'deviation' if 'deviation' in given else 'mean'}",
            f"scores of mean {mean:g} deviate by less than {most:g}{_unit(metric, guess)}, found "
            f"{_outward(metric, guess, 'deviation', found.deviation):g}",
        )
    return found


def _unit(metric: Metric, guess: Guess) -> str:
    unit = definition_of(metric.id).unit
    return f" ({unit})" if unit and isinstance(guess, ScoreGuess) else ""


def _inward(metric: Metric, guess: Guess, name: str, value: float) -> float:
    """Return a file's number as the guess holds it: scores stand in the metric's unit."""
    if not isinstance(guess, ScoreGuess):
        return value
    low, width = range_of(metric, definition_of(metric.id))
    return (value - low) / width if name == "mean" else value / width


def _outward(metric: Metric, guess: Guess, name: str, value: float) -> float:
    """Return a guess's number as a file has it."""
    if not isinstance(guess, ScoreGuess):
        return value
    low, width = range_of(metric, definition_of(metric.id))
    return low + value * width if name == "mean" else value * width
