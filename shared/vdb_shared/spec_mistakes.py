"""The mistakes of a document that does not fit its schema, in words for whoever wrote it.

Promises one line each that names the field, and the field that was probably meant. Leaves file and line to whoever read
the file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vdb_shared.canonical import MAX_SAFE_INTEGER, canonical_json, with_decimal_strings
from vdb_shared.errors import FormatError, SpecError
from vdb_shared.schema_words import NoRealError, in_words

_LONGEST: Final = 100
"""Characters of a value that are shown."""

_REAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+|(\.[0-9]+)?[eE][+-]?[0-9]+)")
"""A number that is not whole, as TOML writes it."""

_AT_ONCE: Final = 20
"""Mistakes that are named; a file with more is another file."""

_DEEPEST: Final = 8
"""Names and numbers in a path of a spec, with some to spare."""


def first_mistake(error: ValidationError, schema: type[BaseModel]) -> SpecError:
    """Return the mistake to name first, with the next ones.

    A misspelt field explains a missing one better than the other way round, and a part what its whole lacks.
    """
    every = error.errors(include_url=False)
    wholes = {mistake["loc"][:depth] for mistake in every for depth in range(1, len(mistake["loc"]))}
    found = [mistake for mistake in every if mistake["loc"] not in wholes]
    found = sorted(found, key=lambda mistake: mistake["type"] != "extra_forbidden")[:_AT_ONCE]
    meant = {_beside(mistake, _meant(mistake, schema)) for mistake in found if mistake["type"] == "extra_forbidden"}
    first, *others = (
        named
        for mistake in found
        if not (mistake["type"] == "missing" and mistake["loc"] in meant)
        for named in _named(mistake, schema)
    )
    return SpecError(first.problem, field=first.field, others=tuple(others))


def unwritable(values: dict[str, Any], validate: Callable[[dict[str, Any]], object]) -> SpecError | None:
    """Return the mistake of values of which some have no place in JSON, with those of the others; None where all have one.

    Args:
        values: of a TOML file.
        validate: raises SpecError for what is wrong with values that have their place.
    """
    found: dict[str, SpecError] = {}
    rest = _without_unwritable(values, (), found)
    if not found:
        return None
    told: list[SpecError] = []
    try:
        validate(rest)
    except SpecError as error:
        told = [mistake for mistake in (error, *error.others) if not _holds(mistake.field, found)]
    first, *others = [*found.values(), *told][:_AT_ONCE]
    return SpecError(first.problem, field=first.field, others=tuple(others))


def _holds(field: str, fields: Iterable[str]) -> bool:
    """Return whether a field is one of these, or holds one."""
    return any(f"{other}.".startswith(f"{field}.") for other in fields)


def _without_unwritable(value: Any, path: tuple[str, ...], found: dict[str, SpecError]) -> Any:
    """Return a value with "" for what has no place in JSON; nothing is looked for deeper than a spec is."""
    if len(path) > _DEEPEST:
        return value
    match value:
        case dict():
            return {name: _without_unwritable(item, (*path, str(name)), found) for name, item in value.items()}
        case list():
            return [_without_unwritable(item, (*path, str(place)), found) for place, item in enumerate(value)]
    try:
        canonical_json(with_decimal_strings(value))
    except FormatError as error:
        field = ".".join(path)
        found[field] = SpecError(_unfit(value, error), field=field)
        return ""
    return value


def _unfit(value: object, error: FormatError) -> str:
    """Return why a value of TOML has no place in JSON."""
    match value:
        case Decimal() if not value.is_finite():
            return f"expected a finite number (found {float(value)})"
        case int():
            return (
                f"expected a whole number from -{MAX_SAFE_INTEGER} to {MAX_SAFE_INTEGER} (found {_brief(str(value))})"
            )
    return str(error)


def _named(mistake: ErrorDetails, schema: type[BaseModel]) -> list[SpecError]:
    """Return a mistake with its field; of a whole whose parts do not go together there is one in each line."""
    field = ".".join(str(part) for part in mistake["loc"])
    match mistake["type"]:
        case "extra_forbidden":
            near = _meant(mistake, schema)
            hint = f"; did you mean {near}?" if near else ""
            return [SpecError(f"is not a field of a spec{hint}", field=field)]
        case "missing":
            return [SpecError(in_words(mistake), field=field)]
        case "value_error" if not field:
            told = (line.partition(": ") for line in in_words(mistake).splitlines())
            return [SpecError(problem, field=whose) if problem else SpecError(whose) for whose, _, problem in told]
        case "value_error" if isinstance(mistake.get("ctx", {}).get("error"), NoRealError):
            found = _brief(f'"{mistake["input"]}"')
            return [
                SpecError(f"expected a number, such as 8 or 0.5, without quotation marks (found {found})", field=field)
            ]
        case "value_error":
            return [SpecError(in_words(mistake), field=field)]
        case _:
            return [SpecError(f"{in_words(mistake)} (found {_brief(_written(mistake['input']))})", field=field)]


def _written(value: object) -> str:
    """Return a value as its file has it; reals come here as text (§2.2 of protos/README.md), and have no quotation marks."""
    return f'"{value}"' if isinstance(value, str) and not _REAL.fullmatch(value) else str(value)


def _brief(value: str) -> str:
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"


def _meant(mistake: ErrorDetails, schema: type[BaseModel]) -> str:
    """Return the field whose name is nearest to one that is not known, or ""."""
    return next(iter(difflib.get_close_matches(str(mistake["loc"][-1]), _field_names(schema), n=1)), "")


def _beside(mistake: ErrorDetails, name: str) -> tuple[int | str, ...]:
    """Return the path of another field of the same section."""
    return (*mistake["loc"][:-1], name)


def _field_names(section: type[BaseModel]) -> list[str]:
    """Return the names of all fields of a section and the sections inside it."""
    names: list[str] = []
    for name, field in section.model_fields.items():
        names.append(name)
        inner = [field.annotation, *get_args(field.annotation)]
        for kind in inner:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names += _field_names(kind)
    return names
