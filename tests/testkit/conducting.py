"""A conductor without gRPC: its sessions, its database, and what fails on the way to it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from testkit.consortium import expect, signer
from testkit.session_story import Story
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS, coordinator_key, make_join, make_roster
from vdb_coordinator.duties import Coordinator
from vdb_coordinator.events import Joined, SessionOpened
from vdb_coordinator.serving.clock import Clock, SystemClock
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.history import SessionHistory, Submission
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.log import make_log
from vdb_coordinator.serving.services import Services
from vdb_coordinator.serving.transparency import TransparencyLog
from vdb_coordinator.sessions import apply
from vdb_coordinator.store.blobs import BlobStore, UploadStore
from vdb_coordinator.store.database import Database
from vdb_shared.bundle.witnessed import witness_name
from vdb_shared.errors import StoreError
from vdb_shared.transparency.checkpoint import cosign, parse_checkpoint
from vdb_shared.transparency.note import parse_note
from vdb_shared.wire.status import Receipt

T = TypeVar("T")

SPEC = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
LEAD = "spiffe://testbed/admin/lead"


@dataclass
class TurnedClock:
    """A clock that a test turns; implements Clock."""

    moment: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@asynccontextmanager
async def conducting(
    path: Path, clock: Clock | None = None, *, told: Story | None = None, said: io.StringIO | None = None
) -> AsyncIterator[tuple[Conductor, LiveSession, Database]]:
    """Yield a conductor with one session: the one that is there, one that was told, or a new one; `said` is its log."""
    database = Database(path / "db.sqlite")
    await database.open()
    history = SessionHistory(database, BlobStore(path / "blobs"))
    if told is not None:
        await _store(history, told)
    log = make_log(as_json=True, stream=said or io.StringIO())
    coordinator = Coordinator(coordinator_key(0), history.blob)
    uploads = UploadStore(path / "uploads")
    transparency = TransparencyLog(database, path / "log", "testbed/vdb-log", coordinator_key(0))
    conductor = Conductor(
        Services(coordinator, history, database, uploads, transparency, clock or SystemClock(), log, lambda _: True)
    )
    await conductor.start()
    try:
        known = [summary.session for summary in await conductor.summaries()]
        session = known[0] if known else await conductor.create(SPEC, make_roster(), LEAD)
        yield conductor, await conductor.find(session), database
    finally:
        await conductor.stop()
        database.close()


async def _store(history: SessionHistory, told: Story) -> None:
    snapshot = await history.create(expect(SessionOpened, told.events[0]))
    for event in told.events[1:]:
        snapshot = await history.append(snapshot, event, apply(snapshot.state, event), None)


async def witness(conductor: Conductor, live: LiveSession, seat: int) -> None:
    """Sign the newest checkpoint of the log as a seat."""
    shown = parse_checkpoint(parse_note(conductor.log_view(live, 0).checkpoint).text)
    signed = cosign(shown, witness_name("testbed", INSTITUTIONS[seat]), signer(0, seat), 1)
    await conductor.cosign(live, seat, shown.size, signed.value)


async def join(conductor: Conductor, live: LiveSession, seat: int, digest: bytes = bytes(32)) -> Receipt:
    """Join as a seat that has witnessed the log."""
    await witness(conductor, live, seat)
    opening = live.state.opening
    make = partial(Joined, seat=seat, join=make_join(opening.open, SPEC, opening.signed_roster, seat, 0))
    return await conductor.submit(live, Submission(seat, "Join", digest), make, f"spiffe://{seat}")


@dataclass
class Lossy:
    """A database whose answers are lost: the next transactions are committed, and then refused to whoever asked."""

    database: Database
    monkeypatch: pytest.MonkeyPatch
    lost: int = 0

    def __post_init__(self) -> None:
        """Stand between everybody and the database."""
        run = self.database.run

        async def lossy(work: Callable[[Connection], T]) -> T:
            result = await run(work)
            if self.lost:
                self.lost -= 1
                raise StoreError("the connection was lost after the commit")
            return result

        self.monkeypatch.setattr(self.database, "run", lossy)
