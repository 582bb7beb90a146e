"""Masked inputs in chunks: checked before the first byte is stored, resumable, bounded.

Promises that nobody can store more than one vector of the right size, that a broken upload goes on where it stopped, and
that only bytes with the signed digest become a submission.

Source: protos/README.md §11.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from vdb_coordinator.checks import check_attempt, check_contribution, misplaced
from vdb_coordinator.events import InputReceived
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.rounds import CollectingMaskedInputs
from vdb_coordinator.service import sizes
from vdb_coordinator.service.callers import Caller, check_seat, seat_of
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.history import Submission
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.metrics import Metrics
from vdb_coordinator.states import Aggregating
from vdb_coordinator.store.blobs import UploadStore, upload_prefix
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.errors import FormatError, ProtocolError, SignatureError
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import MaskedInputHeader, Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import open_masked, seat_peer
from vdb_shared.secagg.vectors import COMMITMENT_BYTES, vector_bytes
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase, Receipt

NAME: Final = "UploadMaskedInput"
READ_SECONDS: Final = 30.0
"""How long the next chunk may take."""

MAX_CHUNK_BYTES: Final = 4 * convert.CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Announced:
    """An upload as its first message announces it, checked."""

    live: LiveSession
    seat: Seat
    signed: Signed
    header: MaskedInputHeader
    contribution: Envelope = field(repr=False)
    size: int
    offset: int


class Uploads:
    """Takes uploads; one at a time for each seat of a session."""

    def __init__(self, conductor: Conductor, store: UploadStore, metrics: Metrics) -> None:
        self._conductor = conductor
        self._metrics = metrics
        self._store = store
        self._newest: dict[str, object] = {}
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def stored(self, live: LiveSession, seat: Seat, digest: bytes) -> int:
        """Return how many bytes are stored of the vector with this digest."""
        return self._store.stored(_name(live, seat, digest))

    async def receive(self, parts: AsyncIterator[pb.UploadMaskedInputRequest], caller: Caller) -> Receipt:
        """Return the receipt of an upload, after its last chunk or, for one that was accepted before, at once.

        Raises:
            RefusedError, ProtocolError, FormatError: it is refused; what was stored of it stays for a resumption, unless
                its bytes are not those that were signed; if some came over an earlier connection, it may begin anew.
        """
        start = await _next(parts)
        if start is None or start.WhichOneof("part") != "start":
            raise FormatError("an upload begins with its start message")
        live = await self._conductor.find(start.start.session)
        seat, attempt = seat_of(caller, live.state.opening), start.start.attempt
        kind = convert.round_kind(NAME, attempt)
        try:
            claimed, signed = convert.signed_from_wire(start.start.header)
            check_seat(caller, live.state.opening, claimed)
            digest = convert.masked_digest(signed, start.start.contribution, attempt)
            known = live.snapshot.receipts.get((seat, kind))
            if known is not None and known.digest == digest:
                return await self._again(live, Submission(seat, kind, digest, attempt), caller)
            announced = _announced(live, seat, signed, start.start)
            event = await self._collect(announced, parts)
        except (FormatError, ProtocolError, SignatureError) as error:
            await self._conductor.record_refusal(live, NAME, caller.spiffe_id, str(error))
            raise
        submission = Submission(seat, kind, digest, attempt)
        receipt = await self._conductor.submit(live, submission, event, caller.spiffe_id)
        self._store.discard(_name(live, seat, announced.header.masked_digest))
        self._newest.pop(_owner(announced), None)
        return receipt

    async def _again(self, live: LiveSession, submission: Submission, caller: Caller) -> Receipt:
        """Return the receipt of what was accepted before, if it is kept still."""

        def never(_at: datetime) -> InputReceived:
            raise RefusedError(reasons.WRONG_OFFSET, "its receipt is not there any more; query and resume")

        return await self._conductor.submit(live, submission, never, caller.spiffe_id)

    async def _collect(
        self, announced: Announced, parts: AsyncIterator[pb.UploadMaskedInputRequest]
    ) -> Callable[[datetime], InputReceived]:
        """Store what comes, and return what makes the event of the whole upload."""
        name = _name(announced.live, announced.seat, announced.header.masked_digest)
        token = self._newest[_owner(announced)] = object()
        if self._store.stored(name) != announced.offset:
            raise _wrong_offset(self._store.stored(name))
        self._store.keep_only(_owner(announced), name)
        position = announced.offset
        while (part := await _next(parts)) is not None:
            # An earlier upload whose connection broke may still write its last chunk: that is nobody's breach.
            if self._newest.get(_owner(announced)) is not token or self._store.stored(name) != position:
                raise _wrong_offset(self._store.stored(name))
            if part.WhichOneof("part") != "chunk" or not 0 < len(part.chunk) <= MAX_CHUNK_BYTES:
                raise FormatError(f"expected a chunk of 1 to {MAX_CHUNK_BYTES} bytes")
            if position + len(part.chunk) > announced.size:
                raise ProtocolError("sends more bytes than it announced", peer=seat_peer(announced.seat))
            try:
                position = await asyncio.to_thread(self._store.extend, name, position, part.chunk)
            except ValueError as error:
                raise _wrong_offset(self._store.stored(name)) from error
            self._metrics.uploaded(len(part.chunk))
        # One vector of each seat is in memory, whoever asks how often.
        async with self._reading.setdefault(_owner(announced), asyncio.Lock()):
            if self._newest.get(_owner(announced)) is not token:
                raise _wrong_offset(self._store.stored(name))
            return await self._whole(announced)

    async def _whole(self, announced: Announced) -> Callable[[datetime], InputReceived]:
        """Return what makes the event of an upload that is complete."""
        live, seat = announced.live, announced.seat
        name = _name(live, seat, announced.header.masked_digest)
        masked = await asyncio.to_thread(self._store.content, name)
        if len(masked) < announced.size:
            raise _wrong_offset(len(masked))
        if await asyncio.to_thread(masked_digest, masked) != announced.header.masked_digest:
            self._store.discard(name)
            if announced.offset:  # a power cut may have left the length of what came earlier, and none of its bytes
                raise _wrong_offset(0)
            raise ProtocolError("its masked input is not the one its header names", peer=seat_peer(seat))
        return partial(
            InputReceived, seat=seat, header=announced.signed, contribution=announced.contribution, masked=masked
        )


def _announced(live: LiveSession, seat: Seat, signed: Signed, start: pb.UploadStart) -> Announced:
    """Return an upload that may begin: in its attempt and phase, of the right size, under a header that its seat signed."""
    state = live.state
    check_attempt(state, start.attempt)
    if not isinstance(state, Aggregating) or not isinstance(state.rounds, CollectingMaskedInputs):
        raise misplaced(state, Phase.MASKING_INPUT)
    rounds = state.rounds
    sizes.check_body(signed, rounds.parameters.blocks * COMMITMENT_BYTES)
    contribution = sizes.contribution(live.state.opening.spec, start.contribution)
    header = open_masked(rounds.parameters, rounds.shared, seat, signed, seat_peer(seat))
    expected = vector_bytes(rounds.parameters.lanes)
    if start.size != expected:
        raise ProtocolError(f"announces {start.size} bytes, the vector has {expected}", peer=seat_peer(seat))
    check_contribution(state, seat, signed.body, contribution)
    return Announced(live, seat, signed, header, contribution, start.size, start.offset)


async def _next(parts: AsyncIterator[pb.UploadMaskedInputRequest]) -> pb.UploadMaskedInputRequest | None:
    """Return the next message of a stream, or None at its end."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await anext(parts, None)
    except TimeoutError as error:
        raise RefusedError(reasons.WRONG_OFFSET, f"no chunk came for {READ_SECONDS:.0f} s; query and resume") from error


def _wrong_offset(stored: int) -> RefusedError:
    return RefusedError(reasons.WRONG_OFFSET, f"the upload is stored up to byte {stored}; query and go on from there")


def _owner(announced: Announced) -> str:
    return upload_prefix(announced.live.id, announced.seat)


def _name(live: LiveSession, seat: Seat, digest: bytes) -> str:
    return upload_prefix(live.id, seat) + digest.hex()
