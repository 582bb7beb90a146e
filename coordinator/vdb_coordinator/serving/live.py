"""One session while the server runs: its state, the end of its log, its receipts, and who waits for news of it.

Promises that what is shown here is durable already. Leaves changing it to `conductor.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from vdb_coordinator.serving.clock import Clock
from vdb_coordinator.states import (
    Aggregating,
    SessionState,
    attempt_of,
    phase_of,
    reason_of,
    seconds_allowed,
    stages_of,
)
from vdb_coordinator.store.eventlog import Position
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire.status import Phase, Receipt, SessionStatus, SiteStatus

_LONGEST_STAGE: Final = 60
_READ_OF_STAGE: Final = 4 * _LONGEST_STAGE
"""Letters that are looked at: what nobody will see costs nothing."""

LULL_SECONDS: Final = 0.1
"""For how long changes that nobody has to act upon are gathered, so that n participants are not told n things in a round."""

END_SECONDS: Final = 1.0
"""For how long the end of a watch waits for others who do not take what they are told."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session at the end of its log.

    Attributes:
        state: what its events make of it.
        position: the end of its log.
        receipts: of each accepted submission, by seat and kind.
    """

    state: SessionState
    position: Position
    receipts: Mapping[tuple[Seat, str], Receipt] = field(repr=False)


class LiveSession:
    """A session in memory; its events are stored before they are seen here."""

    def __init__(self, snapshot: Snapshot, entered: float, lull: float = LULL_SECONDS) -> None:
        self.snapshot = snapshot
        self._lull = lull
        self.entered = entered
        self.lock = asyncio.Lock()
        self._progress: dict[Seat, str] = {}
        self._witness = 0
        self._silent: frozenset[Seat] = frozenset()
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()
        self._untold = 0
        self._all_told = asyncio.Event()
        self._status = self._tell()

    @property
    def id(self) -> str:
        """The session's id."""
        return self.state.opening.session

    @property
    def state(self) -> SessionState:
        """The present state."""
        return self.snapshot.state

    def moment(self, now: datetime) -> datetime:
        """Return the time at which something happens in the session: now, but later than its present phase began.

        Whoever sets a clock back must not make a session that ends before it began: its institutions would refuse the result.
        """
        return max(now, self.state.since + timedelta.resolution)

    def remaining(self, clock: Clock, started: float) -> float | None:
        """Return the seconds until the present phase's deadline, or None when nothing is waited for.

        A state that was entered before this process started, at `started`, keeps its deadline, but lasts at least as long as
        one round after the start: participants need time to come back too.
        """
        allowed = seconds_allowed(self.state)
        if allowed is None:
            return None
        if self.entered > started:
            return max(0.0, self.entered + allowed - clock.monotonic())
        spent = (clock.now() - self.state.since).total_seconds()
        grace = min(allowed, self.state.opening.spec.deadlines.round) - (clock.monotonic() - started)
        return max(0.0, min(allowed - spent, float(allowed)), grace)

    def advance(self, snapshot: Snapshot, now: float) -> None:
        """Show a new end of the log and wake who waits; `now` is monotonic."""
        if snapshot.state.since != self.state.since:
            self.entered = now
        if attempt_of(snapshot.state) != attempt_of(self.state):
            self._progress.clear()
        self.snapshot = snapshot
        self._witness, self._silent = 0, frozenset()
        self.wake()

    def ask_witnesses(self, size: int, silent: frozenset[Seat]) -> None:
        """Show that the session waits until these seats have witnessed the log of this size."""
        if (size, silent) != (self._witness, self._silent):
            self._witness, self._silent = size, silent
            self.wake()

    def report(self, seat: Seat, stage: str, done: int, total: int) -> None:
        """Note how far a site says it is; not durable, no measurement, and never in place of what is recorded."""
        words = "".join(letter for letter in stage[:_READ_OF_STAGE] if letter.isprintable())[:_LONGEST_STAGE]
        self._progress[seat] = f"{words} {done}/{total}" if total else words
        self.wake()

    def status(self) -> SessionStatus:
        """Return what watchers are told: the same object to all of them, until something in it changes."""
        return self._status

    def _tell(self) -> SessionStatus:
        computing = isinstance(self.state, Aggregating)
        sites = []
        for seat, stage in sorted(stages_of(self.state).items()):
            institution = self.state.opening.member(seat).institution
            said = self._progress.get(seat, "") if computing and stage == "joined" else ""
            shown = f"{stage}, is to witness the log" if seat in self._silent else stage
            sites.append(SiteStatus(institution, seat, f"{shown}, says: {said}" if said else shown))
        event = self.snapshot.position.sequence
        phase, reason = phase_of(self.state), reason_of(self.state)
        return SessionStatus(phase, event, reason, tuple(sites), attempt_of(self.state), self._witness)

    def news(self) -> asyncio.Event:
        """Return what the next change will set; take it before looking at the state, or a change may be missed."""
        return self._changed

    async def watch(self) -> AsyncGenerator[SessionStatus]:
        """Yield the present status and then every change until the session has ended.

        What calls for action (attempt, phase, witnessing) is told at once; other changes are told together. The end of a watch
        waits, for a while, until everybody who watches was told that the session has ended: news of others come before ends.
        """
        if not self._untold:
            self._all_told = asyncio.Event()
        self._untold += 1
        shown: SessionStatus | None = None
        try:
            while True:
                news, status = self._changed, self.status()
                if status is not shown:
                    shown = status
                    yield status
                if status.phase.ended:
                    break
                await news.wait()
                if _action(self.status()) == _action(status):
                    await happens(self._moved, self._lull)
        finally:
            self._untold -= 1
            if not self._untold:
                self._all_told.set()
        await happens(self._all_told, END_SECONDS)

    def wake(self) -> None:
        """Let everybody look again."""
        before, fresh = self._status, self._tell()
        if fresh != before:
            self._status = fresh
        if _action(fresh) != _action(before):
            self._moved.set()
            self._moved = asyncio.Event()
        self._changed.set()
        self._changed = asyncio.Event()


def _action(status: SessionStatus) -> tuple[int, Phase, int]:
    """Return what of a status calls for action."""
    return status.attempt, status.phase, status.witness


async def happens(news: asyncio.Event, seconds: float | None) -> bool:
    """Wait for news, and return whether it came in time.

    Not by `asyncio.wait_for`, which swallows a cancellation that comes together with the news.
    """
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True
