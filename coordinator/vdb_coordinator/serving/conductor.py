"""All sessions of a running server: takes submissions, keeps time, and does the coordinator's own duties.

Promises that nothing is acknowledged before it is durable, that a byte-identical resend gets the same receipt, that other
bytes and what breaks the protocol are refused and recorded, that a request which is cancelled half-way is finished all the
same, and that a restart goes on where the log ends. Leaves transport and identity to `service/`.

Source: protos/README.md §11.3, §11.4.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from vdb_coordinator.approvals import SignedOrder
from vdb_coordinator.checks import check_attempt, check_keepable
from vdb_coordinator.duties import LONGEST_REASON
from vdb_coordinator.events import ClosedEarly, DeadlinePassed, Event, MemberRevoked, SessionFailed, SessionOpened
from vdb_coordinator.logged import opening_entry, witnesses_for
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.history import Submission
from vdb_coordinator.serving.live import LiveSession, happens
from vdb_coordinator.serving.services import Services
from vdb_coordinator.sessions import apply
from vdb_coordinator.states import Duty, attempt_of, duty_of, phase_of, waited_for
from vdb_coordinator.store import attempts
from vdb_shared.bundle.logged import SALT_BYTES
from vdb_shared.bundle.witnessed import witness_key
from vdb_shared.errors import FormatError, ProtocolError, SignatureError, StoreError, VdbError
from vdb_shared.roster import SignedRoster
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import Spec
from vdb_shared.transparency.proof import LogProof
from vdb_shared.wire import reasons
from vdb_shared.wire.status import LogView, Phase, Receipt, SessionSummary
from vdb_shared.wording import counted

T = TypeVar("T")

WITNESSED: Final = frozenset({Duty.SEAL, Duty.PUBLISH})
"""Duties that wait until enough of those who joined have witnessed the log."""

STORE_RETRY_SECONDS: Final = 2.0
"""Pause after the storage refused one of the coordinator's own events."""

MAX_OPEN_SESSIONS: Final = 1000


class Conductor:
    """Runs every session that has not ended; others are read when somebody asks."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions: dict[str, LiveSession] = {}
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._waiting: set[str] = set()
        self._started = services.clock.monotonic()
        services.transparency.changed = self._look_for_witnesses

    async def start(self) -> None:
        """Go on with all sessions that have not ended.

        Raises:
            StoreError: a log is damaged.
        """
        await self._services.history.sweep()
        await self._services.transparency.open()
        open_sessions = [item.session for item in await self.summaries() if not item.phase.ended]
        self._services.uploads.retain(open_sessions)
        for session in open_sessions:
            self._run(await self._load(session))

    async def stop(self) -> None:
        """Stop keeping time, and finish what was begun."""
        for driver in self._drivers.values():
            driver.cancel()
        await asyncio.gather(*self._drivers.values(), *self._unfinished, return_exceptions=True)

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
        services = self._services
        began = services.clock.monotonic()
        snapshot = await services.history.create(event)
        services.metrics.stored(type(event).__name__, services.clock.monotonic() - began)
        session = snapshot.state.opening.session
        live = self._sessions.setdefault(session, LiveSession(snapshot, services.clock.monotonic()))
        self._run(live)
        await services.database.run(
            lambda connection: attempts.record(connection, event.at, by, "create session", session)
        )
        services.log.info("session opened", session=session)
        await services.transparency.publish()
        return session

    async def summaries(self) -> list[SessionSummary]:
        """Return all sessions, oldest first."""
        return await self._services.history.summaries()

    def phases(self) -> list[Phase]:
        """Return the phases of the sessions that have not ended; may be called from any thread."""
        found = (self._sessions.get(session) for session in list(self._drivers))
        return [phase_of(live.state) for live in found if live is not None]

    async def find(self, session: str) -> LiveSession:
        """Return the session with this id, or whose id alone begins so.

        Raises:
            RefusedError: none, or several, or it was lost when the coordinator was restored from a backup.
        """
        if session in self._sessions:
            return self._sessions[session]
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
        return self._sessions.get(found[0]) or await self._load(found[0])

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
        await self._do_for_a_lead(live, event, by, "abort session", live.id)

    async def close_early(self, live: LiveSession, order: SignedOrder, by: str) -> None:
        """Wait no longer for anybody in the session's present phase, because enough people signed that.

        Raises:
            RefusedError: they did not, or not for what is there now.
            StoreError: that could not be stored.
        """
        now = live.moment(self._services.clock.now())
        outcome = f"{live.id}: {order.proposal.parameters['phase']}"
        await self._do_for_a_lead(live, ClosedEarly(now, order), by, "close early", outcome)

    async def append(self, live: LiveSession, event: Event) -> None:
        """Store what was said of a session after its end, and publish it in the log.

        Raises:
            RefusedError, FormatError, IdentityError, SignatureError: it does not belong to the session, or breaks a rule.
            StoreError: it could not be stored or published; sending it again is safe.
        """
        await self._finish(self._append(live, event))
        await self._services.transparency.publish()

    async def expire(self, live: LiveSession, phase: Phase) -> None:
        """Wait no longer for anybody in a phase of a session; nothing happens if it is over meanwhile.

        Raises:
            StoreError: that could not be stored.
        """
        event = DeadlinePassed(live.moment(self._services.clock.now()), phase)
        await self._finish(self._append_in_time(live, event, "deadline"))

    async def look_at_members(self) -> None:
        """Take who is a member no more out of every session, and publish in the log why.

        Raises:
            StoreError: the log cannot be published; it will be before anything else happens in a session.
        """
        for session in self._drivers:
            self._sessions[session].wake()
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

    async def _do_for_a_lead(self, live: LiveSession, event: Event, by: str, action: str, outcome: str) -> None:
        await self._finish(self._append(live, event))
        await self._services.database.run(lambda connection: attempts.record(connection, event.at, by, action, outcome))

    async def _append(self, live: LiveSession, event: Event) -> None:
        async with live.lock:
            await self._append_locked(live, event, None)

    async def _append_in_time(self, live: LiveSession, event: Event, what: str) -> None:
        """Store an event of ours, unless another one was first after which it means nothing."""
        try:
            await self._append(live, event)
        except RefusedError as error:
            self._services.log.info(f"{what} was overtaken", session=live.id, reason=str(error))

    async def _append_locked(self, live: LiveSession, event: Event, submission: Submission | None) -> None:
        services, began = self._services, self._services.clock.monotonic()
        state = await asyncio.to_thread(apply, live.state, event)
        try:
            snapshot = await services.history.append(live.snapshot, event, state, submission)
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

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; when the caller is cancelled, the work goes on."""
        task = asyncio.ensure_future(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)

    async def _load(self, session: str) -> LiveSession:
        snapshot = await self._services.history.load(session)
        return self._sessions.setdefault(session, LiveSession(snapshot, self._started))

    # Keeping time and doing duties.

    def _run(self, live: LiveSession) -> None:
        driver = asyncio.ensure_future(self._drive(live))
        self._drivers[live.id] = driver
        driver.add_done_callback(lambda task: self._driven(live, task))

    def _driven(self, live: LiveSession, task: asyncio.Task[None]) -> None:
        self._drivers.pop(live.id, None)
        if task.cancelled():
            return
        if task.exception() is not None:
            self._services.log.critical("session stands still", session=live.id, error=repr(task.exception()))
        self._services.uploads.retain(self._drivers)

    async def _drive(self, live: LiveSession) -> None:
        """Wait for changes and deadlines of one session until it has ended."""
        while not phase_of(live.state).ended or duty_of(live.state) is not None:
            try:
                await self._services.transparency.publish()
                news, duty, phase = live.news(), duty_of(live.state), phase_of(live.state)
                if (seat := self._revoked(live)) is not None:
                    event = MemberRevoked(live.moment(self._services.clock.now()), seat)
                    await self._finish(self._append_in_time(live, event, "revocation"))
                elif duty in WITNESSED:
                    await self._perform_witnessed(live, duty, news)
                elif duty is not None:
                    await self._perform(live, duty)
                elif not phase.ended and not await happens(news, live.remaining(self._services.clock, self._started)):
                    await self.expire(live, phase)
            except StoreError as error:
                self._services.log.error("storage refuses", session=live.id, error=str(error))
                await asyncio.sleep(STORE_RETRY_SECONDS)

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
            await self._finish(self._append_in_time(live, SessionFailed(now, reason), "deadline"))

    def _look_for_witnesses(self) -> None:
        """Wake the sessions that wait for witnesses."""
        for session in self._waiting:
            self._sessions[session].wake()

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
        await self._append_in_time(live, event, "duty")
