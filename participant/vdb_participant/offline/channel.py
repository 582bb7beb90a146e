"""A gRPC channel whose messages are files: what the agent's calls go through where there is no network.

Promises that the agent's bytes are the ones it would have sent over gRPC, that each message which leaves is in the egress
journal before its file is in the outbox, and that an answer is used only for the very call that it names. Answers that the
relay brought before they were asked for are used in their order, and only as long as no newer answer came. Leaves files to
`mailbox.py`, and what follows from answers to those who ask.

Source: protos/README.md §12.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from vdb_participant.network.answers import DETAILS_KEY, refusal
from vdb_participant.network.connection import CALL_SECONDS
from vdb_participant.network.recording import Egress, departure_of, vector_of
from vdb_participant.offline.files import Answer, Call, Known, Refusal, Reply
from vdb_participant.offline.mailbox import Mailbox
from vdb_participant.offline.renewing import RENEW, RenewalSigner
from vdb_shared.errors import FormatError, ProtocolError, UsageError
from vdb_shared.wire import federation_pb2 as pb

T = TypeVar("T")
Serialise = Callable[[Any], bytes]

WATCH: Final = "/vdb.v1.SessionService/WatchSession"
COSIGN: Final = "/vdb.v1.LogService/Cosign"
_NOT_CARRIED: Final = frozenset({"/vdb.v1.SessionService/ReportProgress", "/vdb.v1.AggregationService/QueryUpload"})
"""Answered here by an empty message: nothing depends on reports, and the relay goes on with uploads by itself."""


@dataclass(slots=True)
class Carriage:
    """Calls to a coordinator as files; implements Calls.

    Attributes:
        address: of the coordinator, for the egress journal; nothing here connects to it.
        mailbox: where files lie.
        egress: where every message is recorded before it leaves.
        renewals: signs for the relay's TLS certificate; nobody before there is one.
    """

    address: str
    mailbox: Mailbox
    egress: Egress
    renewals: RenewalSigner | None = None
    _channel: CarriedChannel | None = field(default=None, init=False)

    @property
    def channel(self) -> CarriedChannel:
        """The channel, made when first used."""
        if self._channel is None:
            self._channel = CarriedChannel(self.address, self.mailbox, self.egress, self.renewals)
        return self._channel

    @property
    def call_seconds(self) -> float:
        """Deadline of a call; not looked at by people who carry files."""
        return CALL_SECONDS

    def close(self) -> None:
        """Forget what was answered; it is on the disk."""
        self._channel = None

    def announce(self, session: str, attempt: int, masked: bytes) -> None:
        """Record the vector whose parts are about to leave."""
        self.egress.record(vector_of(self.address, session, attempt, masked))

    def heard(self) -> None:
        """Take no note: files answer when they come."""

    def attempt(self, call: Callable[[], T], *, patient: bool = True) -> T:
        """Return what a call returns.

        Raises:
            AwaitedAnswerError: the answer was not carried here yet.
            VdbError: what the coordinator refuses, in its words.
        """
        del patient
        try:
            return call()
        except grpc.RpcError as error:
            raise refusal(error) from error
        except (FormatError, DecodeError) as error:
            raise ProtocolError(f"its answer is malformed: {error}", peer="coordinator") from error

    def pause(self, seconds: float) -> None:
        """Take note that the last status was not enough; whoever asks for it again waits for a file."""
        del seconds
        if self._channel is not None:
            self._channel.outdate()


class CarriedRefusalError(grpc.RpcError):
    """A refusal of the coordinator that was carried here; read as gRPC's own."""

    def __init__(self, refused: Refusal) -> None:
        super().__init__(refused.words)
        self._refused = refused

    def code(self) -> grpc.StatusCode:
        """Return the status; UNKNOWN where its name is no status."""
        return grpc.StatusCode.__members__.get(self._refused.code, grpc.StatusCode.UNKNOWN)

    def details(self) -> str:
        """Return the coordinator's words."""
        return self._refused.words

    def trailing_metadata(self) -> Any:
        """Return what holds the reason: pairs of key and value, as gRPC's own."""
        return ((DETAILS_KEY, self._refused.details),)


@dataclass(slots=True)
class _Tape:
    """The replies of the newest answer, used from its beginning to its end."""

    replies: tuple[Reply, ...]
    position: int = 0

    def take(self, call: Call) -> Reply | None:
        """Return the next reply to a call, and go on behind it; None if there is none."""
        asked = call.digest
        for place in range(self.position, len(self.replies)):
            if (self.replies[place].method, self.replies[place].asked) == (call.method, asked):
                self.position = place + 1
                return self.replies[place]
        return None


class CarriedChannel(grpc.Channel):
    """The channel; what it returns has gRPC's ways to call as far as the agent uses them."""

    def __init__(self, address: str, mailbox: Mailbox, egress: Egress, renewals: RenewalSigner | None = None) -> None:
        """Go on with the newest answer that was carried here."""
        self._address = address
        self._mailbox = mailbox
        self._egress = egress
        self._renewals = renewals
        self._told: Reply | None = None
        self._outdated = False
        self._tape = _taped(mailbox.newest())

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Any:
        """Return what calls a method with one message and one answer."""
        del options

        def call(request: Message, timeout: float | None = None) -> Any:
            del timeout
            return response_deserializer(_only(self._answered(method, [request], request_serializer)))

        return call

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Any:
        """Return what calls a method with one message and many answers."""
        del options

        def call(request: Message, timeout: float | None = None) -> Any:
            del timeout
            return _Stream(map(response_deserializer, self._answered(method, [request], request_serializer)))

        return call

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Any:
        """Return what calls a method with many messages and one answer."""
        del options

        def call(requests: Iterable[Message], timeout: float | None = None) -> Any:
            del timeout
            return response_deserializer(_only(self._answered(method, list(requests), request_serializer)))

        return call

    def stream_stream(self, method: str, *codec: Any, **options: Any) -> Any:
        """Refuse: the protocol has no such method.

        Raises:
            RuntimeError: always.
        """
        del codec, options
        raise RuntimeError(f"{method}: the protocol has no call with messages in both directions at once")

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        """Tell nothing: files have no state of connection."""

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Tell nothing."""

    def close(self) -> None:
        """Do nothing: what was answered is on the disk."""

    def outdate(self) -> None:
        """Answer the next question for the status from a new file, which is made once the session went on."""
        self._outdated = True

    def renewal(self, call: Call) -> Reply:
        """Return the reply to a call of a renewal: the question what is to be signed, or what was signed.

        Raises:
            AwaitedAnswerError: says what is to be carried.
        """
        return self._tape.take(call) or self._asked(call, partial(self._record_renewal, call))

    def _record_renewal(self, call: Call) -> None:
        self._record(call, [pb.RenewCertificateRequest.FromString(data) for data in call.parts])

    def _record(self, call: Call, messages: Sequence[Message]) -> None:
        """Write down that the messages of a call leave."""
        for message, data in zip(messages, call.parts, strict=True):
            self._egress.record(departure_of(self._address, call.method, message, data))

    def _answered(self, method: str, messages: Sequence[Message], serialise: Serialise) -> tuple[bytes, ...]:
        """Return the messages that answer a call.

        Raises:
            CarriedRefusalError: the coordinator refused it.
        """
        if method in _NOT_CARRIED:
            return (b"",)
        call = Call(method, tuple(serialise(message) for message in messages))
        record = partial(self._record, call, messages)
        if method == COSIGN:
            record()
            self._mailbox.defer(call)
            return (b"",)
        reply = self._tape.take(call) or self._settled(call) or self._asked(call, record)
        if reply.refusal is not None:
            raise CarriedRefusalError(reply.refusal)
        if method == WATCH:
            self._told, self._outdated = reply, False
        return reply.parts

    def _settled(self, call: Call) -> Reply | None:
        """Return the reply to what was answered for good, or the newest status for as long as it is enough."""
        if call.method == WATCH and self._told is not None and self._told.asked == call.digest:
            return None if self._outdated else self._told
        return self._mailbox.settled().get(call.digest)

    def _asked(self, call: Call, record: Callable[[], None]) -> Reply:
        """Return the reply to a call from an answer that is carried here for it."""
        riding = self._riding(call)

        def record_all() -> None:
            for other in riding:
                self._record_renewal(other)
            record()

        answer = self._mailbox.ask(call, self._known(), record_all, riding)
        if self._renewals is not None and call.method != RENEW:  # whose command looks itself
            self._renewals.look(answer)
        self._tape = _taped(answer)
        for reply in self._tape.replies:
            if reply.method == COSIGN and reply.refusal is not None:
                raise CarriedRefusalError(reply.refusal)
        found = self._tape.take(call)
        if found is None:
            raise UsageError("the relay's answer has no reply to what was asked; run again, and look after the relay")
        return found

    def _riding(self, call: Call) -> tuple[Call, ...]:
        """Return what goes along with a call: a renewal that was signed and is not answered."""
        signed = None if self._renewals is None or call.method == RENEW else self._renewals.waiting()
        return () if signed is None else (signed,)

    def _known(self) -> Known | None:
        """Return the status that we were told last."""
        if self._told is None or not self._told.parts:
            return None
        status = pb.WatchSessionResponse.FromString(self._told.parts[-1]).status
        return Known(status.attempt, int(status.phase), status.witness)


class _Stream:
    """Answers one after the other; as gRPC's, it can be cancelled."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self._answers = answers

    def __iter__(self) -> Iterator[Any]:
        return self._answers

    def cancel(self) -> None:
        """Do nothing: all of it is here."""


def _taped(answer: Answer | None) -> _Tape:
    return _Tape(answer.replies if answer else ())


def _only(parts: tuple[bytes, ...]) -> bytes:
    if len(parts) != 1:
        raise UsageError(
            f"the relay's answer has {len(parts)} messages where there is one; run again, and look after the relay"
        )
    return parts[0]
