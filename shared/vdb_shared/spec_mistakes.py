"""The first mistake of a document that does not fit its schema, in words for whoever wrote it.

Promises one line that names the field, and the field that was probably meant. Leaves file and line to whoever read the file.
"""

from __future__ import annotations

import difflib
from typing import get_args

from pydantic import BaseModel, ValidationError

from vdb_shared.errors import SpecError
from vdb_shared.schema_words import in_words


def first_mistake(error: ValidationError, schema: type[BaseModel]) -> SpecError:
    """Return the mistake to name first: a misspelt field explains the missing one better than the other way round."""
    mistakes = error.errors(include_url=False)
    first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
    field = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(first["loc"][-1]), _field_names(schema), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return SpecError(f"is not a field of a spec{hint}", field=field)
        case "missing":
            return SpecError(in_words(first), field=field)
        case "value_error":
            problem = in_words(first)
            if not field and ": " in problem:
                field, problem = problem.split(": ", 1)
            return SpecError(problem, field=field)
        case _:
            return SpecError(f"{in_words(first)} (found {first['input']!s})", field=field)


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
