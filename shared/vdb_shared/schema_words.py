"""What a schema refuses, in words of whoever wrote the file and not of the library that read it.

Promises one line that says what was expected, and adds no value that was found, which may be private: what a validator of ours
says of one is its own. Leaves the name of the file, and what to do, to whoever read it.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
"""Pattern of a name."""

METRIC_ID: Final = r"^[a-z0-9-]+@[0-9]+$"
"""Pattern of a metric with its version."""

_FORMS: Final = {
    NAME: "at most 64 lower-case letters, digits, dots, dashes and underscores, beginning with a letter or digit",
    METRIC_ID: "a metric and its version, such as clip-score@1",
}

_TEXT: Final = "expected text"
_WHOLE: Final = "expected a whole number"
_NUMBER: Final = "expected a number"
_TRUTH: Final = "expected true or false"
_LIST: Final = "expected a list"
_FIELDS: Final = "expected fields with values"

_WORDS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is no field that is known here",
    "string_type": _TEXT,
    "string_too_short": "expected at least {min_length} characters",
    "string_too_long": "expected at most {max_length} characters",
    "too_short": "expected at least {min_length} of them",
    "too_long": "expected at most {max_length} of them",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "expected a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "expected {expected}",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _FIELDS,
    "model_type": _FIELDS,
    "model_attributes_type": _FIELDS,
}
"""By the library's name of the mistake; braces are filled with what it says of it."""


class NoRealError(ValueError):
    """What a validator of ours says of a text that is no real number in its one spelling."""


def first_mistake(error: ValidationError) -> str:
    """Return what a schema refuses first: the path of the field, and why."""
    field, words = first_field(error)
    return f"{field}: {words}" if field else words


def first_field(error: ValidationError) -> tuple[str, str]:
    """Return the path of the field that a schema refuses first, "" for all of the document, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    return ".".join(str(part) for part in first["loc"]), in_words(first)


def in_words(mistake: ErrorDetails) -> str:
    """Return why one field is refused; in the library's own words where none are known here."""
    kind, told = mistake["type"], mistake.get("ctx", {})
    if kind == "string_pattern_mismatch":
        pattern = str(told["pattern"])
        return f"expected {_FORMS.get(pattern, f'the form {pattern}')}"
    if kind == "string_too_short" and told["min_length"] == 1:
        return "is empty"
    if kind == "is_instance_of" and told["class"] == "Decimal":
        return _NUMBER
    if kind in _WORDS:
        return _WORDS[kind].format(**told)
    return mistake["msg"].removeprefix("Value error, ")
