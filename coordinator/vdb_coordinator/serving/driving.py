"""Drivers: for each session that has not ended a task that keeps its time and does the coordinator's own duties.

Promises that a session has one driver at most, and that one which died of something unforeseen is told of and can be started
again. Leaves storing to the conductor, and what a duty makes to `duties.py`.

Source: protos/README.md §11.3.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from vdb_coordinator.duties import LONGEST_REASON
from vdb_coordinator.events import DeadlinePassed, Event, MemberRevoked, SessionFailed
from vdb_coordinator.logged import opening_entry, witnesses_for
from vdb_coordinator.serving.live import LiveSession, happens
from vdb_coordinator.serving.services import Services
from vdb_coordinator.states import Duty, Publishing, duty_of, phase_of, waited_for
from vdb_shared.bundle.logged import SALT_BYTES
from vdb_shared.bundle.witnessed import witness_key
from vdb_shared.errors import StoreError, VdbError
from vdb_shared.secagg.parameters import Seat
from vdb_shared.transparency.proof import LogProof
from vdb_shared.wire.status import Phase
from vdb_shared.wording import counted

Store = Callable[[LiveSession, Event, str], Awaitable[None]]
"""Stores an event of ours, unless another one was first after which it means nothing; the words say what it is."""

WITNESSED: Final = frozenset({Duty.SEAL, Duty.PUBLISH})
"""Duties that wait until enough of those who joined have witnessed the log."""

STORE_RETRY_SECONDS: Final = 2.0
"""Pause after the storage refused one of the coordinator's own events."""


class Drivers:
    """The sessions of one server that are driven."""

    def __init__(self, services: Services, started: float, store: Store) -> None:
        """Drive nothing yet.

        Args:
            services: what a conductor works with.
            started: when the server did, monotonic.
            store: stores the coordinator's own events.
        """
        self._services = services
        self._started = started
        self._store = store
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._driven: dict[str, LiveSession] = {}
        self._waiting: set[str] = set()
        self._died: set[str] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, session: str) -> bool:
        return session in self._tasks

    def run(self, live: LiveSession) -> None:
        """Drive a session, unless it is driven already or the server stops."""
        if live.id in self._tasks or self._stopped:
            return
        self._died.discard(live.id)
        self._driven[live.id] = live
        self._tasks[live.id] = asyncio.ensure_future(self._drive(live))
        self._tasks[live.id].add_done_callback(lambda task: self._ended(live, task))

    async def stop(self) -> None:
        """Stop keeping time."""
        self._stopped = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def phases(self) -> list[Phase]:
        """Return the phases of the sessions that are driven; may be called from any thread."""
        return [phase_of(live.state) for live in list(self._driven.values())]

    def wake(self) -> None:
        """Let every session look again."""
        for live in list(self._driven.values()):
            live.wake()

    def look_for_witnesses(self) -> None:
        """Wake the sessions that wait for witnesses."""
        for session in self._waiting & self._driven.keys():
            self._driven[session].wake()

    def _ended(self, live: LiveSession, task: asyncio.Task[None]) -> None:
        self._tasks.pop(live.id, None)
        self._driven.pop(live.id, None)
        self._waiting.discard(live.id)
        if task.cancelled():
            return
        if task.exception() is not None:  # its uploads stay: it is driven again at the next look
            self._died.add(live.id)
            self._services.log.critical("session stands still", session=live.id, error=repr(task.exception()))
            return
        self._services.uploads.retain(self._tasks.keys() | self._died)

    async def _drive(self, live: LiveSession) -> None:
        """Wait for changes and deadlines of one session until it has ended and the log says so."""
        told = opening_entry(live.state.opening)
        while True:
            try:
                await self._publish(live, told)
                if not is_unfinished(live):
                    return
                await self._go_on(live)
            except StoreError as error:
                self._services.log.error("storage refuses", session=live.id, error=str(error))
                await asyncio.sleep(STORE_RETRY_SECONDS)

    async def _publish(self, live: LiveSession, opening: bytes) -> None:
        """Have the log say what it must before a session goes on, and how it ended; what it says already is not looked up."""
        needed = live.state.draft.entry if isinstance(live.state, Publishing) else opening
        if not is_unfinished(live) or not self._services.transparency.holds(needed):
            await self._services.transparency.publish()

    async def _go_on(self, live: LiveSession) -> None:
        """Do what is the coordinator's turn now, or wait."""
        news, duty, phase = live.news(), duty_of(live.state), phase_of(live.state)
        if (seat := self._revoked(live)) is not None:
            event = MemberRevoked(live.moment(self._services.clock.now()), seat)
            await self._store(live, event, "revocation")
        elif duty in WITNESSED:
            await self._perform_witnessed(live, duty, news)
        elif duty is not None:
            await self._perform(live, duty)
        elif not phase.ended and not await happens(news, live.remaining(self._services.clock, self._started)):
            await self._store(live, DeadlinePassed(live.moment(self._services.clock.now()), phase), "deadline")

    def _revoked(self, live: LiveSession) -> Seat | None:
        """Return a seat that is waited for and whose institution is a member no more."""
        opening, is_member = live.state.opening, self._services.is_member
        return next((seat for seat in sorted(waited_for(live.state)) if not is_member(opening.member(seat))), None)

    async def _perform_witnessed(self, live: LiveSession, duty: Duty, news: asyncio.Event) -> None:
        """Do a duty once enough of those who joined have witnessed the log; until then ask them."""
        transparency, (entry, seats, quorum) = self._services.transparency, witnesses_for(live.state)
        opening = live.state.opening
        keys = {seat: witness_key(opening.roster, opening.member(seat).institution) for seat in seats}
        gathered = transparency.gathered(entry, [keys[seat] for seat in sorted(keys, key=lambda seat: keys[seat].name)])
        found = len(gathered.cosignatures)
        if found >= quorum:
            self._waiting.discard(live.id)
            await self._perform(live, duty, transparency.proof(entry, gathered))
            return
        self._waiting.add(live.id)
        silent = transparency.silent(list(keys.values()))
        live.ask_witnesses(transparency.size, frozenset(seat for seat in seats if keys[seat] in silent))
        if not await happens(news, live.remaining(self._services.clock, self._started)):
            self._waiting.discard(live.id)
            now = live.moment(self._services.clock.now())
            reason = f"{counted(found, 'institution')} witnessed the log, {quorum} of those who joined must"
            await self._store(live, SessionFailed(now, reason), "deadline")

    async def _perform(self, live: LiveSession, duty: Duty, proof: LogProof | None = None) -> None:
        coordinator, now = self._services.coordinator, live.moment(self._services.clock.now())
        try:
            self._services.failpoints.reach("before-sign")
            salt = secrets.token_bytes(SALT_BYTES)
            event = await asyncio.to_thread(coordinator.perform, duty, live.state, now, salt, proof)
            self._services.failpoints.reach("after-sign")
        except StoreError:
            raise
        except VdbError as error:
            if duty is Duty.PUBLISH:
                raise  # what is logged cannot be taken back
            event = SessionFailed(now, f"{duty.value}: {error}"[:LONGEST_REASON])
        await self._store(live, event, "duty")


def is_unfinished(live: LiveSession) -> bool:
    """Return whether anything of a session is to come of itself."""
    return not phase_of(live.state).ended or duty_of(live.state) is not None
