"""Types of the fields that specs, statements and configurations have in common.

Promises that a value has one spelling in JSON, and that what is wrong with one is said in words for whoever wrote it.

Source: protos/README.md §2.2, §5.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StringConstraints, ValidationError

from vdb_shared.canonical import check_digest, decimal_string, parse_decimal
from vdb_shared.errors import FormatError


def _decimal(value: object) -> object:
    match value:
        case str():
            try:
                return parse_decimal(value)
            except FormatError as error:
                raise ValueError(str(error)) from error
        case int() if not isinstance(value, bool):
            return Decimal(value)
        case _:
            return value


def _digest(value: object) -> object:
    try:
        return check_digest(value) if isinstance(value, str) else value
    except FormatError as error:
        raise ValueError(str(error)) from error


def _condition(value: str) -> str:
    try:
        return check_digest(value)
    except FormatError as error:
        raise ValueError(f"{error}; write sha256: and the 64 digits that `sha256sum FILE` prints") from error


Real = Annotated[Decimal, BeforeValidator(_decimal), PlainSerializer(decimal_string, return_type=str)]
"""A real number: a number in TOML, a canonical decimal string in JSON."""

Digest = Annotated[str, BeforeValidator(_digest)]  # sha256:<64 hex digits>

Condition = Annotated[str, AfterValidator(_condition)]  # digest of the bytes of a picture or video file

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""An identifier: at most 64 lower-case letters, digits, dots, dashes, underscores."""

KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  # of a statement key

MetricId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+@[0-9]+$")]  # metric and version

Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


def first_mistake(error: ValidationError) -> str:
    """Return in words what a schema refuses first: the path of the field, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
