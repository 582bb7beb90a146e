"""Canonical bytes: strict JSON (RFC 8785), strict base64, length-prefixed fields and labelled hashes.

Promises that equal values give equal bytes and that parsing accepts only those bytes. Leaves meaning to its callers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import rfc8785

from vdb_shared.errors import FormatError

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 8785, §3.2.2.3)."""

MAX_EXPONENT: Final = 300
"""Decimal exponents stay within the range of float64, so that no later arithmetic can overflow or vanish."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?(e[+-][1-9][0-9]*)?")


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value.

    Raises:
        FormatError: the value holds a float, a NaN, an integer beyond 2^53, half a surrogate pair or a type JSON lacks.
    """
    try:
        _refuse_floats(value)
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeEncodeError) as error:
        raise FormatError(f"value has no canonical JSON form: {error}") from error


def parse_canonical_json(data: bytes) -> Any:
    """Return the JSON value whose RFC 8785 bytes are exactly `data`.

    Raises:
        FormatError: not JSON, duplicate keys, floats, or any deviation from the canonical form.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"not strict JSON: from byte {error.start} on it is no text in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not strict JSON: {error}") from error
    if canonical_json(value) != data:
        raise FormatError("JSON is not in canonical form (RFC 8785)")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("duplicate key in a JSON object")
    return found


def _refuse_number(text: str) -> Any:
    raise FormatError(f"number {text} is not an integer; reals are decimal strings")


def _refuse_floats(value: Any) -> None:
    match value:
        case float():
            raise FormatError(f"real number {value!r} must be a decimal string")
        case dict():
            for item in value.values():
                _refuse_floats(item)
        case list() | tuple():
            for item in value:
                _refuse_floats(item)
        case _:
            pass


def decimal_string(value: Decimal | float | int) -> str:
    """Return the one canonical decimal string of a finite real: shortest digits that read back to the same value.

    Raises:
        FormatError: NaN or infinite.
    """
    number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise FormatError(f"{value!r} is not a finite number")
    if number == 0:
        return "0"
    sign, digits, exponent = number.normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    prefix = "-" if sign else ""
    if -6 < point <= 21:
        if point <= 0:
            return f"{prefix}0.{'0' * -point}{text}"
        if point >= len(text):
            return f"{prefix}{text}{'0' * (point - len(text))}"
        return f"{prefix}{text[:point]}.{text[point:]}"
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{prefix}{mantissa}e{point - 1:+d}"


def parse_decimal(text: str) -> Decimal:
    """Return the number of a canonical decimal string.

    Raises:
        FormatError: not the string that `decimal_string` would write.
    """
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise FormatError(f"{text!r} is not a decimal string")
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise FormatError(f"{text!r} is not a decimal string") from error
    if abs(number.adjusted()) > MAX_EXPONENT:
        raise FormatError(f"{text!r} is beyond the range of numbers that are used here")
    if decimal_string(number) != text:
        raise FormatError(f"{text!r} is not a canonical decimal string")
    return number


def with_decimal_strings(value: Any) -> Any:
    """Return TOML values as JSON values: reals, read as Decimal, become decimal strings.

    Raises:
        FormatError: a value of a kind that JSON lacks, such as a date, or a number beyond the range that is used here.
    """
    match value:
        case Decimal():
            if value.is_finite() and abs(value.adjusted()) > MAX_EXPONENT:
                raise FormatError(f"{value} is beyond the range of numbers that are used here")
            return decimal_string(value)
        case dict():
            return {key: with_decimal_strings(item) for key, item in value.items()}
        case list():
            return [with_decimal_strings(item) for item in value]
        case bool() | int() | str():
            return value
        case _:
            raise FormatError(f"a spec holds no {type(value).__name__} values")


def sha256_digest(data: bytes) -> str:
    """Return "sha256:<64 hex digits>", the form in which every file and statement names bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_digest(text: str) -> str:
    """Return `text` if it is a digest in our form.

    Raises:
        FormatError: it is not.
    """
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise FormatError(f"{text!r} is not a digest of the form sha256:<64 hex digits>")
    return text


def digest_bytes(text: str) -> bytes:
    """Return the 32 bytes of a digest string."""
    return bytes.fromhex(check_digest(text).removeprefix("sha256:"))


def digest_string(digest: bytes) -> str:
    """Return the digest string of 32 bytes."""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError(f"a SHA-256 digest has 32 bytes, not {len(digest)}")
    return "sha256:" + digest.hex()


def encode_base64(data: bytes) -> str:
    """Return standard padded base64."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Return the bytes of canonical padded base64.

    Raises:
        FormatError: wrong alphabet, padding, or non-zero trailing bits.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise FormatError(f"not base64: {error}") from error
    if encode_base64(data) != text:
        raise FormatError("base64 is not in canonical form")
    return data


def encode_fields(*fields: bytes) -> bytes:
    """Return the fields joined, each behind its length as 8 little-endian bytes (§2.1)."""
    return b"".join([len(field).to_bytes(8, "little") + field for field in fields])


def decode_fields(data: bytes, count: int | None = None) -> tuple[bytes, ...]:
    """Return the fields that `encode_fields` joined.

    Args:
        data: the joined fields.
        count: the number of fields that must be there, or None for any.

    Raises:
        FormatError: truncated, trailing bytes, or another number of fields.
    """
    fields: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 8
        end = start + int.from_bytes(data[position:start], "little")
        if start > len(data) or end > len(data):
            raise FormatError("length-prefixed fields are cut short")
        fields.append(data[start:end])
        position = end
    if count is not None and len(fields) != count:
        raise FormatError(f"expected {count} fields, found {len(fields)}")
    return tuple(fields)


def labelled_hash(label: str, *parts: bytes) -> bytes:
    """Return SHA-256 over a label and length-prefixed parts: H(label, parts…) of §2.1, 32 bytes."""
    return hashlib.sha256(encode_fields(label.encode("ascii"), *parts)).digest()
