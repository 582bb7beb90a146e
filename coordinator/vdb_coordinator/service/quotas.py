"""What one caller may take of the server at once, so that it can slow down nobody but itself.

Promises that of each SPIFFE id at most `MAX_CALLS` calls are open, and at most `TURNS` of them are read or answered at any
moment; the others wait for their turn. So at most `TURNS` messages of a caller are in memory half read. Who only has an
invitation may have `INVITED_CALLS`. Once `COMMON_CALLS` of all callers are open, each caller still gets its first
`OWN_CALLS`, and none gets more: a few cannot take the calls of all. Leaves what has no caller yet, connections and
handshakes, to the limits of the transport (`serving/limits.py`).

A call is open until its answer was taken, not until it was made: whoever takes no answers runs out of calls of its own.

Source: protos/README.md §11.7.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from vdb_coordinator.refusals import RefusedError
from vdb_shared.wire import reasons

MAX_CALLS: Final = 300
"""Calls of one SPIFFE id at once: an institution in a hundred sessions at once has up to two hundred."""

INVITED_CALLS: Final = 4
"""Calls at once of who has an invitation: enrolling is one after another."""

COMMON_CALLS: Final = 4000
OWN_CALLS: Final = 16

TURNS: Final = 8


@dataclass(slots=True)
class _Share:
    """What one caller has taken."""

    calls: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TURNS))


class Quotas:
    """The shares of all callers that have calls open."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}
        self._calls = 0

    def begin(self, caller: str, most: int = MAX_CALLS) -> asyncio.Semaphore:
        """Count a call that is open from now on until `end`, and return the semaphore of its caller's turns.

        Args:
            caller: its SPIFFE id.
            most: calls that it may have open.

        Raises:
            RefusedError: the caller has too many calls open, or all callers have; nothing was counted.
        """
        share = self._shares.get(caller) or _Share()
        if share.calls >= most:
            raise RefusedError(reasons.TOO_MUCH, f"{caller} has {most} calls open; end some, then try again")
        if self._calls >= COMMON_CALLS and share.calls >= OWN_CALLS:
            raise RefusedError(
                reasons.TOO_MUCH, f"too many calls of all are open, {share.calls} of {caller}; try again later"
            )
        self._shares[caller] = share
        share.calls += 1
        self._calls += 1
        return share.turns

    def end(self, caller: str) -> None:
        """Count a call as over, once for each that `begin` counted."""
        share = self._shares[caller]
        share.calls -= 1
        self._calls -= 1
        if not share.calls:
            del self._shares[caller]
