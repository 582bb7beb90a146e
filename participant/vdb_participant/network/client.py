"""The coordinator over gRPC with mutual TLS; implements `Link`.

Promises a deadline on every call, that calls are made again with the same bytes alone, and that what comes back is well
formed or an error. Leaves the truth of answers to the caller, and naming the cause of silence to `network.py`.

Source: protos/README.md §11.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc

from vdb_participant.network.answers import SilentError
from vdb_participant.network.calls import Calls
from vdb_participant.network.link import Upload
from vdb_shared.errors import FormatError
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.clock import moment_in
from vdb_shared.wire.federation_pb2_grpc import AggregationServiceStub, LogServiceStub, SessionServiceStub
from vdb_shared.wire.status import (
    LogView,
    Phase,
    Said,
    SealedSession,
    SessionDetails,
    SessionStatus,
    SessionSummary,
    Shares,
)

TRANSFER_SECONDS: Final = 600.0
"""Deadline of one upload or download; an upload goes on where it stopped."""

WATCH_SECONDS: Final = 60.0
"""How long one stream of statuses is kept open before a fresh one, so that a stalled connection is noticed."""

SHORTEST_WATCH: Final = 1.0
"""Seconds that a stream of statuses lasts at least, before another is opened."""

MAX_BUNDLE_BYTES: Final = 256 * 2**20

T = TypeVar("T")


REPORT_SECONDS: Final = 2.0
"""A report of progress waits no longer than this: work goes on without the lead."""


class Client:
    """A coordinator reached over gRPC; implements Link."""

    def __init__(self, connection: Calls) -> None:
        """Use a connection; nothing is sent yet."""
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def sessions(self) -> tuple[SessionSummary, ...]:
        """Return all sessions that members may see."""
        return self._call(
            lambda: self._sessions.ListSessions(pb.ListSessionsRequest(), timeout=self._seconds),
            lambda answer: tuple(convert.summary_from_wire(item) for item in answer.sessions),
        )

    def clocks(self) -> tuple[datetime, datetime] | None:
        """Return what the coordinator's clock says and what ours did at that moment, as well as can be told, both UTC.

        Returns:
            None if this coordinator does not tell its time.
        """

        def ask() -> tuple[datetime, datetime] | None:
            before = datetime.now(UTC)
            _, call = self._sessions.ListSessions.with_call(pb.ListSessionsRequest(), timeout=self._seconds)
            ours = before + (datetime.now(UTC) - before) / 2
            theirs = moment_in(call.trailing_metadata() or ())
            return None if theirs is None else (theirs, ours)

        return self._connection.attempt(ask)

    def details(self, session: str) -> SessionDetails:
        """Return what there is to know about a session, named by its id or a unique prefix."""
        request = pb.GetSessionRequest(session=session)
        return self._call(lambda: self._sessions.GetSession(request, timeout=self._seconds), convert.details_from_wire)

    def wait(self, session: str, phase: Phase, attempt: int = 0) -> SessionStatus:
        """Return once the session has reached a phase of an attempt, or gone beyond it, or ended."""
        return self._wait(session, lambda status: status.reached(phase, attempt))

    def wait_or_witness(self, session: str, phase: Phase, attempt: int, seen: int) -> SessionStatus:
        """Return as `wait` does, or as soon as members are asked to witness a log of more than `seen` entries."""
        return self._wait(session, lambda status: status.reached(phase, attempt) or status.witness > seen)

    def _wait(self, session: str, enough: Callable[[SessionStatus], bool]) -> SessionStatus:
        while True:
            began = time.monotonic()
            status = self._connection.attempt(lambda: self._watch(session, enough))
            if status is not None:
                return status
            if time.monotonic() - began < SHORTEST_WATCH:
                self._connection.pause(SHORTEST_WATCH)  # whoever ends streams at once is not to keep us busy

    def _watch(self, session: str, enough: Callable[[SessionStatus], bool]) -> SessionStatus | None:
        """Follow one stream of statuses; return None when it ended before one was enough.

        Raises:
            SilentError: it lasted until its deadline without one; the present status comes at once where somebody answers.
        """
        silent = True
        stream = self._sessions.WatchSession(pb.WatchSessionRequest(session=session), timeout=WATCH_SECONDS)
        try:
            for answer in stream:
                self._connection.heard()
                silent = False
                status = convert.status_from_wire(answer.status)
                if status.phase.ended or enough(status):
                    return status
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            if silent:
                raise SilentError from error
        finally:
            stream.cancel()
        return None

    def log_view(self, session: str, size: int) -> LogView:
        """Return the newest checkpoint of the log, from a size on, and where the session's opening stands in it."""
        request = pb.GetCheckpointRequest(session=session, size=size)
        return self._call(lambda: self._log.GetCheckpoint(request, timeout=self._seconds), convert.view_from_wire)

    def cosign(self, session: str, size: int, cosignature: bytes) -> None:
        """Submit our signature of the log's checkpoint of this size."""
        request = pb.CosignRequest(session=session, size=size, cosignature=cosignature)
        self._connection.attempt(lambda: self._log.Cosign(request, timeout=self._seconds))

    def join(self, session: str, statement: bytes) -> None:
        """Submit the envelope of our join statement."""
        request = pb.JoinRequest(session=session, join=statement)
        self._submit(lambda: self._sessions.Join(request, timeout=self._seconds), convert.join_digest(statement))

    def seal(self, session: str) -> SealedSession:
        """Return the envelopes of the seal and of the joins that it names."""
        request = pb.GetSealRequest(session=session)
        return self._call(lambda: self._sessions.GetSeal(request, timeout=self._seconds), convert.seal_from_wire)

    def report(self, session: str, stage: str, done: int, total: int) -> None:
        """Tell the lead how far we are; nothing depends on its arriving."""
        request = pb.ReportProgressRequest(session=session, stage=stage, done=done, total=total)
        report = self._sessions.ReportProgress
        self._connection.attempt(lambda: report(request, timeout=REPORT_SECONDS), patient=False)

    def advertise_keys(self, session: str, seat: Seat, attempt: int, keys: Signed) -> None:
        """Submit our round-0 message."""
        request = pb.AdvertiseKeysRequest(session=session, attempt=attempt, keys=convert.signed_to_wire(seat, keys))
        self._submit(
            lambda: self._rounds.AdvertiseKeys(request, timeout=self._seconds),
            convert.keys_digest(keys, attempt),
        )

    def advertised_keys(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        """Return the round-0 messages of U1."""
        request = pb.GetAdvertisedKeysRequest(session=session, attempt=attempt)
        return self._call(
            lambda: self._rounds.GetAdvertisedKeys(request, timeout=self._seconds),
            lambda answer: convert.signed_set_from_wire(answer.keys),
        )

    def share_keys(self, session: str, seat: Seat, attempt: int, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        """Submit our round-1 header and the shares sealed for each recipient."""
        request = pb.ShareKeysRequest(
            session=session,
            attempt=attempt,
            header=convert.signed_to_wire(seat, header),
            sealed=convert.sealed_to_wire(seat, sealed),
        )
        self._submit(
            lambda: self._rounds.ShareKeys(request, timeout=self._seconds),
            convert.shares_digest(header, sealed, attempt),
        )

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        """Return the round-1 headers of U2 and the shares sealed for our seat, by dealer."""
        request = pb.GetSharedKeysRequest(session=session, attempt=attempt)
        return self._call(
            lambda: self._rounds.GetSharedKeys(request, timeout=self._seconds),
            lambda answer: convert.shares_from_wire(answer, seat),
        )

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        """Submit our masked input, going on where an earlier upload stopped."""
        self._connection.announce(session, attempt, upload.masked)
        query = pb.QueryUploadRequest(session=session, attempt=attempt, digest=masked_digest(upload.masked))

        def transfer() -> Any:
            stored = self._rounds.QueryUpload(query, timeout=self._seconds).stored
            parts = _upload_parts(session, seat, attempt, upload, min(stored, len(upload.masked)))
            return self._rounds.UploadMaskedInput(parts, timeout=TRANSFER_SECONDS)

        expected = convert.masked_digest(upload.header, upload.contribution, attempt)
        self._call(transfer, lambda answer: convert.receipt_from_wire(answer.receipt, expected))

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        """Submit our complaint about a dealer, in place of a masked input."""
        signed = convert.signed_to_wire(seat, complaint)
        request = pb.ComplainRequest(session=session, attempt=attempt, complaint=signed)
        self._submit(
            lambda: self._rounds.Complain(request, timeout=self._seconds),
            convert.complaint_digest(complaint, attempt),
        )

    def restarts(self, session: str) -> tuple[Restart, ...]:
        """Return the records of all restarts so far, in order."""
        request = pb.GetRestartsRequest(session=session)
        return self._call(lambda: self._rounds.GetRestarts(request, timeout=self._seconds), convert.restarts_from_wire)

    def masked_inputs(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        """Return the round-2 headers of U3."""
        request = pb.GetMaskedInputsRequest(session=session, attempt=attempt)
        return self._call(
            lambda: self._rounds.GetMaskedInputs(request, timeout=self._seconds),
            lambda answer: convert.signed_set_from_wire(answer.headers),
        )

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        """Submit our signature of T3."""
        request = pb.SignConsistencyRequest(
            session=session, attempt=attempt, consistency=convert.signed_to_wire(seat, statement)
        )
        self._submit(
            lambda: self._rounds.SignConsistency(request, timeout=self._seconds),
            convert.consistency_digest(statement, attempt),
        )

    def consistency(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        """Return the round-3 messages."""
        request = pb.GetConsistencyRequest(session=session, attempt=attempt)
        return self._call(
            lambda: self._rounds.GetConsistency(request, timeout=self._seconds),
            lambda answer: convert.signed_set_from_wire(answer.signatures),
        )

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        """Submit the shares we reveal."""
        request = pb.RevealSharesRequest(session=session, attempt=attempt, shares=convert.signed_to_wire(seat, shares))
        self._submit(
            lambda: self._rounds.RevealShares(request, timeout=self._seconds),
            convert.unmasking_digest(shares, attempt),
        )

    def bundle(self, session: str) -> bytes:
        """Return the result bundle: the draft while FINALISING, the published one afterwards."""
        request = pb.GetBundleRequest(session=session)

        def transfer() -> bytes:
            data = bytearray()
            for answer in self._sessions.GetBundle(request, timeout=TRANSFER_SECONDS):
                data += answer.chunk
                if len(data) > MAX_BUNDLE_BYTES:
                    raise FormatError(f"the bundle is larger than {MAX_BUNDLE_BYTES} bytes")
            return bytes(data)

        return self._connection.attempt(transfer)

    def countersign(self, session: str, countersignature: bytes) -> None:
        """Submit the envelope with our countersignature of the result."""
        request = pb.CountersignRequest(session=session, countersignature=countersignature)
        self._submit(
            lambda: self._sessions.Countersign(request, timeout=self._seconds),
            convert.countersign_digest(countersignature),
        )

    def abort(self, session: str, statement: bytes) -> None:
        """Submit the envelope of our abort statement."""
        request = pb.AbortRequest(session=session, abort=statement)
        self._submit(
            lambda: self._sessions.Abort(request, timeout=self._seconds),
            convert.abort_digest(statement),
        )

    def object(self, session: str, objection: bytes) -> tuple[bytes, bytes]:
        """Hand in a signed objection and return its entry in the log with the proof of it, both unverified."""
        request = pb.ObjectRequest(session=session, objection=objection)
        return self._call(
            lambda: self._log.Object(request, timeout=self._seconds), lambda answer: (answer.entry, answer.proof)
        )

    def said(self, session: str) -> Said:
        """Return what was said of a result since it was published."""
        request = pb.GetObjectionsRequest(session=session)
        return self._call(lambda: self._log.GetObjections(request, timeout=self._seconds), convert.said_from_wire)

    @property
    def _seconds(self) -> float:
        return self._connection.call_seconds

    @property
    def _sessions(self) -> SessionServiceStub:
        return SessionServiceStub(self._connection.channel)

    @property
    def _log(self) -> LogServiceStub:
        return LogServiceStub(self._connection.channel)

    @property
    def _rounds(self) -> AggregationServiceStub:
        return AggregationServiceStub(self._connection.channel)

    def _call(self, call: Callable[[], Any], read: Callable[[Any], T]) -> T:
        return self._connection.attempt(lambda: read(call()))

    def _submit(self, call: Callable[[], Any], expected: bytes) -> None:
        """Send a submission and check that the receipt is for its bytes."""
        self._call(call, lambda answer: convert.receipt_from_wire(answer.receipt, expected))


def _upload_parts(
    session: str, seat: Seat, attempt: int, upload: Upload, offset: int
) -> Iterator[pb.UploadMaskedInputRequest]:
    """Yield the messages of one upload from an offset on."""
    yield pb.UploadMaskedInputRequest(
        start=pb.UploadStart(
            session=session,
            attempt=attempt,
            header=convert.signed_to_wire(seat, upload.header),
            contribution=upload.contribution,
            size=len(upload.masked),
            offset=offset,
        )
    )
    for start in range(offset, len(upload.masked), convert.CHUNK_BYTES):
        yield pb.UploadMaskedInputRequest(chunk=upload.masked[start : start + convert.CHUNK_BYTES])
