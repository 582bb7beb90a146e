"""What is refused to whom stands in the audit log, also what was refused unread; and large requests are read by nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from testkit.coordinator import CALL, CONSORTIUM, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.refusals import reason_of, refused
from testkit.small_specs import small_spec
from vdb_coordinator.store import attempts
from vdb_coordinator.store.database import read_database
from vdb_shared.errors import VdbError
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import EnrolmentServiceStub

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
LEAD = f"spiffe://{CONSORTIUM}/admin/lead"
FLOOD = b"[" + b",".join([b"0"] * 2_500_000) + b"]"
"""The JSON that takes longest for its size; parsing it would keep everybody waiting for more than a second."""


@dataclass
class Watched:
    """A coordinator with a session that waits for joins, one of its members, and its audit log."""

    coordinator: RunningCoordinator
    member: TestMember

    def audit(self) -> list[attempts.Entry]:
        return read_database(self.coordinator.home.sqlite, attempts.load)

    def recorded(self, call: Callable[[], object]) -> tuple[str, str, str]:
        """Return who, action and outcome of the one entry that a call adds."""
        before = len(self.audit())
        call()
        (entry,) = self.audit()[before:]
        return entry.who, entry.action, entry.outcome


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with running_coordinator(tmp_path_factory.mktemp("recorded"), institutions=4) as coordinator:
        session = coordinator.admin.create_session(PATIENT)
        with TestMember(coordinator, coordinator.identities[0], session) as member:
            yield Watched(coordinator, member)


def signed(member: TestMember, body: bytes) -> pb.SignedMessage:
    return pb.SignedMessage(seat=member.seat, body=body, signature=bytes(64))


def sending(name: str, member: TestMember) -> object:
    """Send something that is much too large."""
    session, large = member.session, signed(member, bytes(4 * 2**20))
    match name:
        case "Join":
            return member.sessions.Join(pb.JoinRequest(session=session, join=FLOOD), timeout=CALL)
        case "Abort":
            return member.sessions.Abort(pb.AbortRequest(session=session, abort=FLOOD), timeout=CALL)
        case "Object":
            return member.log.Object(pb.ObjectRequest(session=session, objection=FLOOD), timeout=CALL)
        case "AdvertiseKeys":
            return member.rounds.AdvertiseKeys(pb.AdvertiseKeysRequest(session=session, keys=large), timeout=CALL)
        case "Complain":
            return member.rounds.Complain(pb.ComplainRequest(session=session, complaint=large), timeout=CALL)
        case _:
            sealed = [pb.SealedShares(dealer=member.seat, holder=holder) for holder in range(50_000)]
            request = pb.ShareKeysRequest(session=session, header=signed(member, b"x"), sealed=sealed)
            return member.rounds.ShareKeys(request, timeout=CALL)


@pytest.mark.parametrize("name", ["Join", "Abort", "Object", "AdvertiseKeys", "Complain", "ShareKeys"])
def test_what_is_much_too_large_is_refused_unread_and_recorded(watched: Watched, name: str) -> None:
    """Each was parsed, or gone through value by value, while nobody else was answered."""
    member, found = watched.member, list[str]()
    assert len(FLOOD) < convert.MAX_MESSAGE_BYTES
    who, action, outcome = watched.recorded(lambda: found.append(refused(lambda: sending(name, member))))
    assert found == [reasons.INVALID]
    assert (who, action) == (f"spiffe://{CONSORTIUM}/participant/{member.identity.institution}", name)
    assert outcome.startswith(f"refused: {member.session}: ")
    assert "at most" in outcome or "the roster has" in outcome


def test_what_is_no_envelope_or_has_no_signature_is_recorded_too(watched: Watched) -> None:
    member = watched.member
    request = pb.JoinRequest(session=member.session, join=b"{}")
    _, action, outcome = watched.recorded(lambda: refused(lambda: member.sessions.Join(request, timeout=CALL)))
    assert (action, "not a DSSE envelope" in outcome) == ("Join", True)
    keys = pb.AdvertiseKeysRequest(session=member.session, keys=pb.SignedMessage(seat=member.seat, body=b"x"))
    _, action, outcome = watched.recorded(lambda: refused(lambda: member.rounds.AdvertiseKeys(keys, timeout=CALL)))
    assert (action, "0 bytes, expected 64" in outcome) == ("AdvertiseKeys", True)


@pytest.mark.parametrize("size", [0, 31, 33, 200])
def test_an_upload_is_asked_for_by_a_digest(watched: Watched, size: int) -> None:
    request = pb.QueryUploadRequest(session=watched.member.session, digest=b"\1" * size)
    with pytest.raises(grpc.RpcError) as caught:
        watched.member.rounds.QueryUpload(request, timeout=CALL)
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.INVALID_ARGUMENT, reasons.INVALID)
    assert str(watched.coordinator.home.path) not in str(caught.value.details())


def test_attempts_to_get_in_by_another_key_or_invitation_are_recorded(watched: Watched) -> None:
    applicant = watched.coordinator.invite("site-x")
    caller = f"spiffe://{CONSORTIUM}/enrolment/site-x"
    with applicant.channel(watched.coordinator.address) as channel:
        stub = EnrolmentServiceStub(channel)
        for change, words in (
            ({"possession": bytes(64)}, "does not verify"),
            ({"institution": "site-0"}, "is not an invitation of site-0"),
        ):
            request = applicant.enrol_request(**change)
            who, action, outcome = watched.recorded(lambda: refused(lambda: stub.Enrol(request, timeout=CALL)))  # noqa: B023  # called at once
            assert (who, action, words in outcome) == (caller, "enrol", True), outcome
        stub.Enrol(applicant.enrol_request(), timeout=CALL)


def test_what_leads_are_refused_is_recorded(watched: Watched) -> None:
    admin = watched.coordinator.admin

    def wrong(order: Callable[[], object]) -> Callable[[], None]:
        def ordered() -> None:
            with pytest.raises(VdbError):
                order()

        return ordered

    applicant = watched.coordinator.invite("site-y")
    with applicant.channel(watched.coordinator.address) as channel:
        EnrolmentServiceStub(channel).Enrol(applicant.enrol_request(), timeout=CALL)
    for order, action, words in (
        (lambda: admin.approve("site-y", "0" * 64), "approve", "do not approve"),
        (lambda: admin.approve("nobody", "0" * 64), "approve", "does not wait for approval"),
        (lambda: admin.revoke("nobody", "left", ""), "revoke", "not a member"),
        (lambda: admin.admit_auditor("site-0", applicant.statement_key.public_key), "admit auditor", "is a member"),
        (lambda: admin.invite("coordinator"), "invite", "coordinator's own name"),
    ):
        who, found, outcome = watched.recorded(wrong(order))
        assert (who, found) == (LEAD, action)
        assert outcome.startswith("refused: ")
        assert words in outcome


def test_a_fault_of_the_program_tells_its_caller_no_more_than_that(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = watched.coordinator._server
    assert server is not None

    async def fails() -> None:
        raise OSError(36, "File name too long", str(tmp_path))

    monkeypatch.setattr(server.conductor, "summaries", fails)
    with pytest.raises(grpc.RpcError) as caught:
        watched.member.sessions.ListSessions(pb.ListSessionsRequest(), timeout=CALL)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert str(tmp_path) not in str(caught.value.details())
    assert str(tmp_path) in watched.coordinator.log.getvalue()
