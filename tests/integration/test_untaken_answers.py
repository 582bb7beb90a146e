"""Peers that ask and take nothing of what they are answered: whatever waits for them, nobody else does."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import vdb_coordinator.serving.server as serving
from testkit.coordinator import CALL, Identity, RunningCoordinator, running_coordinator
from testkit.raw_http2 import RawPeer
from testkit.waiting import until
from vdb_coordinator.service.quotas import INVITED_CALLS, MAX_CALLS, TURNS
from vdb_coordinator.serving import limits
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import SessionServiceStub

WATCH = "/grpc.health.v1.Health/Watch"
LISTING = "/vdb.v1.SessionService/ListSessions"


@dataclass(frozen=True)
class Bearer:
    """What a peer shows that has an invitation."""

    tls_key: bytes
    certificate_chain: bytes


def heartbeat(coordinator: RunningCoordinator) -> object:
    """Return when the coordinator showed last that it looks after everything."""
    with sqlite3.connect(f"file:{coordinator.home.sqlite}?mode=ro", uri=True) as database:
        (found,) = database.execute("SELECT at FROM heartbeat").fetchone()
        return found


def test_who_watches_and_takes_nothing_delays_neither_the_upkeep_nor_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "UPKEEP_SECONDS", 0.02)
    with running_coordinator(tmp_path, institutions=2) as coordinator:
        stalled, honest = coordinator.identities
        with RawPeer(coordinator.address, stalled, takes_answers=False) as peer, coordinator.channel(honest) as channel:
            for number in range(20):
                peer.request(2 * number + 1, WATCH)
            peer.listen(0.5)
            assert len(peer.answered) == 20
            stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=3 * CALL)
            assert next(stream).status == health_pb2.HealthCheckResponse.SERVING
            for _ in range(3):
                before = heartbeat(coordinator)
                until(lambda: heartbeat(coordinator) != before, "nobody looks after the coordinator any more")  # noqa: B023 - called at once
            coordinator.stop()
            assert next(stream).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_who_was_only_invited_may_ask_and_not_watch(tmp_path: Path) -> None:
    with running_coordinator(tmp_path) as coordinator, ExitStack() as stack:
        channel = stack.enter_context(coordinator.invite("newcomer").channel(coordinator.address))
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=CALL)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(health.Watch(health_pb2.HealthCheckRequest(), timeout=CALL))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="vdb.v1.Other"), timeout=CALL)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_who_takes_no_answers_runs_out_of_calls_of_its_own_and_nobody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted only until an answer is made, its calls take all that the server takes of everybody."""
    monkeypatch.setattr(limits, "MAX_CALLS", MAX_CALLS + 50)
    with running_coordinator(tmp_path, institutions=2) as coordinator, ExitStack() as stack:
        stalled, honest = coordinator.identities
        peers = [stack.enter_context(RawPeer(coordinator.address, stalled, takes_answers=False)) for _ in range(4)]
        for peer in peers:
            for number in range(100):
                peer.request(2 * number + 1, LISTING)
        until(
            lambda: answered(peers) == TURNS + 400 - MAX_CALLS, "more are answered than have their turn or are refused"
        )
        with coordinator.channel(honest) as channel:
            for _ in range(10):
                SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
        for peer in peers:
            peer.listen(0.1)
        assert answered(peers) == TURNS + 400 - MAX_CALLS
        stack.close()
        until(lambda: all_begin(coordinator, stalled), "what it left behind counts on")


def answered(peers: list[RawPeer]) -> int:
    for peer in peers:
        peer.listen(0.02)
    return sum(len(peer.answered) for peer in peers)


def all_begin(coordinator: RunningCoordinator, identity: Identity) -> bool:
    """Return whether an institution gets as many calls at once as it may have."""
    with ExitStack() as stack:
        channels = [stack.enter_context(coordinator.channel(identity)) for _ in range(MAX_CALLS // 100)]
        stubs = [health_pb2_grpc.HealthStub(channel) for channel in channels for _ in range(100)]
        streams = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=CALL) for stub in stubs]
        try:
            return all(next(stream) for stream in streams)
        except grpc.RpcError:
            return False
        finally:
            for stream in streams:
                stream.cancel()


def test_an_invitation_is_no_right_to_many_calls(tmp_path: Path) -> None:
    with running_coordinator(tmp_path) as coordinator:
        invitation = coordinator.invite("newcomer").invitation
        chain = invitation.bootstrap_certificate + invitation.ca_certificate
        newcomer = Bearer(invitation.bootstrap_key.encode(), chain.encode())
        with RawPeer(coordinator.address, newcomer) as peer:
            for number in range(10):
                peer.call(2 * number + 1, "/vdb.v1.EnrolmentService/GetEnrolment")
            until(lambda: answered([peer]) == 10 - INVITED_CALLS, "the others wait for their requests")
