"""AdminService: what leads may do.

Source: protos/README.md §11.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import TypeAdapter, ValidationError

from vdb_coordinator.identity.enrolment import Enrolments, EnrolmentStage, EnrolmentStatus
from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller
from vdb_coordinator.serving.conductor import Conductor
from vdb_shared.errors import UsageError
from vdb_shared.fields import Name
from vdb_shared.spec import parse_spec_json
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import AdminServiceServicer

_NAME: Final = TypeAdapter(Name)
_LONGEST_REASON: Final = 500

_STAGES: Final[Mapping[EnrolmentStage, pb.EnrolmentState.ValueType]] = {
    EnrolmentStage.INVITED: pb.ENROLMENT_STATE_INVITED,
    EnrolmentStage.WAITING: pb.ENROLMENT_STATE_WAITING,
    EnrolmentStage.APPROVED: pb.ENROLMENT_STATE_APPROVED,
    EnrolmentStage.EXPIRED: pb.ENROLMENT_STATE_EXPIRED,
}


class AdminServicer(AdminServiceServicer):
    """Carries a lead's requests; implements the generated service."""

    def __init__(self, conductor: Conductor, enrolments: Enrolments, address: Callable[[], str]) -> None:
        self._conductor = conductor
        self._enrolments = enrolments
        self._address = address

    async def InviteInstitution(
        self, request: pb.InviteInstitutionRequest, context: Context
    ) -> pb.InviteInstitutionResponse:
        """Make an invitation."""
        institution = _checked_name(request.institution)
        invitation = await self._enrolments.invite(institution, self._address(), current_caller().spiffe_id)
        return pb.InviteInstitutionResponse(invitation=invitation.encode())

    async def ListEnrolments(self, request: pb.ListEnrolmentsRequest, context: Context) -> pb.ListEnrolmentsResponse:
        """Return all invitations and what became of them."""
        return pb.ListEnrolmentsResponse(enrolments=[_enrolment(item) for item in await self._enrolments.statuses()])

    async def ApproveEnrolment(
        self, request: pb.ApproveEnrolmentRequest, context: Context
    ) -> pb.ApproveEnrolmentResponse:
        """Make an institution a member."""
        by = current_caller().spiffe_id
        seat, version = await self._enrolments.approve(request.institution, request.fingerprint, by)
        return pb.ApproveEnrolmentResponse(seat=seat, roster_version=version)

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.CreateSessionResponse:
        """Open a session."""
        spec = parse_spec_json(request.spec)
        roster = (await self._enrolments.roster()).signed
        session = await self._conductor.create(spec, roster, current_caller().spiffe_id)
        return pb.CreateSessionResponse(session=session)

    async def AbortSession(self, request: pb.AbortSessionRequest, context: Context) -> pb.AbortSessionResponse:
        """End a session without a result."""
        live = await self._conductor.find(request.session)
        reason = " ".join(request.reason.split())[:_LONGEST_REASON] or "no reason given"
        await self._conductor.abort(live, reason, current_caller().spiffe_id)
        return pb.AbortSessionResponse()


def _checked_name(text: str) -> str:
    try:
        return _NAME.validate_python(text, strict=True)
    except ValidationError as error:
        raise UsageError(
            f"{text!r} is not a name: lower-case letters, digits, dot, dash and underscore, at most 64"
        ) from error


def _enrolment(status: EnrolmentStatus) -> pb.Enrolment:
    return pb.Enrolment(
        institution=status.institution,
        state=_STAGES[status.stage],
        fingerprint=status.fingerprint,
        seat=status.seat,
        expires=status.expires,
    )
