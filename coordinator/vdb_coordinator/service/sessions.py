"""SessionService: sessions, consent, progress, bundles, countersignatures.

Source: protos/README.md §11.3.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from vdb_coordinator.checks import misplaced
from vdb_coordinator.events import Countersigned, Joined, MemberAborted
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service import sizes
from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller, seat_of
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.history import Submission
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.states import (
    Aborted,
    Aggregating,
    Ending,
    Finalising,
    Lost,
    Published,
    Publishing,
    SessionState,
    may_contribute,
    phase_of,
)
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import SessionServiceServicer
from vdb_shared.wire.spoken import doing
from vdb_shared.wire.status import Phase, SealedSession, SessionDetails, SessionStatus

BUNDLES_AT_ONCE: Final = 4
"""Streams of bundles that one SPIFFE id may have open; an agent has one."""

PIECE_BYTES: Final = 64 * 2**10
"""Of a bundle in one message: what a stream that nobody reads holds in memory, twice or so."""

_REMEMBERED: Final = 256
"""Sessions whose newest status is kept as a message."""


class SessionServicer(SessionServiceServicer):
    """Carries requests to the conductor; implements the generated service."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._told = _Told()
        self._readers: Counter[str] = Counter()

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        """Return all sessions of the consortium."""
        summaries = await self._conductor.summaries()
        return pb.ListSessionsResponse(sessions=[convert.summary_to_wire(summary) for summary in summaries])

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        """Return what a member needs to decide."""
        live = await self._visible(request.session)
        opening = live.state.opening
        return convert.details_to_wire(
            SessionDetails(
                session=opening.session,
                spec=opening.spec_bytes,
                open=opening.open.to_json(),
                roster=opening.signed_roster,
                status=live.status(),
            )
        )

    async def WatchSession(
        self, request: pb.WatchSessionRequest, context: Context
    ) -> AsyncIterator[pb.WatchSessionResponse]:
        """Yield the status at every change, and end with the session."""
        live = await self._visible(request.session)
        async for status in live.watch():
            yield self._told.message(live.id, status)

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:
        """Take a participant's consent."""
        live = await self._conductor.find(request.session)
        submission = self._submission(live, "Join", convert.join_digest(request.join))

        def make(at: datetime) -> Joined:
            return Joined(at, submission.seat, sizes.statement(request.join))

        receipt = await self._conductor.submit(live, submission, make, current_caller().spiffe_id)
        return pb.JoinResponse(receipt=convert.receipt_to_wire(receipt))

    async def GetSeal(self, request: pb.GetSealRequest, context: Context) -> pb.GetSealResponse:
        """Return the seal and the joins it names."""
        live = await self._visible(request.session)
        match live.state:
            case Aggregating() | Finalising() | Publishing() | Published():
                sealed = live.state.sealed
                joins = tuple(sealed.joins[seat].to_json() for seat in sorted(sealed.joins))
                proof = sealed.open_proof.to_bytes()
                return convert.seal_to_wire(SealedSession(sealed.seal.to_json(), joins, proof))
            case _:
                raise not_there(live.state, "the seal")

    async def ReportProgress(self, request: pb.ReportProgressRequest, context: Context) -> pb.ReportProgressResponse:
        """Note how far a site is, unless the session has ended or goes on without it: then its work is for nothing."""
        live = await self._conductor.find(request.session)
        seat = seat_of(current_caller(), live.state.opening)
        if not may_contribute(live.state, seat):
            raise misplaced(live.state, Phase.ADVERTISING_KEYS)
        live.report(seat, request.stage, request.done, request.total)
        return pb.ReportProgressResponse()

    async def GetBundle(self, request: pb.GetBundleRequest, context: Context) -> AsyncIterator[pb.GetBundleResponse]:
        """Yield the draft while it waits for countersignatures, then the published bundle."""
        live = await self._visible(request.session)
        match live.state:
            case Finalising() | Publishing():
                digest = live.state.draft.archive
            case Published():
                digest = live.state.archive
            case _:
                raise not_there(live.state, "the bundle")
        with self._reading(current_caller().spiffe_id):
            pieces = self._conductor.bundle(digest, PIECE_BYTES)
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield pb.GetBundleResponse(chunk=piece)

    @contextmanager
    def _reading(self, caller: str) -> Iterator[None]:
        """Count a stream of pieces that a caller may leave untaken in memory."""
        if self._readers[caller] >= BUNDLES_AT_ONCE:
            raise RefusedError(reasons.TOO_MUCH, f"{caller} reads {BUNDLES_AT_ONCE} bundles at once already")
        self._readers[caller] += 1
        try:
            yield
        finally:
            self._readers[caller] -= 1
            if not self._readers[caller]:
                del self._readers[caller]

    async def Countersign(self, request: pb.CountersignRequest, context: Context) -> pb.CountersignResponse:
        """Take a survivor's signature of the result."""
        live = await self._conductor.find(request.session)
        digest = convert.countersign_digest(request.countersignature)
        submission = self._submission(live, "Countersign", digest)

        def make(at: datetime) -> Countersigned:
            return Countersigned(at, submission.seat, sizes.countersignature(live.state, request.countersignature))

        receipt = await self._conductor.submit(live, submission, make, current_caller().spiffe_id)
        return pb.CountersignResponse(receipt=convert.receipt_to_wire(receipt))

    async def Abort(self, request: pb.AbortRequest, context: Context) -> pb.AbortResponse:
        """Take a participant's signed abort."""
        live = await self._conductor.find(request.session)
        submission = self._submission(live, "Abort", convert.abort_digest(request.abort))

        def make(at: datetime) -> MemberAborted:
            return MemberAborted(at, submission.seat, sizes.statement(request.abort))

        receipt = await self._conductor.submit(live, submission, make, current_caller().spiffe_id)
        return pb.AbortResponse(receipt=convert.receipt_to_wire(receipt))

    async def _visible(self, session: str) -> LiveSession:
        """Return a session if the caller may read it: its members, and leads."""
        live = await self._conductor.find(session)
        if current_caller().role != "admin":
            seat_of(current_caller(), live.state.opening)
        return live

    def _submission(self, live: LiveSession, kind: str, digest: bytes) -> Submission:
        return Submission(seat_of(current_caller(), live.state.opening), kind, digest)


class _Told:
    """The newest status of each session as a message, made once for all who watch it."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, tuple[SessionStatus, pb.WatchSessionResponse]] = OrderedDict()

    def message(self, session: str, status: SessionStatus) -> pb.WatchSessionResponse:
        """Return what watchers are sent."""
        known = self._newest.get(session)
        if known is not None and known[0] is status:
            return known[1]
        message = pb.WatchSessionResponse(status=convert.status_to_wire(status))
        self._newest[session] = (status, message)
        self._newest.move_to_end(session)
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)
        return message


def not_there(state: SessionState, what: str) -> RefusedError:
    """Return why something that a session makes later, or never, is not there."""
    if isinstance(state, Ending | Aborted | Lost):
        return misplaced(state, Phase.PUBLISHED)
    return RefusedError(reasons.NOT_YET, f"{what} is not there yet: now {doing(phase_of(state))}")
