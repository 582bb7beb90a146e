"""How the files write values: hex, seats as names, long vectors by digest; and what is drawn from a name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.field import encode_scalars
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat

Json: TypeAlias = dict[str, Any]

LISTED_LANES: Final = 64
"""Vectors up to this size are listed; of longer ones there are digests."""


def entropy(*name: object, size: int) -> bytes:
    """Return bytes that depend on nothing but the name."""
    text = "vdb-secagg/1 test vectors|" + "|".join(map(str, name))
    return hashlib.shake_256(text.encode()).digest(size)


def scalars(values: Collection[int]) -> list[str]:
    """Return field elements as hex of 32 little-endian bytes each."""
    return [encode_scalars([value]).hex() for value in values]


def long_bytes(data: bytes, *, listed: bool) -> Json:
    """Return bytes whole, or their size, first 64 and SHA-256."""
    if listed:
        return {"bytes": data.hex()}
    return {"first": data[:64].hex(), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def signed_json(message: Signed) -> Json:
    """Return a signed message."""
    return {"body": message.body.hex(), "signature": message.signature.hex()}


def by_seat(values: Mapping[Seat, Any]) -> Json:
    """Return a JSON object with seats as names, ascending."""
    return {str(seat): values[seat] for seat in sorted(values)}


def lanes_name(story: str, seat: Seat) -> str:
    """Return the text whose SHAKE-256 gives a seat's lanes: 8 little-endian signed bytes each, shifted right by 16."""
    return f"{story}|lanes|{seat}"


def lanes_of(story: str, seat: Seat, count: int) -> Lanes:
    """Return a seat's lanes, spread over the whole range of a lane."""
    drawn = hashlib.shake_256(lanes_name(story, seat).encode()).digest(8 * count)
    return np.frombuffer(drawn, dtype="<i8").astype(np.int64) >> 16
