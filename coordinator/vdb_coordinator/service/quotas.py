"""What one caller may take of the server at once, so that it can slow down nobody but itself.

Promises that of each SPIFFE id at most `MAX_CALLS` calls are open, and at most `TURNS` of them are read or answered at any
moment; the others wait for their turn. So at most `TURNS` messages of a caller are in memory half read. Leaves what has no
caller yet, connections and handshakes, to the limits of the transport (`serving/limits.py`).

Source: protos/README.md §11.7.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from vdb_coordinator.refusals import RefusedError
from vdb_shared.wire import reasons

MAX_CALLS: Final = 300
"""Calls of one SPIFFE id at once: an institution in a hundred sessions at once has up to two hundred."""

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

    @asynccontextmanager
    async def call(self, caller: str) -> AsyncIterator[asyncio.Semaphore]:
        """Count an open call, and yield the semaphore of its caller's turns.

        Raises:
            RefusedError: the caller has too many calls open.
        """
        share = self._shares.setdefault(caller, _Share())
        if share.calls >= MAX_CALLS:
            raise RefusedError(reasons.TOO_MUCH, f"{caller} has {MAX_CALLS} calls open; end some, then try again")
        share.calls += 1
        try:
            yield share.turns
        finally:
            share.calls -= 1
            if not share.calls:
                del self._shares[caller]
