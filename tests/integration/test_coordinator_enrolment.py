"""Enrolment and identity over real gRPC with mutual TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator, secure_channel
from testkit.refusals import reason_of
from vdb_coordinator.commands.administration import Administration
from vdb_coordinator.config import Home
from vdb_shared.errors import UnreachableError, UsageError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import AdminServiceStub, EnrolmentServiceStub, SessionServiceStub


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    """Return a coordinator with one member."""
    with running_coordinator(tmp_path_factory.mktemp("enrolment"), institutions=1) as running:
        yield running


def test_an_approved_member_holds_a_chain_and_a_roster_with_itself(coordinator: RunningCoordinator) -> None:
    identity = coordinator.identities[0]
    roster = identity.roster.verify(identity.root_fingerprint, datetime.now(UTC))
    assert roster.seated(identity.seat).public_key == identity.statement_key.public_key
    leaf, authority = x509.load_pem_x509_certificates(identity.certificate_chain)
    leaf.verify_directly_issued_by(authority)
    assert identity.root_fingerprint == coordinator.root_fingerprint
    with coordinator.channel(identity) as channel:
        answer = SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
    assert list(answer.sessions) == []


def test_the_answer_before_approval_is_not_yet(coordinator: RunningCoordinator) -> None:
    applicant = coordinator.invite("waiting")
    with applicant.channel(coordinator.address) as channel:
        stub = EnrolmentServiceStub(channel)
        request = pb.GetEnrolmentRequest(institution="waiting", token=applicant.invitation.token_bytes)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetEnrolment(request, timeout=CALL)
        assert reason_of(caught.value) == reasons.INVITATION
        stub.Enrol(applicant.enrol_request(), timeout=CALL)
        assert not stub.GetEnrolment(request, timeout=CALL).approved
        with pytest.raises(UsageError, match="do not approve"):
            coordinator.admin.approve("waiting", "0" * 64)
        assert not stub.GetEnrolment(request, timeout=CALL).approved
        coordinator.admin.approve("waiting", applicant.statement_key.public_key.key_id)
        assert stub.GetEnrolment(request, timeout=CALL).approved
        stub.Enrol(applicant.enrol_request(), timeout=CALL)
    lines = map(json.loads, coordinator.log.getvalue().splitlines())
    told = [line["event"] for line in lines if line.get("institution") == "waiting"]
    assert told == ["institution asks to be a member", "institution is a member"]


def test_an_invitation_is_bound_to_its_certificate(coordinator: RunningCoordinator) -> None:
    mine, other = coordinator.invite("mine"), coordinator.invite("other")
    with other.channel(coordinator.address) as channel, pytest.raises(grpc.RpcError) as caught:
        EnrolmentServiceStub(channel).Enrol(mine.enrol_request(), timeout=CALL)
    assert reason_of(caught.value) == reasons.INVITATION


def test_an_invitation_opens_nothing_but_enrolment(coordinator: RunningCoordinator) -> None:
    applicant = coordinator.invite("curious")
    with applicant.channel(coordinator.address) as channel:
        for call in (
            lambda: SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL),
            lambda: AdminServiceStub(channel).ListEnrolments(pb.ListEnrolmentsRequest(), timeout=CALL),
            lambda: next(SessionServiceStub(channel).GetBundle(pb.GetBundleRequest(session="x"), timeout=CALL)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert reason_of(caught.value) == reasons.NOT_A_MEMBER


def test_a_member_is_no_lead(coordinator: RunningCoordinator) -> None:
    with coordinator.channel(coordinator.identities[0]) as channel, pytest.raises(grpc.RpcError) as caught:
        AdminServiceStub(channel).InviteInstitution(pb.InviteInstitutionRequest(institution="x"), timeout=CALL)
    assert reason_of(caught.value) == reasons.NOT_A_MEMBER


def test_calls_without_a_deadline_are_refused(coordinator: RunningCoordinator) -> None:
    with coordinator.channel(coordinator.identities[0]) as channel, pytest.raises(grpc.RpcError) as caught:
        SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest())
    assert reason_of(caught.value) == reasons.NO_DEADLINE


def test_strangers_get_no_further_than_the_handshake(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=1) as elsewhere:
        ours, theirs = coordinator.identities[0], elsewhere.identities[0]
        for key, chain in ((theirs.tls_key, theirs.certificate_chain), (None, None)):
            with secure_channel(coordinator.address, ours.ca_certificate, key, chain) as channel:
                with pytest.raises(grpc.RpcError) as caught:
                    SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_health_is_shown_to_members(coordinator: RunningCoordinator) -> None:
    with coordinator.channel(coordinator.identities[0]) as channel:
        for service in ("", "vdb.v1.SessionService"):
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=CALL, wait_for_ready=True)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=CALL)
        assert next(stream).status == health_pb2.HealthCheckResponse.SERVING
        stream.cancel()


def test_names_of_institutions_are_checked(coordinator: RunningCoordinator) -> None:
    for name in ("Hospital A", "", "../x", "x" * 65, "coordinator"):
        with pytest.raises(UsageError):
            coordinator.admin.invite(name)


def test_an_absent_coordinator_is_one_line_with_address_and_remedy(tmp_path: Path) -> None:
    with running_coordinator(tmp_path) as running:
        home, address = running.home, running.address
    home.bound.write_text(address)
    with Administration(Home(home.path), None) as admin, pytest.raises(UnreachableError) as caught:
        admin.sessions()
    assert address in str(caught.value)
    assert f"vdb-coordinator --dir {home.path} serve" in str(caught.value)


def test_two_processes_cannot_serve_one_directory(coordinator: RunningCoordinator) -> None:
    second = RunningCoordinator.__new__(RunningCoordinator)
    second.__dict__.update(coordinator.__dict__, _thread=None, _server=None, _admin=None, address="127.0.0.1:0")
    with pytest.raises(UsageError, match="another process serves"):
        second.start()


def test_a_taken_port_is_named(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    second = RunningCoordinator(tmp_path / "second")
    second.address = coordinator.address
    with pytest.raises(UsageError, match="cannot listen"):
        second.start()
