"""The egress journal: written before anything leaves, one chain, whatever crashes, and nothing that goes round it."""

from __future__ import annotations

import ast
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

import vdb_participant
from testkit.authorities import Authority
from testkit.recorded import Recorded
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.link import Upload
from vdb_participant.network.recording import Egress, RecordingChannel
from vdb_participant.session.departures import UNKNOWN, reason
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Departure, Part, read_egress
from vdb_participant.site.keys import TlsIdentity
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import StoreError, UnreachableError, VdbError
from vdb_shared.secagg.messages import Signed
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb

NOBODY = TlsIdentity(b"", b"", b"")
SESSION = "sha256:" + "0" * 64


def departure(number: int = 0) -> Departure:
    part = Part("join", 3, sha256_digest(b"abc"))
    return Departure("message", "127.0.0.1:1", "/vdb.v1.SessionService/Join", 7, part.digest, {"n": number}, (part,))


def written(path: Path, count: int = 4) -> bytes:
    journal = EgressJournal(path)
    for number in range(count):
        journal.record(departure(number))
    return path.read_bytes()


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    journal = EgressJournal(tmp_path / "state" / "egress.jsonl")
    assert journal.read().entries == ()
    for number in range(3):
        journal.record(departure(number))
    reading = journal.read()
    assert [entry.departure for entry in reading.entries] == [departure(number) for number in range(3)]
    assert reading.head == reading.entries[-1].digest
    assert journal.path.stat().st_mode & 0o077 == 0


def test_no_byte_can_be_changed_unnoticed(tmp_path: Path) -> None:
    data = written(tmp_path / "egress.jsonl", 2)
    for place in range(len(data)):
        for byte in {0, 10, data[place] ^ 1} - {data[place]}:
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            try:
                assert len(read_egress(changed).entries) < 2, place
            except StoreError:
                continue


def test_no_line_can_be_removed_added_or_moved(tmp_path: Path) -> None:
    lines = written(tmp_path / "egress.jsonl").splitlines(keepends=True)
    for changed in (
        lines[1:],
        lines[:1] + lines[2:],
        [lines[1], lines[0], *lines[2:]],
        [*lines[:2], lines[1], *lines[2:]],
    ):
        with pytest.raises(StoreError, match=r"egress journal, line \d: "):
            read_egress(b"".join(changed))


def test_lines_of_two_journals_do_not_make_one(tmp_path: Path) -> None:
    """Every line is whole, and its number the next: only what it says of its predecessor gives it away."""
    one = written(tmp_path / "one.jsonl").splitlines(keepends=True)
    journal = EgressJournal(tmp_path / "other.jsonl")
    for number in range(4):
        journal.record(departure(10 + number))
    other = journal.path.read_bytes().splitlines(keepends=True)
    with pytest.raises(StoreError, match=r"line 3: does not follow the line before it"):
        read_egress(b"".join([*one[:2], *other[2:]]))


def test_a_line_that_a_crash_cut_short_was_never_written(tmp_path: Path) -> None:
    """Wherever the last write ended: the lines before it stand, and the chain goes on from them."""
    whole = written(tmp_path / "egress.jsonl", 3)
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        for zeros in (0, 5, len(whole) - end):
            path = tmp_path / f"{end}-{zeros}.jsonl"
            path.write_bytes(whole[:end] + bytes(zeros))
            journal = EgressJournal(path)
            assert len(journal.read().entries) == 2
            if end % 40 == 0:
                journal.record(departure(9))
                assert [entry.departure.fields["n"] for entry in journal.read().entries] == [0, 1, 9]


def test_a_torn_last_line_is_cut_short_too(tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    whole = written(path, 2)
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[: last + 9] + bytes(20) + whole[last + 29 :])
    journal = EgressJournal(path)
    journal.record(departure(5))
    assert [entry.departure.fields["n"] for entry in journal.read().entries] == [0, 5]


def test_lines_longer_than_what_is_read_of_the_end(tmp_path: Path) -> None:
    journal = EgressJournal(tmp_path / "egress.jsonl")
    parts = tuple(Part(f"sealed[{number}].ciphertext", 64, sha256_digest(b"x")) for number in range(2000))
    for _ in range(3):
        journal.record(Departure("message", "a:1", "/x", 1, sha256_digest(b""), {}, parts))
        journal.record(departure())
    assert len(journal.read().entries) == 6


def test_a_damaged_end_stops_everything(tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    whole = written(path, 2)
    path.write_bytes(whole[:-5] + b"#" + whole[-4:])
    with pytest.raises(StoreError, match=r"its last line is damaged .* so nothing is sent"):
        EgressJournal(path).record(departure())


def _write_some(path: Path) -> None:
    written(path, 25)


def test_processes_of_one_site_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_some, args=[path]) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(EgressJournal(path).read().entries) == 75


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


def test_a_failed_write_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = EgressJournal(tmp_path / "egress.jsonl")
    journal.record(departure())
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _refuse)
        with pytest.raises(StoreError, match=r"No space left.*so nothing is sent"):
            journal.record(departure())
    with pytest.raises(StoreError, match="an earlier write failed"):
        journal.record(departure())


def test_threads_of_one_process_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC records the rest of an upload from a thread of its own while the next call is recorded here."""
    journal, fsync = EgressJournal(tmp_path / "egress.jsonl"), os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(0.01)  # long enough that every other thread begins meanwhile
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(journal.record, [departure(number) for number in range(8)]))
    assert len(journal.read().entries) == 8


def _refuse(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


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


MAY_SPEAK = {
    "network/connection.py": {"grpc"},
    "network/recording.py": {"grpc"},
    "network/calls.py": {"grpc"},
    "offline/channel.py": {"grpc"},
    "offline/relay.py": {"grpc"},
    "network/client.py": {"grpc"},
    "network/answers.py": {"grpc"},
    "network/diagnosis.py": {"socket", "ssl"},
    "network/presented.py": {"socket", "ssl"},
    "network/proxy.py": {"urllib"},
    # Towards a server with a copy of the log that the operator named; each request is in the journal before it leaves:
    "session/log_copy.py": {"urllib"},
    # Towards the institution's own machines, and models that its own registry names:
    "generation/cluster.py": {"grpc", "socket"},
    "generation/parallel.py": {"socket"},
    "generation/external.py": {"urllib", "http"},
    "commands/models.py": {"huggingface_hub"},
    "measure/extractors/loading.py": {"huggingface_hub"},
    # Between processes of this machine, over socket pairs:
    "data/decoding/decoder.py": {"socket"},
    "data/decoding/process.py": {"socket"},
    "data/decoding/program.py": {"socket"},
    "data/decoding/reading.py": {"socket"},
}
NETWORKS = {
    "grpc",
    "socket",
    "ssl",
    "http",
    "urllib",
    "requests",
    "httpx",
    "aiohttp",
    "ray",
    "huggingface_hub",
    "smtplib",
    "ftplib",
}


def test_nobody_else_speaks_to_the_network() -> None:
    """A new module that opens a connection has to be looked at here: does what it sends pass the journal?"""
    root = Path(vdb_participant.__file__).parent
    found = {
        str(path.relative_to(root)): imported
        for path in sorted(root.rglob("*.py"))
        if (imported := _imports(ast.parse(path.read_text(encoding="utf-8"))) & NETWORKS)
    }
    assert found == MAY_SPEAK


def test_files_of_a_log_are_asked_for_in_one_place() -> None:
    """What is shared with auditors downloads without a journal; only who writes one first may use it."""
    root = Path(vdb_participant.__file__).parent
    readers = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"log_files|limited_http", path.read_text(encoding="utf-8"))
    ]
    assert readers == ["session/log_copy.py"]


def test_channels_are_made_in_one_place() -> None:
    root = Path(vdb_participant.__file__).parent
    makers = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "secure_channel(" in path.read_text(encoding="utf-8")
    ]
    assert sorted(makers) == ["generation/cluster.py", "network/connection.py"], (
        "the first asks a Ray cluster who it is"
    )


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _runs_of_bytes(message: Descriptor, prefix: str = "") -> Iterator[str]:
    for one in message.fields:
        if one.message_type is not None:
            yield from _runs_of_bytes(one.message_type, f"{prefix}{one.name}.")
        elif one.type == FieldDescriptor.TYPE_BYTES:
            yield f"{prefix}{one.name}"


def test_everything_that_can_leave_has_a_reason() -> None:
    """A new RPC, or new bytes in one, has to say here why no bundle has them."""
    services = pb.DESCRIPTOR.services_by_name
    assert set(services) >= {"EnrolmentService", "SessionService", "LogService", "AggregationService", "AdminService"}
    for name, service in services.items():
        for method in service.methods if name != "AdminService" else ():
            kinds = [f"{method.name} {path}" for path in _runs_of_bytes(method.input_type)] or [method.name]
            assert [kind for kind in kinds if reason(kind) == UNKNOWN] == []


def test_threads_of_one_journal_write_one_chain(tmp_path: Path) -> None:
    """A write under way in another thread is no failed write."""
    journal, failures = EgressJournal(tmp_path / "egress.jsonl"), list[BaseException]()

    def write() -> None:
        try:
            for number in range(20):
                journal.record(departure(number))
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(journal.read().entries) == 80
