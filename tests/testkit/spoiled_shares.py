"""Shares that are signed as they should be and hold garbage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vdb_participant.phases import SharedKeys, SharedKeysMessage
from vdb_shared import labels
from vdb_shared.identity import StatementKey
from vdb_shared.secagg.messages import SharedKeysHeader, Signed
from vdb_shared.secagg.sealing import SEALED_BYTES, sealed_digest


def spoiled(
    phase: SharedKeys, message: SharedKeysMessage, key: StatementKey, holders: Iterable[int]
) -> tuple[SharedKeys, SharedKeysMessage]:
    """Return a round 1 that is signed as it should be, but holds garbage for some holders."""
    header = SharedKeysHeader.decode(message.header.body)
    sealed = {**message.sealed, **dict.fromkeys(holders, bytes(SEALED_BYTES))}
    body = replace(header, sealed_digest=sealed_digest(header.t1, header.seat, sealed)).encode()
    own = Signed(body, key.sign(labels.TYPE_SHARE_KEYS, body))
    return replace(phase, own=own), SharedKeysMessage(own, sealed)
