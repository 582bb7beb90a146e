"""AdminService: what leads may do, alone or after others have signed it.

Source: protos/README.md §11.1, §11.11.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from vdb_coordinator.approvals import Action, SignedOrder
from vdb_coordinator.early import closable
from vdb_coordinator.identity.ca import spiffe_id
from vdb_coordinator.identity.enrolment import Enrolments
from vdb_coordinator.identity.enrolment_stages import EnrolmentStage, EnrolmentStatus
from vdb_coordinator.identity.revocation import Revocation, revocable
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.approvals import Approvals
from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller
from vdb_coordinator.service.wishes import Wish, parameters_of, wish_in, wish_of
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.objections import Objections
from vdb_coordinator.serving.unfinished import Unfinished
from vdb_shared.bundle.logged import RevocationReason
from vdb_shared.errors import StoreError, UsageError, VdbError
from vdb_shared.fields import Name
from vdb_shared.identity import StatementPublicKey
from vdb_shared.spec import parse_spec_json
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import AdminServiceServicer

_NAME: Final = TypeAdapter(Name)
LONGEST_WORDS: Final = 500
"""Characters of a reason or a note; those of a withdrawal are of §9.7."""

NO_REASON: Final = "no reason given"

_AUDITED: Final[Mapping[Action, str]] = {
    "approve_enrolment": "approve",
    "revoke_institution": "revoke",
    "abort_session": "abort session",
    "withdraw_result": "withdraw result",
    "admit_auditor": "admit auditor",
}
"""As the audit log calls what a lead orders (§11.10)."""

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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the service needs of the server: its address, and what ends the running calls of who may not make them any more."""

    address: Callable[[], str]
    dismiss: Callable[[str], None]


class AdminServicer(AdminServiceServicer):
    """Carries a lead's requests; implements the generated service."""

    def __init__(
        self,
        conductor: Conductor,
        objections: Objections,
        enrolments: Enrolments,
        approvals: Approvals,
        surroundings: Surroundings,
    ) -> None:
        self._conductor = conductor
        self._objections = objections
        self._enrolments = enrolments
        self._approvals = approvals
        self._surroundings = surroundings
        self._finish = Unfinished().finish

    async def InviteInstitution(
        self, request: pb.InviteInstitutionRequest, context: Context
    ) -> pb.InviteInstitutionResponse:
        """Make an invitation."""
        by = current_caller().spiffe_id
        async with self._enrolments.recorded(by, "invite"):
            institution = _checked_name(request.institution)
            invitation = await self._enrolments.invite(institution, self._surroundings.address(), by)
        return pb.InviteInstitutionResponse(invitation=invitation.encode())

    async def ListEnrolments(self, request: pb.ListEnrolmentsRequest, context: Context) -> pb.ListEnrolmentsResponse:
        """Return all invitations and what became of them."""
        return pb.ListEnrolmentsResponse(enrolments=[_enrolment(item) for item in await self._enrolments.statuses()])

    async def ApproveEnrolment(
        self, request: pb.ApproveEnrolmentRequest, context: Context
    ) -> pb.ApproveEnrolmentResponse:
        """Make an institution a member."""
        async with self._alone("approve_enrolment") as by:
            return await self._approve_enrolment(request, by)

    async def RevokeInstitution(
        self, request: pb.RevokeInstitutionRequest, context: Context
    ) -> pb.RevokeInstitutionResponse:
        """Take an institution out of the roster and out of all sessions."""
        async with self._alone("revoke_institution") as by:
            return await self._revoke_institution(request, by)

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.CreateSessionResponse:
        """Open a session."""
        spec = await asyncio.to_thread(parse_spec_json, request.spec)
        roster = (await self._enrolments.roster()).signed
        supersedes = await self._objections.replaced(request.supersedes)
        session = await self._conductor.create(spec, roster, current_caller().spiffe_id, supersedes)
        return pb.CreateSessionResponse(session=session)

    async def AbortSession(self, request: pb.AbortSessionRequest, context: Context) -> pb.AbortSessionResponse:
        """End a session without a result."""
        async with self._alone("abort_session") as by:
            return await self._abort_session(request, by)

    async def WithdrawResult(self, request: pb.WithdrawResultRequest, context: Context) -> pb.WithdrawResultResponse:
        """Withdraw a published result."""
        async with self._alone("withdraw_result") as by:
            return await self._withdraw_result(request, by)

    async def AdmitAuditor(self, request: pb.AdmitAuditorRequest, context: Context) -> pb.AdmitAuditorResponse:
        """Put an auditor's key into the roster."""
        async with self._alone("admit_auditor") as by:
            return await self._admit_auditor(request, by)

    async def ProposeAction(self, request: pb.ProposeActionRequest, context: Context) -> pb.ProposeActionResponse:
        """Write down what is to be signed."""
        (action, wish), by = wish_in(request), current_caller().spiffe_id
        async with self._enrolments.recorded(by, "propose"):
            self._approvals.check_proposable(action)
            await self._make_plain(wish)
        proposal = await self._approvals.propose(action, parameters_of(wish), by)
        return pb.ProposeActionResponse(proposal=proposal)

    async def _make_plain(self, wish: Wish) -> None:
        """Write into a proposed request what it means now, so that what people sign is what will be done, or nothing.

        Raises:
            RefusedError, IdentityError, UsageError: it means nothing, or cannot be done in these words.
        """
        match wish:
            case pb.AbortSessionRequest():
                wish.session = (await self._conductor.find(wish.session)).id  # a beginning may be another's tomorrow
                wish.reason = _words("reason", wish.reason) or NO_REASON
            case pb.WithdrawResultRequest():
                live = await self._conductor.find(wish.session)
                self._objections.check_reason(live, wish.reason)
                wish.session, wish.superseded_by = live.id, await self._objections.successor(wish.superseded_by)
            case pb.CloseEarlyRequest():
                live = await self._conductor.find(wish.session)
                wish.session = live.id
                wish.phase, wish.institutions = _closable(live, wish)
            case pb.RevokeInstitutionRequest():
                member = revocable(self._enrolments.members, _revocation(wish, ""))
                wish.note, wish.fingerprint = _words("note", wish.note), member.public_key.key_id
            case pb.AdmitAuditorRequest():
                _checked_name(wish.name)
            case pb.ApproveEnrolmentRequest():
                _checked_name(wish.institution)

    async def ListProposals(self, request: pb.ListProposalsRequest, context: Context) -> pb.ListProposalsResponse:
        """Return what waits for signatures."""
        found = [
            pb.Proposal(proposal=item.body, approved_by=item.approved_by, needed=item.needed)
            for item in await self._approvals.waiting()
        ]
        return pb.ListProposalsResponse(proposals=found)

    async def ApproveProposal(self, request: pb.ApproveProposalRequest, context: Context) -> pb.ApproveProposalResponse:
        """Take somebody's signature."""
        by = current_caller().spiffe_id
        found = await self._approvals.approve(request.proposal, request.name, request.signature, by)
        return pb.ApproveProposalResponse(approved=len(found.approved_by), needed=found.needed)

    async def ExecuteProposal(self, request: pb.ExecuteProposalRequest, context: Context) -> pb.ExecuteProposalResponse:
        """Do what enough people have signed."""
        by = current_caller().spiffe_id
        outcome = await self._finish(self._execute(request.proposal, by))
        return pb.ExecuteProposalResponse(outcome=outcome)

    async def _execute(self, digest: bytes, by: str) -> str:
        """Take a proposal and do it; return what was done."""
        order = await self._approvals.take(digest, by)
        try:
            return await self._done(order, wish_of(order.proposal), by)
        except VdbError as error:
            await self._approvals.failed(digest, by, str(error))
            raise

    async def _done(self, order: SignedOrder, wish: Wish, by: str) -> str:
        match wish:
            case pb.RevokeInstitutionRequest():
                revoked = await self._revoke_institution(wish, by)
                return f"{wish.institution} is revoked; the roster has version {revoked.roster_version}, without it"
            case pb.AbortSessionRequest():
                await self._abort_session(wish, by)
                return "the session is aborted; every institution will be told why"
            case pb.WithdrawResultRequest():
                if wish.superseded_by:
                    successor = await self._objections.successor(wish.superseded_by)
                    _check_named(successor == wish.superseded_by, "by its whole id which session's result replaces it")
                await self._withdraw_result(wish, by)
                return "the result is withdrawn; the log says so"
            case pb.ApproveEnrolmentRequest():
                member = await self._approve_enrolment(wish, by)
                return f"{wish.institution} is a member: seat {member.seat} in version {member.roster_version} of the roster"
            case pb.AdmitAuditorRequest():
                admitted = await self._admit_auditor(wish, by)
                return f"{wish.name} is an auditor; the roster has version {admitted.roster_version}"
            case pb.CloseEarlyRequest():
                await self._conductor.close_early(await self._conductor.find(wish.session), order, by)
                return f"{wish.phase} is over; on go {wish.institutions}"

    async def _approve_enrolment(self, request: pb.ApproveEnrolmentRequest, by: str) -> pb.ApproveEnrolmentResponse:
        seat, version = await self._finish(self._approve(request.institution, request.fingerprint, by))
        return pb.ApproveEnrolmentResponse(seat=seat, roster_version=version)

    async def _revoke_institution(self, request: pb.RevokeInstitutionRequest, by: str) -> pb.RevokeInstitutionResponse:
        key_id, version = await self._finish(self._revoke(_revocation(request, by)))
        return pb.RevokeInstitutionResponse(roster_version=version, fingerprint=key_id)

    async def _abort_session(self, request: pb.AbortSessionRequest, by: str) -> pb.AbortSessionResponse:
        live = await self._conductor.find(request.session)
        await self._conductor.abort(live, _words("reason", request.reason) or NO_REASON, by)
        return pb.AbortSessionResponse()

    async def _withdraw_result(self, request: pb.WithdrawResultRequest, by: str) -> pb.WithdrawResultResponse:
        live = await self._conductor.find(request.session)
        withdrawal = await self._objections.withdraw(live, request.reason, request.superseded_by, by)
        return pb.WithdrawResultResponse(withdrawal=withdrawal)

    async def _admit_auditor(self, request: pb.AdmitAuditorRequest, by: str) -> pb.AdmitAuditorResponse:
        name, key = _checked_name(request.name), StatementPublicKey(request.statement_key)
        version = await self._enrolments.admit_auditor(name, key, by)
        return pb.AdmitAuditorResponse(roster_version=version)

    async def _approve(self, institution: str, fingerprint: str, by: str) -> tuple[int, int]:
        async with self._looked_at_again():
            approved = await self._enrolments.approve(institution, fingerprint, by)
        self._surroundings.dismiss(spiffe_id(self._enrolments.members.consortium, "participant", institution))
        await self._conductor.look_at_members()
        return approved

    async def _revoke(self, revocation: Revocation) -> tuple[str, int]:
        async with self._looked_at_again():
            member, version = await self._enrolments.revoke(revocation)
        self._surroundings.dismiss(member.spiffe_id)
        await self._conductor.look_at_members()
        return member.public_key.key_id, version

    async def look_at_roster(self) -> None:
        """Take the roster from the database anew, and end what those do who are in it under their key no more.

        Raises:
            StoreError: the storage refuses.
        """
        before = self._enrolments.members.participants
        members = (await self._enrolments.roster()).roster.members
        gone = [member for member in before if member not in members]
        for member in gone:
            self._surroundings.dismiss(member.spiffe_id)
        if gone:
            await self._conductor.look_at_members()

    @asynccontextmanager
    async def _looked_at_again(self) -> AsyncIterator[None]:
        """Look at the roster again after an error that may have come after the commit; the server's next look does too."""
        try:
            yield
        except StoreError:
            with suppress(StoreError):
                await self.look_at_roster()
            raise

    @asynccontextmanager
    async def _alone(self, action: Action) -> AsyncIterator[str]:
        """Yield who orders an action that nobody else must sign; that it is refused stands in the audit log.

        Raises:
            RefusedError: others must sign it.
        """
        by = current_caller().spiffe_id
        async with self._enrolments.recorded(by, _AUDITED[action]):
            self._approvals.check_alone(action)
            yield by


def _revocation(request: pb.RevokeInstitutionRequest, by: str) -> Revocation:
    reason = _REASONS.get(request.reason)
    if reason is None:
        raise UsageError("say why the institution is revoked: compromised or left")
    return Revocation(request.institution, reason, _words("note", request.note), by, request.fingerprint)


def _words(what: str, text: str) -> str:
    """Return words in one line, all of them: nothing that somebody ordered or signed is cut off."""
    words = " ".join(text.split())
    if len(words) > LONGEST_WORDS:
        raise UsageError(f"{what}: {len(words)} characters, at most {LONGEST_WORDS} are kept; say it in fewer")
    return words


def _check_named(named: object, what: str) -> None:
    """Check that a proposal says something that proposals of older releases left open."""
    if not named:
        raise RefusedError(
            reasons.INVALID, f"the proposal does not say {what}: it was made by an older release; propose it again"
        )


def _closable(live: LiveSession, wish: pb.CloseEarlyRequest) -> tuple[str, str]:
    """Return the phase that is to be closed and who goes on, as they are now."""
    if wish.phase or wish.institutions:
        raise UsageError("phase and institutions are what they are now: leave them empty")
    found = closable(live.state)
    return found.phase, found.institutions


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
        certificate_expires=status.certificate_expires,
    )
