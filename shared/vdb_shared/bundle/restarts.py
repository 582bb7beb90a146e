"""The bundle member that holds why the rounds were restarted: evidence against each dealer that was left out.

Promises one encoding for each list of restarts. Leaves whether the evidence holds to `secagg/restarts.py`.

Source: protos/README.md §4.4, §9.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vdb_shared.bundle.signed import (
    check_ascending,
    is_seat,
    message_from_json,
    message_to_json,
    round_from_json,
    round_to_json,
)
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart


def encode_restarts(restarts: Sequence[Restart]) -> bytes:
    """Return the canonical JSON of all restarts of a session, in the order in which they happened."""
    return canonical_json([_to_json(restart) for restart in restarts])


def decode_restarts(data: bytes) -> tuple[Restart, ...]:
    """Return the restarts of a session, in the order in which they happened.

    Raises:
        FormatError: not what `encode_restarts` writes.
    """
    items = parse_canonical_json(data)
    if not isinstance(items, list):
        raise FormatError("the restarts of a session form a list")
    return tuple(_from_json(item) for item in items)


def _to_json(restart: Restart) -> dict[str, Any]:
    return {
        "advertised": round_to_json(restart.advertised),
        "complaint": message_to_json(restart.complainer, restart.complaint),
        "header": message_to_json(restart.dealer, restart.header),
        "sealed": [{"pair": encode_base64(restart.sealed[seat]), "recipient": seat} for seat in sorted(restart.sealed)],
    }


def _from_json(item: Any) -> Restart:
    match item:
        case {"advertised": advertised, "complaint": complaint, "header": header, "sealed": list(pairs), **rest} if (
            not rest
        ):
            dealer, dealt = message_from_json(header)
            complainer, complained = message_from_json(complaint)
            return Restart(round_from_json(advertised), dealer, dealt, _pairs(pairs), complainer, complained)
        case _:
            raise FormatError("a restart has exactly advertised, complaint, header and sealed")


def _pairs(items: list[Any]) -> Mapping[Seat, bytes]:
    pairs = [_pair(item) for item in items]
    check_ascending([recipient for recipient, _ in pairs])
    return dict(pairs)


def _pair(item: Any) -> tuple[Seat, bytes]:
    match item:
        case {"pair": str(pair), "recipient": recipient, **rest} if not rest and is_seat(recipient):
            return recipient, decode_base64(pair)
        case _:
            raise FormatError("a sealed pair of shares has exactly pair and recipient")
