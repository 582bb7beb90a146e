"""EnrolmentService: what an invitation's bootstrap certificate may call.

Source: protos/README.md §11.2.
"""

from __future__ import annotations

from vdb_coordinator.identity.ca import spiffe_id
from vdb_coordinator.identity.enrolment import EnrolmentRequest, Enrolments
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.convert import roster_to_wire
from vdb_shared.wire.federation_pb2_grpc import EnrolmentServiceServicer


class EnrolmentServicer(EnrolmentServiceServicer):
    """Carries requests to `Enrolments`; implements the generated service."""

    def __init__(self, enrolments: Enrolments, consortium: str) -> None:
        self._enrolments = enrolments
        self._consortium = consortium

    async def Enrol(self, request: pb.EnrolRequest, context: Context) -> pb.EnrolResponse:
        """Bind an invitation to a key."""
        caller = await self._check_invited(request.institution, "enrol")
        await self._enrolments.enrol(
            EnrolmentRequest(
                institution=request.institution,
                token=request.token,
                certificate_request=request.certificate_request,
                statement_key=request.statement_key,
                possession=request.possession,
            ),
            caller,
        )
        return pb.EnrolResponse()

    async def GetEnrolment(self, request: pb.GetEnrolmentRequest, context: Context) -> pb.GetEnrolmentResponse:
        """Return certificate and roster once the lead has approved."""
        caller = await self._check_invited(request.institution, "get enrolment")
        found = await self._enrolments.enrolment(request.institution, request.token, caller)
        if found is None:
            return pb.GetEnrolmentResponse(approved=False)
        return pb.GetEnrolmentResponse(
            approved=True, certificate_chain=found.certificate_chain, roster=roster_to_wire(found.roster)
        )

    async def _check_invited(self, institution: str, action: str) -> str:
        caller = current_caller().spiffe_id
        async with self._enrolments.recorded(caller, action):
            if caller != spiffe_id(self._consortium, "enrolment", institution):
                raise RefusedError(reasons.INVITATION, f"{caller} is not an invitation of {institution}")
        return caller
