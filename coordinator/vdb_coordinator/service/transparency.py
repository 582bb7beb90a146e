"""LogService: members see that the transparency log only grows, sign that they saw it, and object to results.

Source: protos/README.md §9.7, §9.8.
"""

from __future__ import annotations

from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller, seat_of
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.objections import Objections
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import LogServiceServicer


class LogServicer(LogServiceServicer):
    """Carries requests to the conductor; implements the generated service."""

    def __init__(self, conductor: Conductor, objections: Objections) -> None:
        self._conductor = conductor
        self._objections = objections

    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Context) -> pb.GetCheckpointResponse:
        """Return the newest checkpoint and its proofs."""
        live = await self._conductor.find(request.session)
        seat_of(current_caller(), live.state.opening)
        return convert.view_to_wire(self._conductor.log_view(live, request.size))

    async def Cosign(self, request: pb.CosignRequest, context: Context) -> pb.CosignResponse:
        """Take a member's signature of a checkpoint."""
        live = await self._conductor.find(request.session)
        seat = seat_of(current_caller(), live.state.opening)
        await self._conductor.cosign(live, seat, request.size, request.cosignature)
        return pb.CosignResponse()

    async def Object(self, request: pb.ObjectRequest, context: Context) -> pb.ObjectResponse:
        """Take an objection, whoever brings it: who objects is who signed."""
        live = await self._visible(request.session)
        logged = await self._objections.take(live, request.objection, current_caller().spiffe_id)
        return pb.ObjectResponse(entry=logged.entry, proof=logged.proof.to_bytes())

    async def GetObjections(self, request: pb.GetObjectionsRequest, context: Context) -> pb.GetObjectionsResponse:
        """Return what was said of a result since it was published."""
        said = self._objections.said(await self._visible(request.session))
        return pb.GetObjectionsResponse(objections=said.objections, withdrawal=said.withdrawal)

    async def _visible(self, session: str) -> LiveSession:
        """Return a session if the caller may read it: its members, and leads."""
        live = await self._conductor.find(session)
        if current_caller().role != "admin":
            seat_of(current_caller(), live.state.opening)
        return live
