"""Sessions on disk: events, projections, receipts and log entries in one transaction, and folding them back into a state.

Promises that a session read back is the one that was acknowledged. Leaves what an event means to `sessions.py`.

Source: protos/README.md §11.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from sqlalchemy import Connection, insert, select

from vdb_coordinator.events import Event, SessionOpened, SessionPublished, blob_of, decode_event, encode_event
from vdb_coordinator.logged import log_entry
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import CollectingConsistency, Summed
from vdb_coordinator.serving.failpoints import Failpoints, Place
from vdb_coordinator.serving.live import Snapshot
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import Aggregating, Ending, Published, SessionState, phase_of
from vdb_coordinator.store import blobs, eventlog, log_entries, restorations, schema
from vdb_coordinator.store.blobs import BlobStore
from vdb_coordinator.store.database import Database
from vdb_coordinator.store.eventlog import Position
from vdb_coordinator.store.rows import write_row
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import StoreError
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase, Receipt, SessionSummary

_Step = Literal["freeze", "unmask", "publish", "other"]

_BEFORE: Final[Mapping[_Step, tuple[Place, ...]]] = {
    "freeze": ("before-freeze", "before-commit"),
    "unmask": ("before-unmask", "before-commit"),
    "publish": ("before-publish", "before-commit"),
    "other": ("before-commit",),
}
_AFTER: Final[Mapping[_Step, tuple[Place, ...]]] = {
    "freeze": ("after-freeze", "after-commit"),
    "unmask": ("after-unmask", "after-commit"),
    "publish": ("after-publish", "after-commit"),
    "other": ("after-commit",),
}


Beside = Callable[[Connection], None]
"""Writes more in an event's own transaction; may be called again, if that conflicts with another."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Who submitted what.

    Attributes:
        seat: who.
        kind: of the submission (§11.4).
        digest: that the receipt names.
        attempt: at the rounds, to which it belongs; None for what belongs to none.
    """

    seat: Seat
    kind: str
    digest: bytes
    attempt: int | None = None


class SessionHistory:
    """The database's sessions."""

    def __init__(self, database: Database, blob_store: BlobStore, failpoints: Failpoints | None = None) -> None:
        self._database = database
        self._blobs = blob_store
        self._failpoints = failpoints or Failpoints()

    async def create(self, event: SessionOpened, beside: Beside | None = None) -> Snapshot:
        """Store a new session, and what belongs beside it."""
        state = opened(event)
        return await self._store(state.opening.session, Position(), event, state, None, beside)

    async def append(
        self,
        snapshot: Snapshot,
        event: Event,
        state: SessionState,
        submission: Submission | None,
        beside: Beside | None = None,
    ) -> Snapshot:
        """Store an event that leads to `state`, with its receipt if somebody submitted it; return the new end.

        Args:
            snapshot: the end of the log before.
            event: that happened.
            state: to which it leads.
            submission: who submitted it, or None.
            beside: what belongs into its transaction besides, or None.

        Raises:
            StoreError: nothing was stored.
        """
        step = _step(snapshot.state, event, state)
        for place in _BEFORE[step]:
            self._failpoints.reach(place)
        stored = await self._store(state.opening.session, snapshot.position, event, state, submission, beside)
        for place in _AFTER[step]:
            self._failpoints.reach(place)
        return replace(stored, receipts={**snapshot.receipts, **stored.receipts})

    async def load(self, session: str) -> Snapshot:
        """Return a session as its events make it.

        Raises:
            StoreError: the log or a blob is damaged.
        """

        def read(connection: Connection) -> tuple[list[bytes], Position, dict[tuple[Seat, str], Receipt]]:
            return *eventlog.load(connection, session), _receipts(connection, session)

        # Folded beside the database's only thread: whoever asks for an old session keeps nobody's event waiting.
        bodies, position, receipts = await self._database.run(read)
        return Snapshot(await asyncio.to_thread(self._fold, session, bodies), position, receipts)

    async def summaries(self) -> list[SessionSummary]:
        """Return all sessions, oldest first."""

        def read(connection: Connection) -> list[SessionSummary]:
            rows = connection.execute(
                select(schema.sessions).order_by(schema.sessions.c.opened, schema.sessions.c.session)
            )
            return [SessionSummary(row.session, row.title, Phase(row.phase), bool(row.withdrawn)) for row in rows]

        return await self._database.run(read)

    async def unfinished(self) -> list[str]:
        """Return the ids of the sessions that have not ended, oldest first."""
        table, ended = schema.sessions.c, [int(phase) for phase in Phase if phase.ended]
        query = select(table.session).where(table.phase.not_in(ended)).order_by(table.opened, table.session)
        return await self._database.run(lambda connection: list(connection.scalars(query)))

    async def check_not_lost(self, prefix: str) -> None:
        """Check that no session whose id begins so was lost when the coordinator was restored from a backup.

        Raises:
            RefusedError: one was; it says what became of it.
        """
        lost = await self._database.run(lambda connection: restorations.lost_session(connection, prefix))
        if lost is not None:
            raise RefusedError(reasons.ABORTED, f"{lost.session}: {lost.reason}")

    async def check_kept(self, snapshot: Snapshot) -> None:
        """Check that what was stored of a session is there still: what was acknowledged may be acknowledged again.

        Raises:
            StoreError: it is not, or the database cannot be asked.
        """
        session, end = snapshot.state.opening.session, snapshot.position
        await self._database.run(lambda connection: eventlog.check_kept(connection, session, end))

    def blob(self, digest: str) -> bytes:
        """Return a stored bundle or vector."""
        return self._blobs.get(digest)

    def pieces(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield a stored bundle in pieces of a size; raises as `BlobStore.pieces`."""
        return self._blobs.pieces(digest, size)

    async def sweep(self) -> int:
        """Delete blobs that were written but never acknowledged; return how many."""
        return await self._database.run(lambda connection: self._blobs.sweep(blobs.recorded(connection)))

    async def _store(
        self,
        session: str,
        last: Position,
        event: Event,
        state: SessionState,
        submission: Submission | None,
        beside: Beside | None,
    ) -> Snapshot:
        content = blob_of(event)
        if content is not None:  # before the transaction, so that nobody else's event waits for this disk
            await asyncio.to_thread(self._blobs.put, content)

        def store(connection: Connection) -> Snapshot:
            if beside is not None:
                beside(connection)
            return self.write(connection, session, last, event, state, submission)

        return await self._database.run(store)

    def write(
        self,
        connection: Connection,
        session: str,
        last: Position,
        event: Event,
        state: SessionState,
        submission: Submission | None = None,
    ) -> Snapshot:
        """Store an event that leads to `state` with all that belongs to it; what the log says already is not logged again.

        The event's blob must be durable already.

        Raises:
            StoreError: another writer was first.
        """
        entry, content = log_entry(event, state), blob_of(event)
        if content is not None:
            blobs.record(connection, sha256_digest(content), len(content))
        position = eventlog.append(connection, session, last, encode_event(event))
        _project(connection, session, state, position)
        receipts = _receipt(connection, session, position, submission)
        if entry is not None and not log_entries.holds(connection, entry):
            log_entries.append(connection, entry)
        self._failpoints.reach("in-commit")
        return Snapshot(state, position, receipts)

    def replay(self, connection: Connection, session: str) -> Iterator[tuple[Event, SessionState, Position]]:
        """Yield a session's events, the states that they lead to, and the end of the log; the end of the whole log each time.

        Raises:
            StoreError: the log or a blob is damaged.
        """
        bodies, position = eventlog.load(connection, session)
        for event, state in self._replayed(session, bodies):
            yield event, state, position

    def _replayed(self, session: str, bodies: list[bytes]) -> Iterator[tuple[Event, SessionState]]:
        state: SessionState | None = None
        for body in bodies:
            event = decode_event(body, self._blobs.get)
            if state is None:
                if not isinstance(event, SessionOpened):
                    raise StoreError(f"the log of session {session} does not begin with its opening")
                state = opened(event)
            else:
                state = apply(state, event)
            yield event, state
        if state is None:
            raise StoreError(f"session {session} has no events")

    def _fold(self, session: str, bodies: list[bytes]) -> SessionState:
        *_, (_, state) = self._replayed(session, bodies)
        return state


def _receipts(connection: Connection, session: str) -> dict[tuple[Seat, str], Receipt]:
    rows = connection.execute(select(schema.receipts).where(schema.receipts.c.session == session))
    return {(row.seat, row.kind): Receipt(row.digest, row.sequence) for row in rows}


def _step(before: SessionState, event: Event, after: SessionState) -> _Step:
    """Return which of the steps that are watched most closely an event is."""
    if isinstance(event, SessionPublished):
        return "publish"
    if not (isinstance(before, Aggregating) and isinstance(after, Aggregating)) or type(before.rounds) is type(
        after.rounds
    ):
        return "other"
    match after.rounds:
        case CollectingConsistency():
            return "freeze"
        case Summed():
            return "unmask"
        case _:
            return "other"


def stored_phase(state: SessionState) -> Phase:
    """Return the phase under which a session is found again after a restart.

    One whose abort is still to be signed has not ended: it must be among those that go on.
    """
    return state.stage if isinstance(state, Ending) else phase_of(state)


def is_withdrawn(state: SessionState) -> bool:
    """Return whether a session has a result and it is withdrawn."""
    return isinstance(state, Published) and state.withdrawal is not None


def _project(connection: Connection, session: str, state: SessionState, position: Position) -> None:
    write_row(
        connection,
        schema.sessions,
        {"session": session},
        {"phase": int(stored_phase(state)), "last_event": position.sequence, "withdrawn": int(is_withdrawn(state))},
        {"title": state.opening.spec.title, "opened": state.since.isoformat(timespec="microseconds")},
    )


def _receipt(
    connection: Connection, session: str, position: Position, submission: Submission | None
) -> dict[tuple[Seat, str], Receipt]:
    if submission is None:
        return {}
    row = {
        "session": session,
        "seat": submission.seat,
        "kind": submission.kind,
        "digest": submission.digest,
        "sequence": position.sequence,
    }
    connection.execute(insert(schema.receipts), row)
    return {(submission.seat, submission.kind): Receipt(submission.digest, position.sequence)}
