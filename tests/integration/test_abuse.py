"""A coordinator's process under attack: others go on working, attackers get what they are to get, and nothing stays behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import pytest

from testkit.abuse import ATTACKS, neighbour
from testkit.coordinator import CALL, Identity, RunningCoordinator, secure_channel
from testkit.coordinator_process import Process
from testkit.crowd import crowd
from testkit.raw_http2 import RawPeer
from testkit.small_specs import small_spec
from vdb_coordinator.service.boundary import REQUEST_SECONDS
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import SessionServiceStub

WAITING = ("silent connections", "slow handshakes", "garbage", "strangers", "silent members", "calls without requests")
"""Attacks that take long and do little: they are made at the same time."""

OPEN = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
MEGABYTES = 200
"""More than any attack may leave behind; the figures are the benchmark's."""


@dataclass
class Besieged:
    """A coordinator's process, one institution that attacks it and one that works."""

    process: Process
    attacker: Identity
    neighbour: Identity


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    coordinator = RunningCoordinator(tmp_path_factory.mktemp("besieged") / "coordinator")
    attacker, working = crowd(coordinator, 4)[:2]
    coordinator.start()
    coordinator.stop()
    process = Process(coordinator)
    try:
        process.wait_until_it_listens()
        coordinator.admin.create_session(OPEN)
        yield Besieged(process, attacker, working)
    finally:
        coordinator.stop()
        process.kill()


def check_left(process: Process, memory: int, descriptors: int) -> None:
    for _ in range(600):
        if process.descriptors <= descriptors + 5:
            break
        time.sleep(0.1)
    assert process.descriptors <= descriptors + 5
    assert process.memory - memory < MEGABYTES * 1e6
    assert process.runs()


@pytest.mark.parametrize("names", [WAITING, *((name,) for name in ATTACKS if name not in WAITING)])
def test_others_go_on_and_attackers_get_what_they_are_to_get(besieged: Besieged, names: tuple[str, ...]) -> None:
    process = besieged.process
    memory, descriptors = process.memory, process.descriptors
    with neighbour(process.address, besieged.neighbour) as other, ThreadPoolExecutor(len(names)) as threads:
        attacks = [threads.submit(ATTACKS[name][0], process.address, besieged.attacker) for name in names]
        got = [attack.result() for attack in attacks]
    assert got == [ATTACKS[name][1] for name in names]
    assert not other.errors
    assert other.seconds
    assert max(other.seconds) < CALL
    check_left(process, memory, descriptors)


def test_who_may_not_call_is_refused_before_the_request_is_read(besieged: Besieged) -> None:
    with RawPeer(besieged.process.address, besieged.attacker) as peer:
        began = time.monotonic()
        peer.call(1, "/vdb.v1.AdminService/CreateSession")
        peer.call(3, "/vdb.v1.SessionService/ListSessions")
        while 1 not in peer.answered and time.monotonic() < began + 2 * REQUEST_SECONDS:
            peer.listen(0.1)
        assert 1 in peer.answered
        assert 3 not in peer.answered
        assert time.monotonic() < began + REQUEST_SECONDS


def test_nothing_is_decompressed(besieged: Besieged) -> None:
    one = besieged.neighbour
    with secure_channel(besieged.process.address, one.ca_certificate, one.tls_key, one.certificate_chain) as channel:
        request = pb.GetSessionRequest(session="x" * 10_000)
        for compression, code in (
            (grpc.Compression.NoCompression, grpc.StatusCode.INVALID_ARGUMENT),
            (grpc.Compression.Gzip, grpc.StatusCode.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                SessionServiceStub(channel).GetSession(request, timeout=CALL, compression=compression)
            assert caught.value.code() is code


def test_an_institution_that_stalls_keeps_only_itself_waiting(besieged: Besieged) -> None:
    with RawPeer(besieged.process.address, besieged.attacker) as peer:
        for number in range(50):
            peer.call(2 * number + 1, "/vdb.v1.SessionService/ListSessions")
        with neighbour(besieged.process.address, besieged.neighbour) as other:
            peer.listen(1)
    assert other.seconds
    assert not other.errors
    assert max(other.seconds) < REQUEST_SECONDS
