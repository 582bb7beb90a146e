"""The relay: carries a site's requests to the coordinator, over mutual TLS, and the answers back, as files.

Promises that nothing is sent which the site did not sign, byte for byte and in the order of its numbers, but questions that the
protocol answers to any member; that a request which was carried out is not carried out again, but answered with the same file;
and that after kill -9 at any moment running again goes on. Leaves trust to the site: whatever a relay says is judged there
as if a coordinator had said it.

Source: protos/README.md §12.8.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from vdb_participant.network.answers import SilentError, details_of, reason_of
from vdb_participant.network.client import TRANSFER_SECONDS, WATCH_SECONDS
from vdb_participant.network.connection import Connection
from vdb_participant.offline import following
from vdb_participant.offline.channel import COSIGN, WATCH
from vdb_participant.offline.files import (
    Answer,
    Call,
    Known,
    Refusal,
    Reply,
    Request,
    decode_request,
    encode_answer,
)
from vdb_participant.offline.mailbox import INBOX, OUTBOX, answer_name, read_carried, request_name
from vdb_participant.offline.relay_certificate import CertificateKeeper
from vdb_participant.offline.relay_folder import RelayFile, RelayFolder
from vdb_participant.offline.renewing import RENEW
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.keys import TlsIdentity
from vdb_participant.site.storage import make_folder, write_durably
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.canonical import encode_base64
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError
from vdb_shared.identity import StatementPublicKey
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb

ENROL: Final = "/vdb.v1.EnrolmentService/Enrol"
APPROVAL: Final = "/vdb.v1.EnrolmentService/GetEnrolment"
_MENDABLE: Final = frozenset(
    {"", reasons.NOT_YET, reasons.TOO_MUCH, reasons.STORAGE, reasons.INTERNAL, reasons.WRONG_OFFSET}
)
"""Reasons, or none at all, for which the same may be accepted later."""
APPROVAL_SECONDS: Final = 2.0
_SERVICES: Final = ("SessionService", "LogService", "AggregationService", "EnrolmentService")


@dataclass(frozen=True, slots=True)
class Carried:
    """What one round over an outbox did: answers written, and files that were refused, each in one line."""

    answered: tuple[Path, ...]
    refused: tuple[str, ...]


@dataclass(slots=True)
class Relay:
    """A relay at work.

    Attributes:
        folder: what it keeps.
        exchange: folder with outbox and inbox.
        wait: whether an answer waits until the session went on, or tells how it stands now.
        say: told what happens, in lines.
        pause: sleeps.
        failpoints: none outside tests.
    """

    folder: RelayFolder
    exchange: Path
    wait: bool = True
    say: Callable[[str], None] = lambda _: None
    pause: Callable[[float], None] = time.sleep
    failpoints: Failpoints = field(default_factory=Failpoints)
    _connection: Connection | None = field(default=None, init=False)

    def carry(self) -> Carried:
        """Carry out what lies in the outbox.

        Raises:
            UnreachableError: the coordinator cannot be reached; running again goes on.
            UsageError: there is no outbox.
        """
        outbox = self.exchange / OUTBOX
        if not outbox.is_dir():
            raise UsageError(f"{outbox}: there is no such folder; is {self.exchange} what was carried from the site?")
        answered, refused = [], []
        try:
            for place in sorted(outbox.iterdir()):
                try:
                    answered.append(self._carry(place))
                except (FormatError, SignatureError, UsageError) as error:
                    refused.append(f"{place}: refused: {error}")
        finally:
            self._close()
        return Carried(tuple(answered), tuple(refused))

    def _carry(self, place: Path) -> Path:
        """Carry out the request in a file and return where its answer lies.

        Raises:
            FormatError, SignatureError, UsageError: why it is refused.
        """
        file = self.folder.read()
        data = read_carried(place)
        key = file.site or _first_key(data)
        request, digest = decode_request(data, file.parties, key)
        name = answer_name(file.parties, request.number)
        if place.name != request_name(file.parties, request.number):
            raise UsageError(f"it is request {request.number}; is it another file under this name?")
        self._check_order(file, request.number, digest)
        if request.number == file.last:
            answer = self.folder.answer(request.number).read_bytes()
        else:
            answer = self._carried_out(request, digest, file, key)
        make_folder(self.exchange / INBOX)
        write_durably(self.exchange / INBOX / name, answer)
        return self.exchange / INBOX / name

    @staticmethod
    def _check_order(file: RelayFile, number: int, digest: str) -> None:
        if number < file.last:
            raise UsageError(f"request {number} is older than {file.last}, which was carried out; an old file again?")
        if number == file.last and digest != file.request:
            raise UsageError(
                f"another request {number} was carried out before; was the site's folder put back from a backup?"
            )

    def _carried_out(self, request: Request, digest: str, file: RelayFile, key: StatementPublicKey) -> bytes:
        """Return the answer to a request after all its calls were made; it is durable."""
        if file.site is None:
            _check_enrols(request, file)
            self.say(f"first request of {file.parties.institution}; fingerprint of its key: {key.key_id}")
        calling = _Calling(self, file)
        replies = (*calling.replies(request), *self.keeper(file).wish(request))
        answer = encode_answer(Answer(request.number, digest, replies), file.parties, self.folder.signer())
        write_durably(self.folder.answer(request.number), answer)
        known = {"last": request.number, "request": digest, "cosigned": calling.cosigned}
        self.folder.write(file.model_copy(update={**known, "site_key": encode_base64(key.raw)}))
        self.folder.answer(file.last).unlink(missing_ok=True)
        return answer

    def connection(self, file: RelayFile) -> Connection:
        """Return the connection to the coordinator: under the site's certificate, until there is one under the invitation's."""
        if self._connection is None:
            invited = file.invited
            ca = invited.ca_certificate.encode()
            if self.folder.enrolled:
                tls = self.folder.tls(ca)
            else:
                tls = TlsIdentity(invited.bootstrap_certificate.encode(), invited.bootstrap_key.encode(), ca)
            self._connection = Connection(invited.address, tls, EgressJournal(self.folder.egress), pause=self.pause)
        return self._connection

    def keep_certificate(self, file: RelayFile, response: pb.GetEnrolmentResponse) -> None:
        """Keep the certificate of an approved enrolment, if the roster names the key that signs the requests."""
        found = convert.enrolment_from_wire(response)
        if found is None:
            return
        member = found.roster.verify(file.invited.root_fingerprint, datetime.now(UTC)).member(file.parties.institution)
        if file.site is not None and member.public_key != file.site:
            raise IdentityError("the roster names another key for the site than the one that signs its requests")
        if not self.folder.enrolled:
            write_durably(self.folder.certificate, found.certificate_chain)
        self._close()

    def keeper(self, file: RelayFile) -> CertificateKeeper:
        """Return who renews the certificate."""
        connect = partial(self.connection, file)
        return CertificateKeeper(self.folder, file, connect, self._close, self.say, failpoints=self.failpoints)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(slots=True)
class _Calling:
    """The calls of one request; `cosigned` is the size of the log that the site has witnessed so far."""

    relay: Relay
    file: RelayFile
    cosigned: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.cosigned = self.file.cosigned

    def replies(self, request: Request) -> Iterator[Reply]:
        """Yield the reply to each call, and to what is likely to be asked next."""
        *before, last = request.calls
        for call in before:
            yield self._reply(call, rides=True)
        if last.method == WATCH:
            yield from self._status(last, request.known)
            return
        reply = self._reply(last)
        yield reply
        if reply.refusal is None:
            yield from self._following(last, reply)
        elif following.awaited(last, None, self.cosigned) is not None:
            yield from self._status(following.watch(_session(last)), None)  # how it stands, for it will not change

    def _following(self, call: Call, reply: Reply) -> Iterator[Reply]:
        if call.method == ENROL:
            yield from self._approval(call)
        elif call.method == f"{following.SESSIONS}GetSession":
            session = pb.GetSessionResponse.FromString(reply.parts[0]).session
            yield from self._in_advance(following.checkpoint(session, self.cosigned))
        elif call.method == f"{following.LOG}GetCheckpoint":
            session = following.message_of(call.method, call.parts[0]).session
            yield from self._in_advance(following.checkpoint(session, self.cosigned))
        elif following.awaited(call, None, self.cosigned) is not None:
            yield from self._status(following.watch(_session(call)), None, call)

    def _status(self, watch: Call, known: Known | None, after: Call | None = None) -> Iterator[Reply]:
        """Yield the status that is waited for, and what a site asks when it is told that."""
        session = _session(watch)
        enough = following.awaited(after or watch, known, self.cosigned)
        reply = self._watched(watch, enough)
        yield reply
        if reply.refusal is not None:
            return
        status = pb.WatchSessionResponse.FromString(reply.parts[-1]).status
        for call in following.followed(session, _known(status), self.cosigned):
            for found in self._in_advance(call):
                yield found
                for question in following.compared(found, session, self.cosigned):
                    yield from self._in_advance(question)

    def _in_advance(self, call: Call) -> Iterator[Reply]:
        """Yield the reply to a question that was not asked yet, unless it is refused."""
        reply = self._reply(call)
        if reply.refusal is None:
            yield reply

    def _approval(self, call: Call) -> Iterator[Reply]:
        """Yield what the lead decided, once that is known."""
        asked = pb.EnrolRequest.FromString(call.parts[0])
        question = pb.GetEnrolmentRequest(institution=asked.institution, token=asked.token)
        told = False
        while True:
            reply = self._reply(Call(APPROVAL, (question.SerializeToString(),)))
            if reply.refusal is not None or pb.GetEnrolmentResponse.FromString(reply.parts[0]).approved:
                yield reply
                return
            if not self.relay.wait:
                return
            if not told:
                self.relay.say("waiting for the lead to approve")
            told = True
            self.relay.pause(APPROVAL_SECONDS)

    def _reply(self, call: Call, *, rides: bool = False) -> Reply:
        """Return the coordinator's reply to a call; `rides` says that the site waits for another one."""
        if call.method == RENEW:
            return self.relay.keeper(self.file).reply(call, alone=not rides)
        method = following.method_descriptor(call.method)
        if method.containing_service.name not in _SERVICES or call.method == WATCH:
            raise FormatError(f"{call.method}: is not for participants to call")
        for part in call.parts:
            following.message_of(call.method, part)
        connection = self.relay.connection(self.file)
        reply = connection.attempt(lambda: self._answered(call, connection))
        if call.method == COSIGN and reply.refusal is None:
            self.cosigned = max(self.cosigned, int(following.message_of(COSIGN, call.parts[0]).size))
        if call.method == APPROVAL and reply.refusal is None:
            self.relay.keep_certificate(self.file, pb.GetEnrolmentResponse.FromString(reply.parts[0]))
        return reply

    def _answered(self, call: Call, connection: Connection) -> Reply:
        """Return the reply to a call, or raise gRPC's error if the coordinator is away."""
        method = following.method_descriptor(call.method)
        channel, parts = connection.channel, call.parts
        messages = [following.message_of(call.method, part) for part in parts]
        try:
            if method.client_streaming:
                stored = _stored(channel, connection, messages)
                upload = channel.stream_unary(call.method, _serialised, _as_it_is)
                return Reply(call.method, call.digest, (upload(_from(messages, stored), timeout=TRANSFER_SECONDS),))
            if method.server_streaming:
                stream = channel.unary_stream(call.method, _serialised, _as_it_is)
                return Reply(call.method, call.digest, tuple(stream(messages[0], timeout=TRANSFER_SECONDS)))
            ask = channel.unary_unary(call.method, _serialised, _as_it_is)
            return Reply(call.method, call.digest, (ask(messages[0], timeout=connection.call_seconds),))
        except grpc.RpcError as error:
            return _refused(call, error)

    def _watched(self, call: Call, enough: following.Enough | None) -> Reply:
        """Return the status of a session, the first one that is enough if we are to wait for it."""
        connection, told = self.relay.connection(self.file), False
        while True:
            reply = connection.attempt(lambda: self._first(call, connection, enough))
            if reply is not None:
                return reply
            if not told:
                self.relay.say("delivered; waiting for the session to go on (Ctrl-C and running again lose nothing)")
            told = True

    def _first(self, call: Call, connection: Connection, enough: following.Enough | None) -> Reply | None:
        silent, watch = True, connection.channel.unary_stream(call.method, _serialised, _as_it_is)
        stream = watch(following.message_of(call.method, call.parts[0]), timeout=WATCH_SECONDS)
        try:
            for part in stream:
                connection.heard()
                silent = False
                status = pb.WatchSessionResponse.FromString(part).status
                if enough is None or not self.relay.wait or _ended(status) or enough(_known(status)):
                    return Reply(call.method, call.digest, (part,))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                if silent:
                    raise SilentError from error
                return None
            return _refused(call, error)
        finally:
            stream.cancel()
        return None


def _first_key(data: bytes) -> StatementPublicKey:
    """Return the key that a site's first request says is the site's; two people compare it before it is approved."""
    header, _, body = data.partition(b"\n")
    try:
        Envelope.from_json(header)
        return StatementPublicKey(pb.EnrolRequest.FromString(body).statement_key)
    except (FormatError, DecodeError) as error:
        raise FormatError("expected the site's request to enrol, which comes first") from error


def _check_enrols(request: Request, file: RelayFile) -> None:
    if request.calls[0].method != ENROL:
        raise FormatError("expected the site's request to enrol, which comes first")
    asked = pb.EnrolRequest.FromString(request.calls[0].parts[0])
    if encode_base64(asked.certificate_request) != file.certificate_request:
        raise UsageError("it asks for a certificate of another relay's key; give the site the offer of this relay")


def _session(call: Call) -> str:
    """Return the session that a call names."""
    message: Any = following.message_of(call.method, call.parts[0])
    return str(message.start.session if call.method == following.UPLOAD else message.session)


def _known(status: pb.SessionStatus) -> Known:
    return Known(status.attempt, int(status.phase), status.witness)


def _ended(status: pb.SessionStatus) -> bool:
    return status.phase in (pb.PHASE_PUBLISHED, pb.PHASE_ABORTED)


def _refused(call: Call, error: grpc.RpcError) -> Reply:
    """Return a refusal as a reply; raise again what may be mended: then the request is carried out later."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED or reason_of(error) in _MENDABLE:
        raise error
    return Reply(call.method, call.digest, (), Refusal(error.code().name, error.details() or "", details_of(error)))


def _stored(channel: grpc.Channel, connection: Connection, messages: list[Any]) -> int:
    """Return how many bytes of an upload are stored already."""
    start, chunks = messages[0].start, [message.chunk for message in messages[1:]]
    query = pb.QueryUploadRequest(session=start.session, attempt=start.attempt, digest=masked_digest(b"".join(chunks)))
    ask = channel.unary_unary(f"{following.ROUNDS}QueryUpload", _serialised, pb.QueryUploadResponse.FromString)
    return int(ask(query, timeout=connection.call_seconds).stored)


def _from(messages: list[Any], stored: int) -> Iterator[Any]:
    """Yield the messages of an upload from an offset on."""
    start, masked = messages[0], b"".join(message.chunk for message in messages[1:])
    offset = min(stored, len(masked))
    start.start.offset = offset
    yield start
    for place in range(offset, len(masked), convert.CHUNK_BYTES):
        yield pb.UploadMaskedInputRequest(chunk=masked[place : place + convert.CHUNK_BYTES])


def _serialised(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _as_it_is(data: bytes) -> bytes:
    return data
