"""Requests as they come: looked at as bytes before anything of them is decoded.

Promises that a request has no more bytes and no more fields than its method's requests can have. Each field costs the decoder
time, and each message in a list far more memory than the two bytes that say it is there. Looks at the request itself and at
the single messages in it, one step for each field, not at what lies in lists and long fields: however long an honest request
is, this takes no time. Leaves what the fields say to `sizes.py`.

Source: Protocol Buffers, "Encoding"; protos/README.md §11.7.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError

from vdb_coordinator.service.sizes import check_sizes, longest, most_fields
from vdb_shared.errors import FormatError

Read: TypeAlias = Callable[[bytes], Any]
"""Returns the request that these bytes are, or raises FormatError."""

_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
_FIXED: Final = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_LONGEST_VARINT: Final = 10


def reader(method: str, decode: Read) -> Read:
    """Return what reads the requests of a method, given as /package.Service/Method; `decode` makes messages of bytes.

    What it returns raises FormatError for what is no request of the method, or larger than one can be.
    """
    form, most_bytes, most = _request_of(method)

    def read(data: bytes) -> Any:
        if len(data) > most_bytes:
            raise FormatError(f"a request of {len(data)} bytes; of {form.name} at most {most_bytes} are read")
        _count(data, 0, len(data), form, most)
        try:
            request = decode(data)
        except DecodeError as error:
            raise FormatError(f"the request is no {form.name}") from error
        check_sizes(request)
        return request

    return read


@cache
def _request_of(method: str) -> tuple[Descriptor, int, int]:
    """Return the form of a method's requests, and how many bytes and fields one has at most."""
    form = Default().FindMethodByName(method.removeprefix("/").replace("/", ".")).input_type
    return form, longest(form), most_fields(form)


@cache
def _singles(form: Descriptor) -> dict[int, Descriptor]:
    """Return the forms of the single messages in a message, by the numbers of their fields."""
    return {
        field.number: field.message_type
        for field in form.fields
        if field.message_type is not None and not field.is_repeated
    }


def _count(data: bytes, place: int, end: int, form: Descriptor, left: int) -> int:
    """Return how many of the `left` fields that may come are left after the message in these bytes.

    Raises:
        FormatError: there are more, or the bytes are no message.
    """
    singles = _singles(form)
    while place < end:
        if not left:
            raise FormatError(f"a {form.name} has more fields than there can be")
        left -= 1
        tag, place = _varint(data, place, end)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, place = _varint(data, place, end)
        elif kind == _COUNTED:
            length, place = _varint(data, place, end)
            if number in singles:
                left = _count(data, place, min(place + length, end), singles[number], left)
            place += length
        elif kind in _FIXED:
            place += _FIXED[kind]
        else:
            raise FormatError(f"a {form.name} has no field of the kind {kind}")
    if place > end:
        raise FormatError(f"a {form.name} ends in the middle of a field")
    return left


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """Return a number of variable length and the place behind it."""
    if place < end and data[place] < 128:
        return data[place], place + 1
    value = 0
    for index in range(min(_LONGEST_VARINT, end - place)):
        byte = data[place + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, place + index + 1
    raise FormatError("a number in the request does not end")
