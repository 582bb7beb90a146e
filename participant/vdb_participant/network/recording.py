"""The channel through which every message to a coordinator goes: serialised here, recorded, and only then given to gRPC.

Promises that gRPC is given exactly the bytes that were recorded, after they were durable, and that nothing goes on after a
record failed. What is recorded of a message is its size, its SHA-256, its texts and numbers, and size and SHA-256 of every run
of bytes in it; never the bytes. Leaves the file to `site/egress.py`, and to gRPC what it adds: HTTP/2 frames and headers, TLS.

Source: protos/README.md §12.6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import Message

from vdb_participant.site.egress_format import Departure, Field, Part
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import StoreError
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.wire import convert
from vdb_shared.wire.versions import METADATA

VECTOR: Final = "masked vector"
"""What an entry of the kind "vector" is of."""

Serialise = Callable[[Any], bytes]
Call = Any  # gRPC's callables have methods besides, whose types it does not publish


class Egress(Protocol):
    """Where what leaves is written down first."""

    def record(self, departure: Departure) -> None:
        """Return once it is durable.

        Raises:
            StoreError: it is not; nothing may be sent.
        """


class RecordingChannel(grpc.Channel):
    """A gRPC channel that records every message before it sends it.

    What it returns records, whichever way it is called; gRPC's other ways to start a call are not there.
    """

    def __init__(self, inner: grpc.Channel, address: str, egress: Egress) -> None:
        """Stand before a channel.

        Args:
            inner: sends bytes.
            address: host:port at its other end.
            egress: where messages are recorded.
        """
        self._inner = inner
        self._address = address
        self._egress = egress

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Any:
        """Return what calls a method with one message and one answer."""
        call: Call = self._inner.unary_unary(method, None, response_deserializer, **options)
        return _OneMessage(call, self._recorder(method, request_serializer))

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Any:
        """Return what calls a method with one message and many answers."""
        call: Call = self._inner.unary_stream(method, None, response_deserializer, **options)
        return _OneMessage(call, self._recorder(method, request_serializer))

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **options: Any
    ) -> Any:
        """Return what calls a method with many messages and one answer."""
        call: Call = self._inner.stream_unary(method, None, response_deserializer, **options)
        return _ManyMessages(call, self._recorder(method, request_serializer))

    def stream_stream(self, method: str, *codec: Any, **options: Any) -> Any:
        """Refuse: the protocol has no such method.

        Raises:
            RuntimeError: always.
        """
        del codec, options
        raise RuntimeError(
            f"{method}: messages in both directions at once cannot be recorded; the protocol has no such call"
        )

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        """Tell a callback of the channel's state."""
        self._inner.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Tell it no more."""
        self._inner.unsubscribe(callback)

    def close(self) -> None:
        """Close the channel."""
        self._inner.close()

    def _recorder(self, method: str, serialise: Serialise) -> _Recorder:
        return _Recorder(self._egress, self._address, method, serialise)


def departure_of(address: str, method: str, message: Message, data: bytes) -> Departure:
    """Return what is recorded of a message.

    Args:
        address: host:port it goes to.
        method: name of the RPC as gRPC writes it.
        message: the message.
        data: its bytes as they leave.
    """
    fields: dict[str, Field] = {}
    parts: list[Part] = []
    for path, value in _leaves(message, ""):
        if isinstance(value, bytes):
            parts.append(Part(path, len(value), sha256_digest(value)))
        else:
            fields[path] = value
    return Departure("message", address, method, len(data), sha256_digest(data), fields, tuple(parts))


def vector_of(address: str, session: str, attempt: int, masked: bytes) -> Departure:
    """Return what is recorded of a masked vector before its first part leaves.

    Args:
        address: host:port it goes to.
        session: session id.
        attempt: of the rounds.
        masked: the vector; its entry has the digest that the signed header names, and those of the chunks in which it travels.
    """
    step = convert.CHUNK_BYTES
    chunks = [masked[start : start + step] for start in range(0, len(masked), step)]
    parts = tuple(Part(f"chunk[{n}]", len(chunk), sha256_digest(chunk)) for n, chunk in enumerate(chunks))
    digest = f"sha256:{masked_digest(masked).hex()}"
    fields: Mapping[str, Field] = {"attempt": attempt, "session": session}
    return Departure("vector", address, VECTOR, len(masked), digest, fields, parts)


@dataclass(frozen=True, slots=True)
class _Recorder:
    """Makes bytes of the messages of one method, and records them."""

    egress: Egress
    address: str
    method: str
    serialise: Serialise

    def __call__(self, message: Message) -> bytes:
        data = self.serialise(message)
        self.egress.record(departure_of(self.address, self.method, message, data))
        return data


@dataclass(frozen=True, slots=True)
class _OneMessage:
    """Calls a method with one message."""

    call: Call
    recorder: _Recorder

    def __call__(self, request: Message, timeout: float | None = None) -> Any:
        return self.call(self.recorder(request), timeout=timeout, metadata=METADATA)

    def with_call(self, request: Message, timeout: float | None = None) -> Any:
        """Return the answer, and the call that has its metadata."""
        return self.call.with_call(self.recorder(request), timeout=timeout, metadata=METADATA)


@dataclass(frozen=True, slots=True)
class _ManyMessages:
    """Calls a method with many messages, each recorded when its turn comes."""

    call: Call
    recorder: _Recorder

    def __call__(self, requests: Iterable[Message], timeout: float | None = None) -> Any:
        failures: list[StoreError] = []

        def offered() -> Iterator[bytes]:
            # gRPC asks from a thread of its own and prints what is raised there: the stream ends, and the caller is told.
            for request in requests:
                try:
                    data = self.recorder(request)
                except StoreError as error:
                    failures.append(error)
                    return
                yield data

        try:
            answer = self.call(offered(), timeout=timeout, metadata=METADATA)
        except grpc.RpcError as error:
            if failures:
                raise failures[0] from error
            raise
        if failures:
            raise failures[0]
        return answer


def _leaves(message: Message, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every text, number and run of bytes that a message holds."""
    for descriptor, value in message.ListFields():
        path = f"{prefix}{descriptor.name}"
        several = not isinstance(value, str | bytes | int | float | Message)
        for number, item in enumerate(value if several else (value,)):
            place = f"{path}[{number}]" if several else path
            if isinstance(item, Message):
                yield from _leaves(item, f"{place}.")
            else:
                yield place, item
