"""What a schema refuses is said in words of whoever wrote the file, and the value, which may be private, is not repeated."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from vdb_shared.fields import MetricId, Name, Text
from vdb_shared.schema_words import first_field, first_mistake, in_words


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    number: int = 1


class Form(BaseModel):
    """One field of every sort that schemas of this project have."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: Name = "a"
    metric: MetricId = "a@1"
    text: Text = "x"
    code: Annotated[str, StringConstraints(min_length=3)] = "abc"
    digits: Annotated[str, StringConstraints(pattern="^[0-9]+$")] = "1"
    count: Annotated[int, Field(ge=0, lt=9)] = 1
    share: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    weight: float = 1.0
    really: bool = False
    kind: Literal["left", "right"] = "left"
    several: list[int] = []
    pairs: dict[str, int] = {}
    inner: Inner = Inner()

    @field_validator("code")
    @classmethod
    def _code(cls, value: str) -> str:
        if value == "bad":
            raise ValueError("is the one code that nobody may use")
        return value


class Needs(BaseModel):
    session: str


NAMES = "expected at most 64 lower-case letters, digits, dots, dashes and underscores, beginning with a letter or digit"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "Hospitals of Norway"}, f"name: {NAMES}"),
        ({"metric": "fvd"}, "metric: expected a metric and its version, such as clip-score@1"),
        ({"text": ""}, "text: is empty"),
        ({"text": "x" * 2001}, "text: expected at most 2000 characters"),
        ({"text": 3}, "text: expected text"),
        ({"code": "ab"}, "code: expected at least 3 characters"),
        ({"code": "bad"}, "code: is the one code that nobody may use"),
        ({"digits": "abc"}, "digits: expected the form ^[0-9]+$"),
        ({"count": 4.5}, "count: expected a whole number"),
        ({"count": "four"}, "count: expected a whole number"),
        ({"count": -1}, "count: must be at least 0"),
        ({"count": 9}, "count: must be below 9"),
        ({"share": Decimal(0)}, "share: must be above 0"),
        ({"share": Decimal(2)}, "share: must be at most 1"),
        ({"share": "half"}, "share: expected a number"),
        ({"weight": "much"}, "weight: expected a number"),
        ({"really": "maybe"}, "really: expected true or false"),
        ({"kind": "up"}, "kind: expected 'left' or 'right'"),
        ({"several": 3}, "several: expected a list"),
        ({"pairs": 3}, "pairs: expected fields with values"),
        ({"inner": 3}, "inner: expected fields with values"),
        ({"inner": {"number": "x"}}, "inner.number: expected a whole number"),
        ({"colour": 1}, "colour: is no field that is known here"),
    ],
)
def test_says_what_was_expected(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Form.model_validate(values)
    assert first_mistake(caught.value) == words


def test_what_is_missing_is_called_that() -> None:
    with pytest.raises(ValidationError) as caught:
        Needs.model_validate({})
    assert first_field(caught.value) == ("session", "is missing")


def test_the_document_as_a_whole_has_no_field() -> None:
    with pytest.raises(ValidationError) as caught:
        Needs.model_validate(["private words"])
    assert first_field(caught.value) == ("", "expected fields with values")


def test_a_kind_without_words_keeps_the_librarys() -> None:
    assert in_words({"type": "date_past", "loc": (), "msg": "Date should be in the past", "input": 1}) == (
        "Date should be in the past"
    )
