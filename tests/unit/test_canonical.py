"""Canonical bytes: one spelling for each value, and nothing else is read."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.canonical import (
    canonical_json,
    decimal_string,
    decode_base64,
    decode_fields,
    encode_base64,
    encode_fields,
    labelled_hash,
    parse_canonical_json,
    parse_decimal,
    with_decimal_strings,
)
from vdb_shared.errors import FormatError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_round_trip(value: object) -> None:
    assert parse_canonical_json(canonical_json(value)) == value


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1.5}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":9007199254740992}',
        b'"\\u0041"',
        b'"\\ud800"',
        b'{"\\ud800":1}',
        b'{"a":[{"\\udfff":1,"b":2}]}',
        b'"\xff"',
        b"{}\n",
        b"",
        b"[" * 100_000,
    ],
)
def test_json_refuses_every_other_spelling(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_canonical_json(data)


def test_json_refuses_floats_on_the_way_out() -> None:
    with pytest.raises(FormatError, match="decimal string"):
        canonical_json({"deep": [{"x": 0.5}]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("4.0"), "4"),
        (0.1, "0.1"),
        (Decimal("1e-6"), "0.000001"),
        (1e-7, "1e-7"),
        (Decimal("-0"), "0"),
        (Decimal("120"), "120"),
        (Decimal("1.5e30"), "1.5e+30"),
        (-2.25, "-2.25"),
    ],
)
def test_decimal_strings(value: Decimal | float, text: str) -> None:
    assert decimal_string(value) == text
    assert parse_decimal(text) == Decimal(text)


@given(st.floats(-1e300, 1e300).filter(lambda value: value == 0 or abs(value) > 1e-299))
def test_decimal_strings_keep_every_float(value: float) -> None:
    assert float(parse_decimal(decimal_string(value))) == value


@pytest.mark.parametrize(
    "text", ["4.0", "+1", "01", "1e6", ".5", "NaN", "1e-06", " 1", "-0", "0.0000001", "1e+301", "1e+999999999", ""]
)
def test_decimal_strings_have_one_spelling(text: str) -> None:
    with pytest.raises(FormatError):
        parse_decimal(text)


def test_decimal_string_refuses_infinity() -> None:
    with pytest.raises(FormatError, match="finite"):
        decimal_string(math.inf)


@given(st.binary(max_size=64))
def test_base64_round_trip(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", "Q Q=", "-_==", "QQ==="])
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError):
        decode_base64(text)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_fields_round_trip(fields: list[bytes]) -> None:
    assert decode_fields(encode_fields(*fields), len(fields)) == tuple(fields)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.data())
def test_fields_refuse_truncation(fields: list[bytes], data: st.DataObject) -> None:
    whole = encode_fields(*fields)
    cut = data.draw(st.integers(1, len(whole) - 1)) if len(whole) > 1 else 1
    with pytest.raises(FormatError):
        decode_fields(whole[:cut], len(fields))


def test_hash_separates_label_and_fields() -> None:
    digests = {
        labelled_hash("a", b"bc"),
        labelled_hash("ab", b"c"),
        labelled_hash("a", b"b", b"c"),
        labelled_hash("a", b"bc", b""),
    }
    assert len(digests) == 4


def test_hash_vector() -> None:
    """The value that sha256sum prints for the two length-prefixed fields "a" and "b"."""
    assert labelled_hash("a", b"b").hex() == "cf6ab613e3942391f88ed698557e1680f160bd10e88c6b668c50360c10930e2b"


@pytest.mark.parametrize("text", ["1e4001111", "-1e400", "1e-4001111", "1e301"])
def test_numbers_without_end_in_toml_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="beyond the range"):
        with_decimal_strings({"a": [Decimal(text)]})
    assert with_decimal_strings({"a": Decimal("1e300"), "b": Decimal(0)}) == {"a": "1e+300", "b": "0"}
