"""The bundle member that holds why the rounds were restarted: the complaint about each dealer that was left out.

Promises one encoding for each list of restarts. Leaves whether a record holds to `secagg/restarts.py`.

Source: protos/README.md §4.4, §9.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vdb_shared.bundle.signed import message_from_json, message_to_json, round_from_json, round_to_json
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError
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
    }


def _from_json(item: Any) -> Restart:
    match item:
        case {"advertised": advertised, "complaint": complaint, **rest} if not rest:
            complainer, complained = message_from_json(complaint)
            return Restart(round_from_json(advertised), complainer, complained)
        case _:
            raise FormatError("a restart has exactly advertised and complaint")
