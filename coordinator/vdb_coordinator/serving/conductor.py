"""All sessions of a running server: takes submissions and what leads order, and sees to it that each session is driven.

Promises that nothing is acknowledged before it is durable, that a byte-identical resend gets the same receipt, that other
bytes and what breaks the protocol are refused and recorded, that a request which is cancelled half-way is finished all the
same, that what a lead did stands in the audit log if and only if it happened, and that a restart goes on where the log ends.
Leaves keeping time and the coordinator's duties to `driving.py`, transport and identity to `service/`.

Source: protos/README.md §11.3, §11.4.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Final

from vdb_coordinator.approvals import SignedOrder
from vdb_coordinator.checks import check_attempt, check_keepable
from vdb_coordinator.duties import LONGEST_REASON
from vdb_coordinator.events import ClosedEarly, DeadlinePassed, Event, ResultWithdrawn, SessionFailed, SessionOpened
from vdb_coordinator.logged import opening_entry
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.driving import Drivers, is_unfinished
from vdb_coordinator.serving.history import Beside, Submission
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.remembered import Remembered
from vdb_coordinator.serving.services import Services
from vdb_coordinator.serving.unfinished import Unfinished
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import attempt_of, phase_of
from vdb_coordinator.store import attempts
from vdb_shared.bundle.witnessed import witness_key
from vdb_shared.errors import FormatError, ProtocolError, SignatureError, StoreError
from vdb_shared.roster import SignedRoster
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import Spec
from vdb_shared.wire import reasons
from vdb_shared.wire.status import LogView, Phase, Receipt, SessionSummary

MAX_OPEN_SESSIONS: Final = 1000


class Conductor:
    """Runs every session that has not ended; others are read when somebody asks."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions = Remembered(self._read)
        self._unfinished = Unfinished()
        self._finish = self._unfinished.finish
        self._started = services.clock.monotonic()
        self._drivers = Drivers(services, self._started, self._store_own)
        services.transparency.changed = self._drivers.look_for_witnesses

    async def start(self) -> None:
        """Go on with all sessions that have not ended.

        Raises:
            StoreError: a log is damaged.
        """
        await self._services.history.sweep()
        await self._services.transparency.open()
        self._services.uploads.retain(await self._services.history.unfinished())
        await self.drive_all()

    async def drive_all(self) -> None:
        """Drive every session that has not ended and that nobody drives: at the start, and what was left since.

        That is one whose opening was stored although its answer was lost, or whose driver died.

        Raises:
            StoreError: the storage refuses, or a log is damaged.
        """
        for session in await self._services.history.unfinished():
            if session not in self._drivers and is_unfinished(live := await self._sessions.get(session)):
                self._drivers.run(live)

    async def stop(self) -> None:
        """Stop keeping time, and finish what was begun."""
        await self._drivers.stop()
        await self._unfinished.wait()

    async def create(self, spec: Spec, roster: SignedRoster, by: str, supersedes: str | None = None) -> str:
        """Open a session, publish in the log that it is open, and return its id.

        Raises:
            StoreError: it could not be stored; or it is open, and the log will say so before anything else happens in it.
            RefusedError: too many sessions are open.
            UsageError: too few institutions are in the roster.
            SpecError, PrivacyError: the spec cannot be kept.
        """
        services, now = self._services, self._services.clock.now()
        if len(self._drivers) >= MAX_OPEN_SESSIONS:
            raise RefusedError(reasons.TOO_MUCH, f"{MAX_OPEN_SESSIONS} sessions are open; wait until one has ended")
        event = services.coordinator.open_session(spec, roster, secrets.token_bytes(32), now, supersedes)
        await asyncio.to_thread(check_keepable, spec, roster)
        return await self._finish(self._create(event, by))

    async def _create(self, event: SessionOpened, by: str) -> str:
        services, session = self._services, opened(event).opening.session
        began = services.clock.monotonic()
        try:
            snapshot = await services.history.create(event, _note(event, by, "create session", session))
        except StoreError as error:
            services.log.error("event not stored", session=session, error=str(error))
            services.metrics.storage(works=False)
            if session not in await services.history.unfinished():  # else the answer of the commit alone was lost
                raise
            live = await self._sessions.get(session)
        else:
            services.metrics.stored(type(event).__name__, services.clock.monotonic() - began)
            live = self._sessions.keep(LiveSession(snapshot, services.clock.monotonic()))
        self._drivers.run(live)
        services.log.info("session opened", session=session)
        await services.transparency.publish()
        return session

    async def summaries(self) -> list[SessionSummary]:
        """Return all sessions, oldest first."""
        return await self._services.history.summaries()

    def phases(self) -> list[Phase]:
        """Return the phases of the sessions that have not ended; may be called from any thread."""
        return self._drivers.phases()

    async def find(self, session: str) -> LiveSession:
        """Return the session with this id, or whose id alone begins so.

        Raises:
            RefusedError: none, or several, or it was lost when the coordinator was restored from a backup.
        """
        if session in self._sessions:
            return await self._sessions.get(session)
        prefix = session if session.startswith("sha256:") else f"sha256:{session}"
        found = [item.session for item in await self.summaries() if item.session.startswith(prefix)]
        if not found and session:
            await self._services.history.check_not_lost(prefix)
        if len(found) != 1 or not session:
            problem = f"{len(found)} sessions have ids that begin so" if found else "no session has that id"
            raise RefusedError(
                reasons.NO_SUCH_SESSION,
                f"{session!r}: {problem}; `vdb-coordinator session list`, or `vdb-participant sessions`, lists them",
            )
        return await self._sessions.get(found[0])

    async def submit(
        self, live: LiveSession, submission: Submission, make: Callable[[datetime], Event], who: str
    ) -> Receipt:
        """Store what a participant submitted, unless it is stored already, and return its receipt.

        Args:
            live: the session.
            submission: who and what.
            make: gives the event at a time, or refuses.
            who: the caller's SPIFFE id, for the audit log.

        Raises:
            RefusedError: other bytes were accepted before, or the event does not belong into the session's state or into
                its present attempt at the rounds.
            FormatError, SignatureError, ProtocolError: it breaks a rule.
            StoreError: it could not be stored; sending it again is safe.
        """
        return await self._finish(self._submit(live, submission, make, who))

    async def abort(self, live: LiveSession, reason: str, by: str) -> None:
        """End a session without a result, because its lead says so."""
        now = live.moment(self._services.clock.now())
        event = SessionFailed(now, f"aborted by the lead: {reason}"[:LONGEST_REASON])
        await self._finish(self._append(live, event, _note(event, by, "abort session", live.id)))

    async def close_early(self, live: LiveSession, order: SignedOrder, by: str) -> None:
        """Wait no longer for anybody in the session's present phase, because enough people signed that.

        Raises:
            RefusedError: they did not, or not for what is there now.
            StoreError: that could not be stored.
        """
        now = live.moment(self._services.clock.now())
        event, outcome = ClosedEarly(now, order), f"{live.id}: {order.proposal.parameters['phase']}"
        await self._finish(self._append(live, event, _note(event, by, "close early", outcome)))

    async def append(self, live: LiveSession, event: Event) -> None:
        """Store what was said of a session after its end, and publish it in the log.

        Raises:
            RefusedError, FormatError, IdentityError, SignatureError: it does not belong to the session, or breaks a rule.
            StoreError: it could not be stored or published; sending it again is safe.
        """
        await self._finish(self._append_and_publish(live, event, None))

    async def withdraw(self, live: LiveSession, event: ResultWithdrawn, by: str) -> None:
        """Store a withdrawal because a lead says so, and publish it in the log; raises as `append`."""
        beside = _note(event, by, "withdraw result", live.id)
        await self._finish(self._append_and_publish(live, event, beside))

    async def expire(self, live: LiveSession, phase: Phase) -> None:
        """Wait no longer for anybody in a phase of a session; nothing happens if it is over meanwhile.

        Raises:
            StoreError: that could not be stored.
        """
        event = DeadlinePassed(live.moment(self._services.clock.now()), phase)
        await self._store_own(live, event, "deadline")

    async def look_at_members(self) -> None:
        """Take who is a member no more out of every session, and publish in the log why.

        Raises:
            StoreError: the log cannot be published; it will be before anything else happens in a session.
        """
        self._drivers.wake()
        await self._services.transparency.publish()

    def log_view(self, live: LiveSession, seen: int) -> LogView:
        """Return the log as a member of a session is shown it, from a size that it saw before.

        Raises:
            RefusedError: the log does not say yet that the session is open.
        """
        transparency = self._services.transparency
        if seen > transparency.size:
            words = "a member saw a longer log: was this directory restored from a backup?"
            self._services.log.critical(words, session=live.id, seen=seen, size=transparency.size)
        return transparency.view(opening_entry(live.state.opening), seen)

    async def cosign(self, live: LiveSession, seat: Seat, size: int, value: bytes) -> None:
        """Store a member's signature of a checkpoint.

        Raises:
            RefusedError, SignatureError: it is of no checkpoint of this log, or does not verify.
            StoreError: it could not be stored; sending it again is safe.
        """
        opening = live.state.opening
        key = witness_key(opening.roster, opening.member(seat).institution)
        await self._finish(self._services.transparency.cosign(key, size, value))

    def bundle(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield a stored bundle in pieces of a size."""
        return self._services.history.pieces(digest, size)

    async def _submit(
        self, live: LiveSession, submission: Submission, make: Callable[[datetime], Event], who: str
    ) -> Receipt:
        key = (submission.seat, submission.kind)
        try:
            async with live.lock:
                known = live.snapshot.receipts.get(key)
                if known is None:
                    if submission.attempt is not None:
                        check_attempt(live.state, submission.attempt)
                    await self._append_locked(live, make(live.moment(self._services.clock.now())), submission)
                    self._services.failpoints.reach("before-acknowledge")
                    return live.snapshot.receipts[key]
        except (FormatError, ProtocolError, SignatureError) as error:
            await self.record_refusal(live, submission.kind, who, str(error))
            raise
        if known.digest != submission.digest:
            message = f"seat {submission.seat} sent other bytes before; only the first count"
            await self.record_refusal(live, submission.kind, who, message)
            raise RefusedError(reasons.CONFLICT, message)
        await self._services.history.check_kept(live.snapshot)
        return known

    async def record_refusal(self, live: LiveSession, kind: str, who: str, why: str) -> None:
        """Note in the audit log that a submission was refused."""
        now, outcome = self._services.clock.now(), f"{live.id}: {why}"
        await self._services.database.run(
            lambda connection: attempts.record_refusal(connection, now, who, kind, outcome)
        )

    async def _append(self, live: LiveSession, event: Event, beside: Beside | None = None) -> None:
        async with live.lock:
            await self._append_locked(live, event, None, beside)

    async def _append_and_publish(self, live: LiveSession, event: Event, beside: Beside | None) -> None:
        await self._append(live, event, beside)
        await self._services.transparency.publish()

    async def _store_own(self, live: LiveSession, event: Event, what: str) -> None:
        """Store an event of ours, unless another one was first after which it means nothing."""
        try:
            await self._finish(self._append(live, event))
        except RefusedError as error:
            self._services.log.info(f"{what} was overtaken", session=live.id, reason=str(error))

    async def _append_locked(
        self, live: LiveSession, event: Event, submission: Submission | None, beside: Beside | None = None
    ) -> None:
        services, began = self._services, self._services.clock.monotonic()
        state = await asyncio.to_thread(apply, live.state, event)
        try:
            snapshot = await services.history.append(live.snapshot, event, state, submission, beside)
        except StoreError as error:
            services.log.error("event not stored", session=live.id, error=str(error))
            services.metrics.storage(works=False)
            await self._resync(live)
            raise
        now = services.clock.monotonic()
        live.advance(snapshot, now)
        services.metrics.stored(type(event).__name__, now - began)
        services.log.info(
            "event",
            session=live.id,
            kind=type(event).__name__,
            sequence=snapshot.position.sequence,
            phase=phase_of(state).words,
            attempt=attempt_of(state),
            **({"seat": submission.seat} if submission else {}),
        )

    async def _resync(self, live: LiveSession) -> None:
        """Look at the log again after an error that may have come after the commit."""
        try:
            snapshot = await self._services.history.load(live.id)
        except StoreError:
            return
        if snapshot.position.sequence > live.snapshot.position.sequence:
            live.advance(snapshot, self._services.clock.monotonic())

    async def _read(self, session: str) -> LiveSession:
        return LiveSession(await self._services.history.load(session), self._started)


def _note(event: Event, by: str, action: str, outcome: str) -> Beside:
    """Return what writes into the audit log that a lead did this, in the transaction of the event."""
    return partial(attempts.record, at=event.at, who=by, action=action, outcome=outcome)
