"""What peers do to a server that they want to stop, and how its other callers fare meanwhile.

Each attack takes an address and an institution that turned against the others, does its harm for a few seconds, and returns
what it got for it, in words. `Neighbour` is the institution that goes on working.
"""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testkit.abuse_of_requests import empty_messages, stalled_answers
from testkit.coordinator import CALL, Identity, secure_channel
from testkit.raw_http2 import (
    CONTINUATION,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    RawPeer,
    connect,
    frame,
    headers,
    tls_to,
)
from testkit.refusals import reason_of
from vdb_coordinator.service.quotas import MAX_CALLS, TURNS
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import SessionServiceStub

Attack: TypeAlias = Callable[[str, Identity], str]

SILENT: Final = 200
STREAMS: Final = 100
LISTING: Final = "/vdb.v1.SessionService/ListSessions"
UPLOADING: Final = "/vdb.v1.AggregationService/UploadMaskedInput"
PATIENCE: Final = 40.0
"""Seconds after which a connection that ought to be closed counts as kept."""

BOMB: Final = 256 * 2**20
"""Bytes that a small message expands to."""

# Peers that show no certificate.


def silent_connections(address: str, _identity: Identity) -> str:
    """Connect and say nothing."""
    sockets = [connect(address) for _ in range(SILENT)]
    return f"{_closed(sockets)} of {SILENT} closed"


def slow_handshakes(address: str, _identity: Identity) -> str:
    """Begin a handshake and go on with a byte at a time."""
    hello = _client_hello()
    sockets = [connect(address) for _ in range(SILENT)]
    for byte in hello[:4]:
        for one in sockets:
            with suppress(OSError):
                one.sendall(bytes([byte]))
        time.sleep(0.5)
    return f"{_closed(sockets)} of {SILENT} closed"


def garbage(address: str, identity: Identity) -> str:
    """Send random bytes, in place of TLS and inside it."""
    sockets: list[socket.socket] = [connect(address) for _ in range(20)]
    sockets += [tls_to(address, identity) for _ in range(20)]
    for one in sockets:
        with suppress(OSError):
            one.sendall(os.urandom(2**16))
    return f"{_closed(sockets)} of 40 closed"


def strangers(address: str, _identity: Identity) -> str:
    """Come without a certificate."""
    found = 0
    for _ in range(5):
        try:
            with RawPeer(address, None) as peer:
                peer.call(1, LISTING)
                peer.listen(10)
                found += peer.closed and not peer.answered
        except OSError:
            found += 1
    return f"{found} of 5 closed"


# Members that do not speak, or speak slowly.


def silent_members(address: str, identity: Identity) -> str:
    """Finish the handshake and never speak HTTP/2."""
    sockets: list[socket.socket] = [tls_to(address, identity) for _ in range(20)]
    return f"{_closed(sockets)} of 20 closed"


def calls_without_requests(address: str, identity: Identity) -> str:
    """Begin as many calls as a connection may have, and send no request; they end as they get their turns."""
    with RawPeer(address, identity) as peer:
        for number in range(STREAMS):
            peer.call(2 * number + 1, LISTING)
        _listen_until(peer, lambda: len(peer.answered | peer.resets) >= TURNS)
        return f"{TURNS} ended" if len(peer.answered | peer.resets) >= TURNS else "none ended"


def half_messages(address: str, identity: Identity) -> str:
    """Announce a large message in each call, and send as much of it as is taken."""
    with RawPeer(address, identity) as peer:
        peer.listen(0.5)
        taken, part = 0, bytes(3 * 2**20)
        for number in range(30):
            peer.call(2 * number + 1, UPLOADING if number % 2 else LISTING)
        for number in range(30):
            taken += peer.message(2 * number + 1, part, announced=2 * len(part) - 1)
        return "under 48 MB taken" if taken < 48e6 else f"{taken} bytes taken"


# Members that send too much.


def large_metadata(address: str, identity: Identity) -> str:
    """Send 64 KiB of metadata with each call; 12 KiB are everybody's right."""
    refused = 0
    with _channel(address, identity) as channel:
        for _ in range(10):
            SessionServiceStub(channel).ListSessions(
                pb.ListSessionsRequest(), timeout=CALL, metadata=(("padding", "x" * 12 * 2**10),)
            )
        for _ in range(10):
            try:
                SessionServiceStub(channel).ListSessions(
                    pb.ListSessionsRequest(), timeout=CALL, metadata=(("padding", "x" * 2**16),)
                )
            except grpc.RpcError as error:
                refused += error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    return f"{refused} of 10 refused"


def endless_headers(address: str, identity: Identity) -> str:
    """Send a header block that does not end."""
    with RawPeer(address, identity) as peer:
        peer.send(frame(HEADERS, 0, 1, headers(LISTING)))
        sent, padding = 0, b"\x00\x01x\x7f\x81\x7e" + bytes(16384 - 6)
        while not peer.closed and sent < 64 * 2**20:
            peer.send(frame(CONTINUATION, 0, 1, padding))
            sent += len(padding)
        _listen_until(peer, lambda: peer.closed)
        return "closed" if peer.closed else f"{sent} bytes taken"


def large_messages(address: str, identity: Identity) -> str:
    """Send 32 MiB in a call, and announce 4 GiB in another."""
    refused = 0
    with _channel(address, identity) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(LISTING)
        for _ in range(4):
            try:
                method(bytes(32 * 2**20), timeout=CALL)
            except grpc.RpcError as error:
                refused += error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with RawPeer(address, identity) as peer:
        peer.call(1, LISTING)
        peer.message(1, bytes(2**16), announced=2**32 - 1)
        _listen_until(peer, lambda: bool(peer.answered | peer.resets))
        refused += bool(peer.answered | peer.resets) or peer.closed
    return f"{refused} of 5 refused"


def gzip_bombs(address: str, identity: Identity) -> str:
    """Send small messages that expand to a quarter of a gigabyte."""
    bomb, ended = _bomb(), 0
    with RawPeer(address, identity) as peer:
        peer.listen(0.5)
        for number in range(8):
            peer.call(2 * number + 1, LISTING, ("grpc-encoding", "gzip"))
            peer.message(2 * number + 1, bomb, compressed=True)
        _listen_until(peer, lambda: len(peer.answered | peer.resets) == 8)
        ended = len(peer.answered | peer.resets)
    return f"{ended} of 8 refused"


def ping_flood(address: str, identity: Identity) -> str:
    """Ping."""
    with RawPeer(address, identity) as peer:
        for _ in range(100):
            peer.send(100 * frame(PING, 0, 0, bytes(8)))
            peer.listen(0.001)
        _listen_until(peer, lambda: peer.closed or peer.dismissed)
        return "closed" if peer.closed or peer.dismissed else "taken"


def settings_flood(address: str, identity: Identity) -> str:
    """Change settings again and again."""
    with RawPeer(address, identity) as peer:
        for _ in range(100):
            peer.send(100 * frame(SETTINGS, 0, 0, b"\x00\x04\x00\x00\xff\xff"))
            peer.listen(0.001)
    return "taken or closed"


def rapid_resets(address: str, identity: Identity) -> str:
    """Begin calls and take them back at once."""
    sent = 0
    with RawPeer(address, identity) as peer:
        while sent < 10_000 and not peer.closed:
            streams = range(2 * sent + 1, 2 * sent + 200, 2)
            block = headers(LISTING)
            peer.send(b"".join(frame(HEADERS, 4, n, block) + frame(RST_STREAM, 0, n, bytes(4)) for n in streams))
            sent += len(streams)
        peer.listen(1)
    return "taken or closed"


# Members that only do what they may, but too often.


def many_calls(address: str, identity: Identity) -> str:
    """Open 500 streams that do not end."""
    refused = 0
    with ExitStack() as stack:
        streams = []
        for _ in range(5):
            channel = stack.enter_context(_channel(address, identity))
            stub = health_pb2_grpc.HealthStub(channel)
            streams += [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(100)]
        for stream in streams:
            try:
                next(stream)
            except grpc.RpcError as error:
                refused += reason_of(error) == "VDB_TOO_MUCH"
        for stream in streams:
            stream.cancel()
    return f"{refused} of 500 refused"


def call_flood(address: str, identity: Identity) -> str:
    """List sessions as fast as twelve threads can."""
    return _flood(address, identity, lambda sessions: sessions.ListSessions(pb.ListSessionsRequest(), timeout=CALL))


def session_flood(address: str, identity: Identity) -> str:
    """Disturb a session in which others take part: wake all its watchers, and send what is refused and recorded."""
    with _channel(address, identity) as channel:
        session = SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL).sessions[0].session

    def disturb(sessions: SessionServiceStub) -> None:
        stage = f"at {time.monotonic()}"
        sessions.ReportProgress(pb.ReportProgressRequest(session=session, stage=stage, done=1, total=2), timeout=CALL)
        with suppress(grpc.RpcError):
            sessions.Join(pb.JoinRequest(session=session, join=os.urandom(1000)), timeout=CALL)

    return _flood(address, identity, disturb)


ATTACKS: Final[dict[str, tuple[Attack, str]]] = {
    "silent connections": (silent_connections, f"{SILENT} of {SILENT} closed"),
    "slow handshakes": (slow_handshakes, f"{SILENT} of {SILENT} closed"),
    "garbage": (garbage, "40 of 40 closed"),
    "strangers": (strangers, "5 of 5 closed"),
    "silent members": (silent_members, "20 of 20 closed"),
    "calls without requests": (calls_without_requests, f"{TURNS} ended"),
    "half messages": (half_messages, "under 48 MB taken"),
    "large metadata": (large_metadata, "10 of 10 refused"),
    "endless headers": (endless_headers, "closed"),
    "large messages": (large_messages, "5 of 5 refused"),
    "empty messages": (empty_messages, "20 of 20 refused"),
    "gzip bombs": (gzip_bombs, "8 of 8 refused"),
    "ping flood": (ping_flood, "closed"),
    "settings flood": (settings_flood, "taken or closed"),
    "rapid resets": (rapid_resets, "taken or closed"),
    "many calls": (many_calls, f"{500 - MAX_CALLS} of 500 refused"),
    "stalled answers": (stalled_answers, f"{500 - MAX_CALLS + TURNS} of 500 answered"),
    "call flood": (call_flood, "answered"),
    "session flood": (session_flood, "answered"),
}
"""Attacks, and what each is to get."""


@dataclass
class Neighbour:
    """An institution that goes on working: one short call after another, every tenth over a new connection.

    Attributes:
        seconds: that each call took.
        errors: of calls that failed.
    """

    address: str
    identity: Identity
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def work(self, gone: threading.Event) -> None:
        """Call until told to go."""
        channel = _channel(self.address, self.identity)
        while not gone.wait(0.01):
            if len(self.seconds) % 10 == 0:
                channel.close()
                channel = _channel(self.address, self.identity)
            began = time.monotonic()
            try:
                SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
            except grpc.RpcError as error:
                self.errors.append(f"{error.code()}: {error.details()}")
            self.seconds.append(time.monotonic() - began)
        channel.close()


@contextmanager
def neighbour(address: str, identity: Identity) -> Iterator[Neighbour]:
    """Let an institution work in a thread of its own."""
    one, gone = Neighbour(address, identity), threading.Event()
    thread = threading.Thread(target=one.work, args=[gone], daemon=True)
    thread.start()
    try:
        yield one
    finally:
        gone.set()
        thread.join(2 * CALL)


def _channel(address: str, identity: Identity) -> grpc.Channel:
    return secure_channel(address, identity.ca_certificate, identity.tls_key, identity.certificate_chain)


def _listen_until(peer: RawPeer, done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not peer.closed and not done() and time.monotonic() < end:
        peer.listen(0.5)


def _closed(sockets: list[socket.socket]) -> int:
    """Return how many of these connections the other side closes; all are closed in the end."""
    end, found = time.monotonic() + PATIENCE, 0
    for one in sockets:
        with one:
            one.settimeout(max(0.01, end - time.monotonic()))
            try:
                while one.recv(2**16):
                    pass
                found += 1
            except TimeoutError:
                pass
            except OSError:
                found += 1
    return found


def _flood(address: str, identity: Identity, call: Callable[[SessionServiceStub], object]) -> str:
    end, counts = time.monotonic() + 4, [0] * 12

    def again_and_again(number: int) -> None:
        with _channel(address, identity) as channel:
            while time.monotonic() < end:
                call(SessionServiceStub(channel))
                counts[number] += 1

    threads = [threading.Thread(target=again_and_again, args=[number]) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "answered" if all(counts) else "not answered"


def _bomb() -> bytes:
    return gzip.compress(bytes(BOMB), 9)


def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()
