"""Signed messages of the rounds as JSON, the same in every member that holds some.

Promises one form for each message and one order for each list. Leaves signatures to `secagg/transcript.py`.

Source: protos/README.md §9.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from vdb_shared.canonical import decode_base64, encode_base64
from vdb_shared.errors import FormatError
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import MAX_SEAT, Seat


def message_to_json(seat: Seat, signed: Signed) -> dict[str, Any]:
    """Return the JSON form of a signed message."""
    return {"body": encode_base64(signed.body), "seat": seat, "signature": encode_base64(signed.signature)}


def message_from_json(item: Any) -> tuple[Seat, Signed]:
    """Return the seat and the signed message of a JSON value.

    Raises:
        FormatError: not what `message_to_json` makes.
    """
    match item:
        case {"body": str(body), "seat": seat, "signature": str(signature), **rest} if not rest and _is_seat(seat):
            return seat, Signed(decode_base64(body), decode_base64(signature))
        case _:
            raise FormatError("a signed message has exactly body, seat and signature")


def round_to_json(messages: Mapping[Seat, Signed]) -> list[dict[str, Any]]:
    """Return the JSON form of a round, ascending by seat."""
    return [message_to_json(seat, messages[seat]) for seat in sorted(messages)]


def round_from_json(items: Any) -> dict[Seat, Signed]:
    """Return the messages of a round, by seat.

    Raises:
        FormatError: not what `round_to_json` makes.
    """
    if not isinstance(items, list):
        raise FormatError("the messages of a round form a list")
    messages = [message_from_json(item) for item in items]
    _check_ascending([seat for seat, _ in messages])
    return dict(messages)


def _is_seat(value: object) -> TypeGuard[Seat]:
    """Return whether a JSON value is a seat; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEAT


def _check_ascending(seats: list[Seat]) -> None:
    if seats != sorted(set(seats)):
        raise FormatError("the messages of a round ascend by seat, one for each")
