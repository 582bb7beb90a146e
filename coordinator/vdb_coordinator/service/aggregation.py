"""AggregationService: the five rounds. Masked inputs come through `uploads.py`.

Source: protos/README.md §4.3, §11.4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TypeAlias

from vdb_coordinator.checks import check_attempt
from vdb_coordinator.events import (
    ComplaintReceived,
    ConsistencyReceived,
    Event,
    KeysReceived,
    SharesReceived,
    UnmaskingReceived,
)
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
    Summed,
)
from vdb_coordinator.service import sizes
from vdb_coordinator.service.boundary import Context
from vdb_coordinator.service.callers import check_seat, current_caller, seat_of
from vdb_coordinator.service.sessions import not_there
from vdb_coordinator.service.uploads import Uploads
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.history import Submission
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.states import Aggregating, Collecting, Finalising, Published, Publishing, phase_of
from vdb_shared.errors import FormatError
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import DIGEST_BYTES, Seat
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import AggregationServiceServicer
from vdb_shared.wire.spoken import doing
from vdb_shared.wire.status import Shares

SealedState: TypeAlias = Aggregating | Finalising | Publishing | Published


class AggregationServicer(AggregationServiceServicer):
    """Carries messages to the conductor; implements the generated service."""

    def __init__(self, conductor: Conductor, uploads: Uploads) -> None:
        self._conductor = conductor
        self._uploads = uploads

    async def AdvertiseKeys(self, request: pb.AdvertiseKeysRequest, context: Context) -> pb.AdvertiseKeysResponse:
        """Take round 0."""
        live, seat, keys = await self._signed(request.session, request.keys, "AdvertiseKeys")
        digest = convert.keys_digest(keys, request.attempt)
        submission = _submission(seat, "AdvertiseKeys", digest, request.attempt)
        receipt = await self._submit(live, submission, partial(KeysReceived, seat=seat, keys=keys))
        return pb.AdvertiseKeysResponse(receipt=receipt)

    async def ShareKeys(self, request: pb.ShareKeysRequest, context: Context) -> pb.ShareKeysResponse:
        """Take round 1."""
        live, seat, header = await self._signed(request.session, request.header, "ShareKeys")
        async with self._recorded(live, "ShareKeys"):
            sizes.check_sealed(live.state.opening, request.sealed)
            sealed = convert.sealed_from_wire(seat, request.sealed)
        digest = convert.shares_digest(header, sealed, request.attempt)
        submission = _submission(seat, "ShareKeys", digest, request.attempt)
        make = partial(SharesReceived, seat=seat, header=header, sealed=sealed)
        return pb.ShareKeysResponse(receipt=await self._submit(live, submission, make))

    async def SignConsistency(self, request: pb.SignConsistencyRequest, context: Context) -> pb.SignConsistencyResponse:
        """Take round 3."""
        live, seat, statement = await self._signed(request.session, request.consistency, "SignConsistency")
        digest = convert.consistency_digest(statement, request.attempt)
        submission = _submission(seat, "SignConsistency", digest, request.attempt)
        make = partial(ConsistencyReceived, seat=seat, statement=statement)
        return pb.SignConsistencyResponse(receipt=await self._submit(live, submission, make))

    async def RevealShares(self, request: pb.RevealSharesRequest, context: Context) -> pb.RevealSharesResponse:
        """Take round 4."""
        live, seat, shares = await self._signed(request.session, request.shares, "RevealShares")
        digest = convert.unmasking_digest(shares, request.attempt)
        submission = _submission(seat, "RevealShares", digest, request.attempt)
        make = partial(UnmaskingReceived, seat=seat, shares=shares)
        return pb.RevealSharesResponse(receipt=await self._submit(live, submission, make))

    async def QueryUpload(self, request: pb.QueryUploadRequest, context: Context) -> pb.QueryUploadResponse:
        """Return how much of a masked input is stored."""
        live = await self._conductor.find(request.session)
        seat = seat_of(current_caller(), live.state.opening)
        check_attempt(live.state, request.attempt)
        if len(request.digest) != DIGEST_BYTES:
            raise FormatError(f"the digest of a masked input has {DIGEST_BYTES} bytes, not {len(request.digest)}")
        return pb.QueryUploadResponse(stored=self._uploads.stored(live, seat, request.digest))

    async def UploadMaskedInput(
        self, request_iterator: AsyncIterator[pb.UploadMaskedInputRequest], context: Context
    ) -> pb.UploadMaskedInputResponse:
        """Take round 2, in chunks."""
        receipt = await self._uploads.receive(request_iterator, current_caller())
        return pb.UploadMaskedInputResponse(receipt=convert.receipt_to_wire(receipt))

    async def GetAdvertisedKeys(
        self, request: pb.GetAdvertisedKeysRequest, context: Context
    ) -> pb.GetAdvertisedKeysResponse:
        """Return round 0 of all."""
        rounds, _ = await self._rounds(request.session, request.attempt, "round 0")
        match rounds:
            case CollectingKeys():
                raise _not_closed("round 0")
            case CollectingShares() | CollectingMaskedInputs():
                advertised = rounds.advertised
            case CollectingConsistency() | CollectingUnmasking() | Summed():
                advertised = rounds.transcript.advertised
        return pb.GetAdvertisedKeysResponse(keys=convert.signed_set_to_wire(advertised.messages))

    async def GetSharedKeys(self, request: pb.GetSharedKeysRequest, context: Context) -> pb.GetSharedKeysResponse:
        """Return the headers of round 1 of all, and what was sealed for the caller."""
        rounds, seat = await self._rounds(request.session, request.attempt, "round 1")
        match rounds:
            case CollectingKeys() | CollectingShares():
                raise _not_closed("round 1")
            case CollectingMaskedInputs() if seat in rounds.shared.seats:
                return convert.shares_to_wire(Shares(rounds.shared.messages, rounds.sealed_for(seat)), seat)
            case _:
                raise RefusedError(reasons.TOO_LATE, f"seat {seat} is not waited for in round 2; it has dropped out")

    async def Complain(self, request: pb.ComplainRequest, context: Context) -> pb.ComplainResponse:
        """Take, instead of round 2, a complaint that what a dealer sealed for the caller does not open."""
        live, seat, complaint = await self._signed(request.session, request.complaint, "Complain")
        digest = convert.complaint_digest(complaint, request.attempt)
        submission = _submission(seat, "Complain", digest, request.attempt)
        make = partial(ComplaintReceived, seat=seat, complaint=complaint)
        return pb.ComplainResponse(receipt=await self._submit(live, submission, make))

    async def GetRestarts(self, request: pb.GetRestartsRequest, context: Context) -> pb.GetRestartsResponse:
        """Return why the rounds were restarted, each time."""
        state, _ = await self._sealed(request.session, "the first round")
        return pb.GetRestartsResponse(restarts=[convert.restart_to_wire(restart) for restart in state.restarts])

    async def GetMaskedInputs(self, request: pb.GetMaskedInputsRequest, context: Context) -> pb.GetMaskedInputsResponse:
        """Return the headers of round 2 of all."""
        rounds, _ = await self._rounds(request.session, request.attempt, "round 2")
        match rounds:
            case CollectingConsistency() | CollectingUnmasking() | Summed():
                return pb.GetMaskedInputsResponse(headers=convert.signed_set_to_wire(rounds.transcript.masked.messages))
            case _:
                raise _not_closed("round 2")

    async def GetConsistency(self, request: pb.GetConsistencyRequest, context: Context) -> pb.GetConsistencyResponse:
        """Return the signatures of round 3 of all."""
        rounds, _ = await self._rounds(request.session, request.attempt, "round 3")
        match rounds:
            case CollectingUnmasking() | Summed():
                body = rounds.transcript.masked.statement.encode()
                return pb.GetConsistencyResponse(signatures=convert.signatures_to_wire(body, rounds.signatures))
            case _:
                raise _not_closed("round 3")

    async def _signed(self, session: str, message: pb.SignedMessage, name: str) -> tuple[LiveSession, Seat, Signed]:
        live, caller = await self._conductor.find(session), current_caller()
        opening = live.state.opening
        seat_of(caller, opening)
        async with self._recorded(live, name):
            claimed, signed = convert.signed_from_wire(message)
            sizes.check_about_seats(opening, signed)
        return live, check_seat(caller, opening, claimed), signed

    @asynccontextmanager
    async def _recorded(self, live: LiveSession, name: str) -> AsyncIterator[None]:
        """Record that a submission is refused unread, because it is not of the shape or size that its kind has."""
        try:
            yield
        except FormatError as error:
            await self._conductor.record_refusal(live, name, current_caller().spiffe_id, str(error))
            raise

    async def _submit(self, live: LiveSession, submission: Submission, make: Callable[[datetime], Event]) -> pb.Receipt:
        receipt = await self._conductor.submit(live, submission, make, current_caller().spiffe_id)
        return convert.receipt_to_wire(receipt)

    async def _sealed(self, session: str, what: str) -> tuple[SealedState, Seat]:
        """Return a session's state if it has been sealed and the caller takes part."""
        live = await self._conductor.find(session)
        state, seat = live.state, seat_of(current_caller(), live.state.opening)
        match state:
            case Aggregating() | Finalising() | Publishing() | Published():
                if seat not in state.sealed.joins:
                    raise RefusedError(reasons.NOT_A_MEMBER, f"seat {seat} did not join this session")
                return state, seat
            case _:
                raise not_there(state, what)

    async def _rounds(self, session: str, attempt: int, what: str) -> tuple[Collecting | Summed, Seat]:
        """Return a session's rounds if they run, in this attempt, and the caller takes part."""
        state, seat = await self._sealed(session, what)
        check_attempt(state, attempt)
        if not isinstance(state, Aggregating):
            raise RefusedError(reasons.TOO_LATE, f"the rounds are over: now {doing(phase_of(state))}")
        return state.rounds, seat


def _submission(seat: Seat, name: str, digest: bytes, attempt: int) -> Submission:
    return Submission(seat, convert.round_kind(name, attempt), digest, attempt)


def _not_closed(what: str) -> RefusedError:
    return RefusedError(reasons.NOT_YET, f"{what} is still open; watch the session and ask again")
