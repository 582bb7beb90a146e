"""MembershipService: what members ask outside sessions. ProtocolService: which version two programs speak.

Source: protos/README.md §11.2, §11.9.
"""

from __future__ import annotations

from vdb_coordinator.identity.renewal import RenewalRequest, Renewals
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import current_caller
from vdb_coordinator.service.compatibility import PROGRAM, too_old
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import MembershipServiceServicer, ProtocolServiceServicer
from vdb_shared.wire.versions import Offer, Version, agree, own_offer


class MembershipServicer(MembershipServiceServicer):
    """Carries requests to `Renewals`; implements the generated service."""

    def __init__(self, renewals: Renewals) -> None:
        self._renewals = renewals

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: Context
    ) -> pb.RenewCertificateResponse:
        """Return a new certificate."""
        caller = current_caller()
        wish = RenewalRequest(caller.spiffe_id, caller.certificate, request.certificate_request, request.possession)
        return pb.RenewCertificateResponse(certificate_chain=await self._renewals.renew(wish))


class ProtocolServicer(ProtocolServiceServicer):
    """Answers offers; implements the generated service."""

    def __init__(self, oldest: Version) -> None:
        """Prepare the service; programs that speak nothing as new as `oldest` are refused."""
        self._offer = own_offer(PROGRAM, oldest)

    async def Negotiate(self, request: pb.NegotiateRequest, context: Context) -> pb.NegotiateResponse:
        """Return what the caller and this coordinator have in common."""
        theirs = Offer.from_wire(request)
        agreement = agree(self._offer, theirs)
        if agreement is not None:
            return agreement.to_wire(self._offer.program)
        if theirs.newest < self._offer.oldest:
            raise too_old(theirs.newest, self._offer.oldest)
        raise RefusedError(
            reasons.VERSION,
            f"your program speaks protocol {theirs.oldest} and newer, this coordinator {self._offer.newest} at most; ask the "
            "lead to update the coordinator, or use the release of your program that was made for it",
        )
