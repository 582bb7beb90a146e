"""The sessions in memory: one object for each, however many ask for it, and no more of the ended ones than a limit.

Promises that whoever holds a session holds the one that everybody else sees, so that its lock is one; that a coordinator which
runs for years does not keep every session it ever ran; and that reading old sessions back takes one thread at most. Leaves
holding those that have not ended to their drivers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from vdb_coordinator.serving.live import LiveSession

MOST_KEPT: Final = 1000
"""Sessions that stay in memory although nobody uses them, those that were asked for last."""


class Remembered:
    """Sessions by id."""

    def __init__(self, read: Callable[[str], Awaitable[LiveSession]], most: int = MOST_KEPT) -> None:
        """Remember none yet; `read` reads one from the storage."""
        self._read = read
        self._most = most
        self._held: WeakValueDictionary[str, LiveSession] = WeakValueDictionary()
        self._kept: OrderedDict[str, LiveSession] = OrderedDict()
        self._reading = asyncio.Lock()

    def __contains__(self, session: str) -> bool:
        return session in self._held

    async def get(self, session: str) -> LiveSession:
        """Return the session with this id, from the storage if it is not in memory.

        Raises:
            StoreError: it cannot be read.
        """
        live = self._held.get(session)
        if live is None:
            async with self._reading:  # whoever waited here finds what the one before has read
                live = self._held.get(session) or await self._read(session)
        return self.keep(live)

    def keep(self, live: LiveSession) -> LiveSession:
        """Keep a session, and return the one that was there before, if one was."""
        live = self._held.setdefault(live.id, live)
        self._kept[live.id] = live
        self._kept.move_to_end(live.id)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return live
