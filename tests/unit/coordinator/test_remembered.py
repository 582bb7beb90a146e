"""Sessions in memory: one object for each, a bounded number of those that nobody uses, one reading at a time."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from testkit.conducting import LEAD, SPEC, conducting
from testkit.statements import make_roster
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.remembered import Remembered

Told = Callable[[list[str], "Reads"], Awaitable[None]]


class Reads:
    """Reads sessions from a storage, and notes which, and how many at once."""

    def __init__(self, read: Callable[[str], Awaitable[LiveSession]]) -> None:
        self._read = read
        self._now = 0
        self.most = 0
        self.of: Counter[str] = Counter()

    async def __call__(self, session: str) -> LiveSession:
        self.of[session] += 1
        self._now += 1
        self.most = max(self.most, self._now)
        live = await self._read(session)
        self._now -= 1
        return live


def with_three_stored(path: Path, tell: Told) -> None:
    """Tell a story of three sessions that are stored."""

    async def play() -> None:
        async with conducting(path) as (conductor, first, _):
            others = [await conductor.create(SPEC, make_roster(), LEAD) for _ in range(2)]
            await tell([first.id, *others], Reads(conductor._read))

    asyncio.run(play())


def test_many_who_ask_at_once_share_one_object_and_one_reading(tmp_path: Path) -> None:
    async def tell(ids: list[str], reads: Reads) -> None:
        remembered = Remembered(reads)
        found = await asyncio.gather(*(remembered.get(session) for session in ids * 5))
        assert len(set(map(id, found))) == 3
        assert [live.id for live in found[:3]] == ids
        assert set(reads.of.values()) == {1}
        assert reads.most == 1

    with_three_stored(tmp_path, tell)


def test_what_nobody_uses_is_let_go_and_read_again(tmp_path: Path) -> None:
    async def tell(ids: list[str], reads: Reads) -> None:
        remembered = Remembered(reads, most=1)
        for session in ids:
            await remembered.get(session)
        gc.collect()
        assert [session in remembered for session in ids] == [False, False, True]
        assert (await remembered.get(ids[0])).id == ids[0]
        assert reads.of == {ids[0]: 2, ids[1]: 1, ids[2]: 1}

    with_three_stored(tmp_path, tell)


def test_what_somebody_uses_stays_the_one_object_also_beyond_the_limit(tmp_path: Path) -> None:
    """A second object would have a lock of its own, and who watches the first would see no news."""

    async def tell(ids: list[str], reads: Reads) -> None:
        remembered = Remembered(reads, most=1)
        used = await remembered.get(ids[0])
        for session in ids[1:]:
            await remembered.get(session)
        gc.collect()
        assert await remembered.get(ids[0]) is used
        assert remembered.keep(await reads(ids[0])) is used

    with_three_stored(tmp_path, tell)
