"""The egress journal before the network: every message is in it when it arrives, and none leaves that is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from testkit.authorities import Authority
from testkit.recorded import Recorded
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.link import Upload
from vdb_participant.network.recording import Egress, RecordingChannel
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Departure, read_egress
from vdb_participant.site.keys import TlsIdentity
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import StoreError, UnreachableError, VdbError
from vdb_shared.secagg.messages import Signed
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb

NOBODY = TlsIdentity(b"", b"", b"")
SESSION = "sha256:" + "0" * 64


class FullDisk:
    """A journal that takes so many entries and no more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def record(self, departure: Departure) -> None:
        if not self.room:
            raise StoreError("what leaves cannot be recorded")
        self.room -= 1


@dataclass
class Listener(grpc.GenericRpcHandler):
    """A coordinator that keeps what it got, and what the journal held at that moment."""

    journal: Path | None = None
    got: list[bytes] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method.endswith("/UploadMaskedInput"):
            return grpc.stream_unary_rpc_method_handler(self._many)
        return grpc.unary_unary_rpc_method_handler(self._one)

    def _one(self, data: bytes, context: Any) -> bytes:
        self._keep(data)
        return b""

    def _many(self, parts: Iterator[bytes], context: Any) -> bytes:
        for part in parts:
            self._keep(part)
        return pb.UploadMaskedInputResponse(receipt=pb.Receipt(digest=b"x")).SerializeToString()

    def _keep(self, data: bytes) -> None:
        self.got.append(data)
        if self.journal is not None:
            entries = read_egress(self.journal.read_bytes()).entries
            self.known.append(sha256_digest(data) in {entry.departure.digest for entry in entries})


@contextmanager
def client_of(listener: Listener, egress: Egress) -> Iterator[Client]:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[listener])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with grpc.insecure_channel(address) as inner:
            channel = RecordingChannel(inner, address, egress)
            yield Client(Connection(address, NOBODY, egress, pause=lambda _: None, _channel=channel))
    finally:
        server.stop(None)


def upload() -> Upload:
    return Upload(Signed(b"body", bytes(64)), os.urandom(2 * convert.CHUNK_BYTES + 8), b"contribution")


def test_every_message_is_on_the_disk_when_it_arrives(tmp_path: Path) -> None:
    journal = EgressJournal(tmp_path / "egress.jsonl")
    listener = Listener(journal.path)
    with client_of(listener, journal) as client:
        client.sessions()
        client.report(SESSION, "a stage", 0, 0)
        with pytest.raises(VdbError, match="receipt"):
            client.upload(SESSION, 1, 0, upload())
    assert listener.known == [True] * 7
    kinds = [entry.departure.kind for entry in journal.read().entries]
    assert kinds == ["message", "message", "vector", "message", *["message"] * 4]


@pytest.mark.parametrize("room", range(6))
def test_nothing_leaves_that_cannot_be_recorded(room: int, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    with client_of(listener, FullDisk(room)) as client, pytest.raises(StoreError, match="cannot be recorded"):
        client.upload(SESSION, 1, 0, upload())
    assert len(listener.got) == max(0, room - 1), "the vector's own entry is no message"
    assert not caplog.records


def test_every_way_to_call_records() -> None:
    """gRPC's `future` is not there, and `with_call` records too."""
    listener, egress = Listener(), Recorded()
    with client_of(listener, egress) as client:
        assert client.clocks() is None
    assert [left.digest for left in egress.departures] == [sha256_digest(data) for data in listener.got]
    with grpc.insecure_channel("127.0.0.1:1") as inner:
        channel = RecordingChannel(inner, "127.0.0.1:1", egress)
        for made in (channel.unary_unary("/x"), channel.unary_stream("/x"), channel.stream_unary("/x")):
            assert not hasattr(made, "future")
        assert not hasattr(channel.stream_unary("/x"), "with_call")
        with pytest.raises(RuntimeError, match="cannot be recorded"):
            channel.stream_stream("/x")


def test_a_channel_is_recorded_before_it_is_opened() -> None:
    begins = datetime.now(UTC) - timedelta(hours=1)
    certificate, key = Authority().issue(begins, begins + timedelta(days=1))
    connection = Connection("127.0.0.1:1", TlsIdentity(certificate, key, certificate), FullDisk(0))
    with pytest.raises(StoreError, match="cannot be recorded"):
        assert connection.channel
    egress = Recorded()
    connection = Connection("127.0.0.1:1", TlsIdentity(certificate, key, certificate), egress)
    with pytest.raises(UnreachableError), Client(connection) as client:
        client.sessions()
    assert [left.kind for left in egress.departures] == ["connection", "message", "greeting"]
