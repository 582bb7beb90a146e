"""What one caller may hold of a coordinator, what others do when it takes no more, and receipts of what was lost."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import grpc
import pytest

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.institutions import write_site
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.raw_http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, RawPeer, frame, headers
from testkit.refusals import reason_of, refused
from testkit.small_specs import small_spec
from vdb_coordinator.service.sessions import BUNDLES_AT_ONCE
from vdb_coordinator.serving import limits
from vdb_coordinator.store.blobs import UploadStore, upload_prefix
from vdb_participant.network.answers import is_absence
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import SessionServiceStub
from vdb_shared.wire.status import Phase

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=4) as running:
        yield running


@pytest.fixture
def members(coordinator: RunningCoordinator) -> Iterator[list[TestMember]]:
    session = coordinator.admin.create_session(PATIENT)
    with ExitStack() as stack:
        yield [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]


def watched(member: TestMember) -> grpc.Call:
    """Return a stream that stays open, after its first message."""
    stream = member.sessions.WatchSession(pb.WatchSessionRequest(session=member.session), timeout=CALL)
    next(stream)
    return stream


def test_an_agent_waits_while_a_coordinator_takes_no_more_calls(
    coordinator: RunningCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library refuses before our program sees the call, so without a reason; to leave for that would be for good."""
    monkeypatch.setattr(limits, "MAX_CALLS", 1)
    coordinator.restart()
    session = coordinator.admin.create_session(PATIENT)
    site = write_site(tmp_path / "site", coordinator.identities[0], coordinator.address)
    with (
        Client(Connection(site.config.address, site.tls, site.egress)) as client,
        TestMember(coordinator, coordinator.identities[1], session) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        assert client.sessions()
        stream = watched(other)
        with coordinator.channel(coordinator.identities[2]) as channel, pytest.raises(grpc.RpcError) as caught:
            SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        found = pool.submit(client.sessions)
        time.sleep(0.5)
        assert not found.done()
        stream.cancel()
        assert [item.session for item in found.result(CALL)] == [session]


class Failed(grpc.RpcError):
    """A call that ended with RESOURCE_EXHAUSTED and these words, and without a reason."""

    def __init__(self, words: str) -> None:
        self._words = words

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.RESOURCE_EXHAUSTED

    def details(self) -> str:
        return self._words

    def trailing_metadata(self) -> tuple[()]:
        return ()


def test_a_message_that_is_too_large_for_us_is_not_waited_for() -> None:
    assert is_absence(Failed("Concurrent RPC limit exceeded!"))
    assert not is_absence(Failed("CLIENT: Received message larger than max (7000000 vs. 6291456)"))


def test_a_receipt_is_not_given_again_for_what_the_database_lost(
    coordinator: RunningCoordinator, members: list[TestMember]
) -> None:
    """Of every kind of submission; an upload once had a way of its own."""
    play(members, *STEPS[:3])
    first, *_ = members
    assert first.mask() == first.mask()
    with closing(sqlite3.connect(coordinator.home.sqlite, timeout=10, isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys=OFF")
        (last,) = database.execute("select max(sequence) from events where session=?", (first.session,)).fetchone()
        database.execute("delete from receipts where session=? and sequence=?", (first.session, last))
        database.execute("delete from events where session=? and sequence=?", (first.session, last))
    for again in (first.mask, first.advertise, first.share, first.mask):
        assert refused(again) == reasons.STORAGE


def test_a_stored_vector_is_read_once_at_a_time_and_not_for_a_contribution_that_is_none(
    coordinator: RunningCoordinator, members: list[TestMember], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one member says 300 times at once that it goes on at the end, and each has the vector in memory."""
    reading, most, reads = 0, 0, 0
    lock, read = threading.Lock(), UploadStore.content

    def slowly(self: UploadStore, name: str) -> bytes:
        nonlocal reading, most, reads
        with lock:
            reading, reads = reading + 1, reads + 1
            most = max(most, reading)
        time.sleep(0.2)
        with lock:
            reading -= 1
        return read(self, name)

    monkeypatch.setattr(UploadStore, "content", slowly)
    play(members, *STEPS[:3])
    first, second, *_ = members
    first.prepare_mask()
    masked = first.sent["mask"][1].masked
    name = upload_prefix(first.session, first.seat) + masked_digest(masked).hex()
    UploadStore(coordinator.home.uploads).extend(
        name, 0, masked
    )  # as an upload whose connection broke at its end leaves it
    at_its_end = next(first.upload_parts(len(masked)))
    foreign = pb.UploadMaskedInputRequest()
    foreign.CopyFrom(at_its_end)
    foreign.start.contribution = second.contribution(bytes(32)).to_json()
    assert {refused(lambda: _upload(first, foreign)) for _ in range(5)} == {reasons.PROTOCOL}
    assert reads == 0
    calls = [first.rounds.UploadMaskedInput.future(iter([at_its_end]), timeout=CALL) for _ in range(40)]
    ends = [_end_of(call.result) for call in calls]
    assert set(ends) <= {"", reasons.WRONG_OFFSET}
    assert "" in ends
    assert most == 1
    assert reads < 10


def _upload(member: TestMember, *parts: pb.UploadMaskedInputRequest) -> pb.UploadMaskedInputResponse:
    return member.rounds.UploadMaskedInput(iter(parts), timeout=CALL)


def _end_of(call: Callable[[], object]) -> str:
    """Return the reason for which a call is refused, or ""."""
    try:
        call()
    except grpc.RpcError as error:
        return reason_of(error)
    return ""


def test_bundles_that_nobody_reads_are_few(coordinator: RunningCoordinator, members: list[TestMember]) -> None:
    play(members, *STEPS)
    first, *_ = members
    first.wait(Phase.PUBLISHED)
    bundle = first.bundle()
    request = pb.GetBundleRequest(session=first.session).SerializeToString()
    body = b"\0" + len(request).to_bytes(4, "big") + request
    with RawPeer(coordinator.address, coordinator.identities[0], preface=False) as peer:
        peer.send(PREFACE + frame(SETTINGS, 0, 0, b"\x00\x04" + bytes(4)))  # a window of nothing
        for number in range(BUNDLES_AT_ONCE):
            call = frame(HEADERS, END_HEADERS, 2 * number + 1, headers("/vdb.v1.SessionService/GetBundle"))
            peer.send(call + frame(DATA, END_STREAM, 2 * number + 1, body))
        end = time.monotonic() + CALL
        while len(peer.answered) < BUNDLES_AT_ONCE and time.monotonic() < end:
            peer.listen(0.05)
        assert refused(first.bundle) == reasons.TOO_MUCH
        assert members[1].bundle() == bundle, "others read as before"
    end = time.monotonic() + CALL
    while _end_of(first.bundle) == reasons.TOO_MUCH and time.monotonic() < end:
        time.sleep(0.1)
    assert first.bundle() == bundle, "what ended does not count"
