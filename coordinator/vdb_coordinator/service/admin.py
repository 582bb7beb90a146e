"""AdminService: what leads may do.

Source: protos/README.md §11.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from vdb_coordinator.identity.ca import spiffe_id
from vdb_coordinator.identity.enrolment import Enrolments
from vdb_coordinator.identity.enrolment_stages import EnrolmentStage, EnrolmentStatus
from vdb_coordinator.identity.revocation import Revocation
from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.objections import Objections
from vdb_shared.bundle.logged import RevocationReason
from vdb_shared.errors import UsageError
from vdb_shared.fields import Name
from vdb_shared.identity import StatementPublicKey
from vdb_shared.spec import parse_spec_json
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import AdminServiceServicer

T = TypeVar("T")

_NAME: Final = TypeAdapter(Name)
_LONGEST_REASON: Final = 500

_STAGES: Final[Mapping[EnrolmentStage, pb.EnrolmentState.ValueType]] = {
    EnrolmentStage.INVITED: pb.ENROLMENT_STATE_INVITED,
    EnrolmentStage.WAITING: pb.ENROLMENT_STATE_WAITING,
    EnrolmentStage.APPROVED: pb.ENROLMENT_STATE_APPROVED,
    EnrolmentStage.EXPIRED: pb.ENROLMENT_STATE_EXPIRED,
    EnrolmentStage.REVOKED: pb.ENROLMENT_STATE_REVOKED,
}
_REASONS: Final[Mapping[pb.RevocationReason.ValueType, RevocationReason]] = {
    pb.REVOCATION_REASON_COMPROMISED: "compromised",
    pb.REVOCATION_REASON_LEFT: "left",
}


class AdminServicer(AdminServiceServicer):
    """Carries a lead's requests; implements the generated service."""

    def __init__(
        self,
        conductor: Conductor,
        objections: Objections,
        enrolments: Enrolments,
        address: Callable[[], str],
        dismiss: Callable[[str], None],
    ) -> None:
        """Prepare the service; `dismiss` ends the running calls of a SPIFFE id that may not make them any more."""
        self._conductor = conductor
        self._objections = objections
        self._enrolments = enrolments
        self._address = address
        self._dismiss = dismiss
        self._unfinished: set[asyncio.Task[Any]] = set()

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
        seat, version = await self._finish(self._approve(request.institution, request.fingerprint, by))
        return pb.ApproveEnrolmentResponse(seat=seat, roster_version=version)

    async def RevokeInstitution(
        self, request: pb.RevokeInstitutionRequest, context: Context
    ) -> pb.RevokeInstitutionResponse:
        """Take an institution out of the roster and out of all sessions."""
        reason = _REASONS.get(request.reason)
        if reason is None:
            raise UsageError("say why the institution is revoked: compromised or left")
        note = " ".join(request.note.split())[:_LONGEST_REASON]
        revocation = Revocation(request.institution, reason, note, current_caller().spiffe_id)
        key_id, version = await self._finish(self._revoke(revocation))
        return pb.RevokeInstitutionResponse(roster_version=version, fingerprint=key_id)

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.CreateSessionResponse:
        """Open a session."""
        spec = parse_spec_json(request.spec)
        roster = (await self._enrolments.roster()).signed
        supersedes = await self._objections.replaced(request.supersedes)
        session = await self._conductor.create(spec, roster, current_caller().spiffe_id, supersedes)
        return pb.CreateSessionResponse(session=session)

    async def AbortSession(self, request: pb.AbortSessionRequest, context: Context) -> pb.AbortSessionResponse:
        """End a session without a result."""
        live = await self._conductor.find(request.session)
        reason = " ".join(request.reason.split())[:_LONGEST_REASON] or "no reason given"
        await self._conductor.abort(live, reason, current_caller().spiffe_id)
        return pb.AbortSessionResponse()

    async def WithdrawResult(self, request: pb.WithdrawResultRequest, context: Context) -> pb.WithdrawResultResponse:
        """Withdraw a published result."""
        live = await self._conductor.find(request.session)
        by = current_caller().spiffe_id
        withdrawal = await self._objections.withdraw(live, request.reason, request.superseded_by, by)
        return pb.WithdrawResultResponse(withdrawal=withdrawal)

    async def AdmitAuditor(self, request: pb.AdmitAuditorRequest, context: Context) -> pb.AdmitAuditorResponse:
        """Put an auditor's key into the roster."""
        name, key = _checked_name(request.name), StatementPublicKey(request.statement_key)
        version = await self._enrolments.admit_auditor(name, key, current_caller().spiffe_id)
        return pb.AdmitAuditorResponse(roster_version=version)

    async def _approve(self, institution: str, fingerprint: str, by: str) -> tuple[int, int]:
        approved = await self._enrolments.approve(institution, fingerprint, by)
        self._dismiss(spiffe_id(self._enrolments.members.consortium, "participant", institution))
        await self._conductor.look_at_members()
        return approved

    async def _revoke(self, revocation: Revocation) -> tuple[str, int]:
        member, version = await self._enrolments.revoke(revocation)
        self._dismiss(member.spiffe_id)
        await self._conductor.look_at_members()
        return member.public_key.key_id, version

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; when the lead goes away, the work goes on."""
        task = asyncio.ensure_future(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)


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
