"""Types of the fields that specs, statements and configurations have in common.

Promises that a value has one spelling in JSON, and that what is wrong with one is said in words for whoever wrote it.

Source: protos/README.md §2.2, §5.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StringConstraints

from vdb_shared.canonical import check_digest, decimal_string, parse_decimal
from vdb_shared.errors import FormatError
from vdb_shared.schema_words import METRIC_ID, NAME, NoRealError


def _decimal(value: object) -> object:
    match value:
        case str():
            try:
                return parse_decimal(value)
            except FormatError as error:
                raise NoRealError(str(error)) from error
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

Name = Annotated[str, StringConstraints(pattern=NAME)]
"""An identifier: at most 64 lower-case letters, digits, dots, dashes, underscores."""

KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  # of a statement key

MetricId = Annotated[str, StringConstraints(pattern=METRIC_ID)]  # metric and version

Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
