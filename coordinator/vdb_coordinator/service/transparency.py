"""LogService: members see that the transparency log only grows, and sign that they saw it.

Source: protos/README.md §9.8.
"""

from __future__ import annotations

from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller, seat_of
from vdb_coordinator.serving.conductor import Conductor
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import LogServiceServicer


class LogServicer(LogServiceServicer):
    """Carries requests to the conductor; implements the generated service."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

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
