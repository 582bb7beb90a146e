"""A revoked institution is out at once, for good, and for everybody to see; sessions go on without it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import Connection
from typer.testing import CliRunner

from testkit.coordinator import CALL, Identity, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.refusals import reason_of, refused
from testkit.small_specs import small_spec
from testkit.specs import small_spec as open_spec
from vdb_coordinator.cli import app as lead_app
from vdb_coordinator.files import write_durably
from vdb_coordinator.identity.keys import read_signing_key
from vdb_coordinator.identity.revocation import Revocation, store_revocation
from vdb_coordinator.identity.rosters import RosterAuthority
from vdb_coordinator.store import attempts
from vdb_coordinator.store.database import Database
from vdb_shared.audit.cli import app as audit_app
from vdb_shared.audit.verify import verify
from vdb_shared.errors import StoreError, UsageError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import EnrolmentServiceStub, SessionServiceStub
from vdb_shared.wire.status import Phase

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")


LEFT = ("--reason", "left", "--yes")


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=5) as running:
        yield running


def lead(coordinator: RunningCoordinator, *words: str, expect: int = 0) -> str:
    done = CliRunner().invoke(lead_app, ["--dir", str(coordinator.home.path), *words])
    assert done.exit_code == expect, done.output + str(done.exception)
    return done.output if expect == 0 else str(done.exception)


def monitored(coordinator: RunningCoordinator) -> dict[str, list[dict[str, object]]]:
    key = coordinator.home.log_key.read_text().strip()
    done = CliRunner().invoke(audit_app, ["monitor", str(coordinator.home.log), "--key", key, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    return found


def sessions_of(coordinator: RunningCoordinator, identity: Identity) -> str | None:
    """Return why an institution may not list the sessions, or None where it may."""
    with coordinator.channel(identity) as channel:
        try:
            SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
        except grpc.RpcError as error:
            return reason_of(error)
    return None


class Stream(threading.Thread):
    """A stream that stays open for a minute, unless it is ended for us."""

    def __init__(self, open_stream: Callable[[grpc.Channel], Any], channel: grpc.Channel) -> None:
        super().__init__(daemon=True)
        self._channel, self._stream = channel, open_stream(channel)
        next(self._stream)
        self.error: grpc.RpcError | None = None
        self.start()

    def run(self) -> None:
        try:
            for _ in self._stream:
                pass
        except grpc.RpcError as error:
            self.error = error
        self._channel.close()


def watching(session: str) -> Callable[[grpc.Channel], Any]:
    request = pb.WatchSessionRequest(session=session)
    return lambda channel: SessionServiceStub(channel).WatchSession(request, timeout=3 * CALL)


def idle(channel: grpc.Channel) -> Any:
    """Open a stream on which nothing happens as long as the coordinator is well."""
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=3 * CALL)


def test_who_is_revoked_is_out_also_when_the_answer_of_the_commit_is_lost(
    coordinator: RunningCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lead is told that the storage refuses, and what the database says counts all the same."""
    server, (victim, other) = coordinator._server, coordinator.identities[:2]
    assert server is not None
    mine, theirs = (Stream(idle, coordinator.channel(identity)) for identity in (victim, other))
    run = server._database.run
    lost: list[Any] = []

    async def lossy(work: Callable[[Connection], Any]) -> Any:
        def committed(connection: Connection) -> tuple[Any, bool]:
            before = attempts.end(connection)
            result = work(connection)
            return result, attempts.end(connection) != before

        result, grown = await run(committed)
        if grown and not lost:
            lost.append(result)
            raise StoreError("the connection was lost after the commit")
        return result

    monkeypatch.setattr(server._database, "run", lossy)
    assert "storage refuses" in lead(coordinator, "revoke", victim.institution, *LEFT, expect=1)
    assert lost
    assert sessions_of(coordinator, victim) == reasons.NOT_A_MEMBER
    mine.join(CALL)
    assert mine.error is not None
    assert theirs.is_alive()
    assert sessions_of(coordinator, other) is None


def test_a_former_coordinator_leaves_the_address_of_its_successor(coordinator: RunningCoordinator) -> None:
    """It is stopped late, after the other one serves at the same address, as beside one PostgreSQL database."""
    shown = coordinator.home.bound.read_bytes()
    write_durably(coordinator.home.bound, shown)
    coordinator.stop()
    assert coordinator.home.bound.read_bytes() == shown
    coordinator.start()
    coordinator.stop()
    assert not coordinator.home.bound.exists()


def test_who_is_revoked_is_refused_at_once_also_on_streams_that_are_open(coordinator: RunningCoordinator) -> None:
    victim, other = coordinator.identities[:2]
    session = coordinator.admin.create_session(open_spec())
    mine = [Stream(kind, coordinator.channel(victim)) for kind in (watching(session), idle)]
    theirs = [Stream(kind, coordinator.channel(other)) for kind in (watching(session), idle)]
    with coordinator.channel(victim) as channel:
        stub = SessionServiceStub(channel)
        stub.ListSessions(pb.ListSessionsRequest(), timeout=CALL)
        out = lead(coordinator, "revoke", "site-0", "--reason", "compromised", "--note", "a laptop was lost", "--yes")
        assert "1 open session goes on without it, under the roster from before, which still names it" in out
        assert "site-0 is revoked; the roster has version 7, without it" in out
        with pytest.raises(
            grpc.RpcError, match=r"is no longer a member of consortium .* its membership was revoked"
        ) as told:
            stub.ListSessions(pb.ListSessionsRequest(), timeout=CALL)
        assert reason_of(told.value) == reasons.NOT_A_MEMBER
    for stream in mine:
        stream.join(CALL)
        assert stream.error is not None
        assert reason_of(stream.error) == reasons.NOT_A_MEMBER
    assert all(stream.is_alive() for stream in theirs), "the others go on"
    coordinator.restart()
    assert sessions_of(coordinator, victim) == reasons.NOT_A_MEMBER
    assert sessions_of(coordinator, other) is None


def test_everybody_sees_it_in_the_log_and_the_notes_stay_with_the_lead(coordinator: RunningCoordinator) -> None:
    key = coordinator.identities[0].statement_key.public_key.key_id
    coordinator.admin.revoke("site-0", "compromised", "a laptop was lost")
    (found,) = monitored(coordinator)["revocations"]
    assert (found["institution"], found["key"], found["reason"], found["index"]) == ("site-0", key, "compromised", 0)
    words = ["monitor", str(coordinator.home.log), "--key", coordinator.home.log_key.read_text().strip()]
    assert f"site-0, compromised, entry 0, key {key}" in CliRunner().invoke(audit_app, words).output
    assert b"laptop" not in (coordinator.home.log / "tile" / "entries" / "000.p" / "1").read_bytes()
    states = {item["institution"]: item["state"] for item in json.loads(lead(coordinator, "enrolments", "--json"))}
    assert (states["site-0"], states["site-1"]) == ("revoked", "approved")


def test_wrong_wishes_are_one_line(coordinator: RunningCoordinator) -> None:
    for name, message in (("nobody", "not a member"), ("coordinator", "the coordinator itself")):
        assert message in lead(coordinator, "revoke", name, "--reason", "left", "--yes", expect=1)
    unasked = lead(coordinator, "revoke", "nobody", "--reason", "left", expect=1)
    assert "nobody is no member; `vdb-coordinator --dir" in unasked, "nobody is asked what is not possible"
    assert "cannot be taken back" in lead(coordinator, "revoke", "site-0", "--reason", "left", expect=1)
    with pytest.raises(UsageError, match="say why"):
        coordinator.admin._call(
            lambda: coordinator.admin._admin.RevokeInstitution(
                pb.RevokeInstitutionRequest(institution="site-0"), timeout=CALL
            )
        )
    assert not monitored(coordinator)["revocations"]


def test_a_revoked_key_never_comes_back_and_old_certificates_open_nothing_when_the_institution_does(
    coordinator: RunningCoordinator,
) -> None:
    thief = coordinator.identities[4]
    applicant = coordinator.invite("site-4")
    coordinator.admin.revoke("site-4", "compromised", "")
    with applicant.channel(coordinator.address) as channel:
        stub = EnrolmentServiceStub(channel)
        void = refused(lambda: stub.Enrol(applicant.enrol_request(), timeout=CALL))
        assert void == reasons.INVITATION, "invitations that were under way are void"
    again = coordinator.invite("site-4")
    stolen = type(again)(again.invitation, thief.statement_key, again.tls_key, again.request)
    with again.channel(coordinator.address) as channel:
        EnrolmentServiceStub(channel).Enrol(stolen.enrol_request(), timeout=CALL)
    with pytest.raises(UsageError, match="a key that was revoked"):
        coordinator.admin.approve("site-4", thief.statement_key.public_key.key_id)
    back = coordinator.enrol("site-4")
    assert back.seat == 5, "a seat that nobody ever had"
    assert sessions_of(coordinator, back) is None
    assert sessions_of(coordinator, thief) == reasons.NOT_A_MEMBER, "the same name in an old certificate"
    coordinator.restart()
    assert sessions_of(coordinator, thief) == reasons.NOT_A_MEMBER
    assert sessions_of(coordinator, back) is None


def test_a_certificate_is_not_given_out_again_after_the_revocation(coordinator: RunningCoordinator) -> None:
    applicant = coordinator.invite("late")
    request = pb.GetEnrolmentRequest(institution="late", token=applicant.invitation.token_bytes)
    with applicant.channel(coordinator.address) as channel:
        stub = EnrolmentServiceStub(channel)
        stub.Enrol(applicant.enrol_request(), timeout=CALL)
        coordinator.admin.approve("late", applicant.statement_key.public_key.key_id)
        assert stub.GetEnrolment(request, timeout=CALL).approved
        coordinator.admin.revoke("late", "left", "")
        assert refused(lambda: stub.GetEnrolment(request, timeout=CALL)) == reasons.INVITATION


def test_a_key_that_is_replaced_is_revoked_by_that(coordinator: RunningCoordinator) -> None:
    before = coordinator.identities[2]
    after = coordinator.enrol("site-2")
    assert after.seat == before.seat
    assert (sessions_of(coordinator, before), sessions_of(coordinator, after)) == (reasons.NOT_A_MEMBER, None)
    (found,) = monitored(coordinator)["revocations"]
    assert (found["key"], found["reason"]) == (before.statement_key.public_key.key_id, "replaced")


# Sessions under way.


def test_a_session_does_not_wait_for_a_revoked_institution(coordinator: RunningCoordinator) -> None:
    """Four have joined, the fifth has not: with its revocation joining is over, without a deadline."""
    session = coordinator.admin.create_session(PATIENT)
    members = [TestMember(coordinator, identity, session) for identity in coordinator.identities]
    play(members[:4], "join")
    coordinator.admin.revoke("site-4", "left", "")
    status = members[0].wait(Phase.ADVERTISING_KEYS)
    assert {site.institution: site.stage for site in status.sites}["site-4"] == "revoked"
    for step in STEPS[1:]:
        play(members[:4], step)
    assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
    report = verify(
        coordinator.admin.bundle(session),
        root=coordinator.root_fingerprint,
        fetch=lambda path: (coordinator.home.log / path).read_bytes(),
    )
    (line,) = [line for line in report.lines if line.id == "V65"]
    assert line.status.value == "PASS", line
    for member in members:
        member.__exit__(None, None, None)


@pytest.mark.parametrize("crashed", [False, True])
def test_a_revoked_institution_that_has_joined_drops_out(coordinator: RunningCoordinator, crashed: bool) -> None:
    """Also when the coordinator was killed right after it had stored the revocation."""
    session = coordinator.admin.create_session(PATIENT)
    members = [TestMember(coordinator, identity, session) for identity in coordinator.identities]
    play(members, *STEPS[:2])
    members[0].wait(Phase.SHARING_KEYS)
    if crashed:
        coordinator.stop()
        revoke_in_the_database_alone(coordinator, "site-4")
        coordinator.start()
        for member in members:
            member.reconnect()
    else:
        coordinator.admin.revoke("site-4", "compromised", "")
    assert refused(members[4].share) == reasons.NOT_A_MEMBER
    for step in STEPS[2:]:
        play(members[:4], step)
    status = members[0].wait(Phase.PUBLISHED)
    assert status.phase is Phase.PUBLISHED, status.reason
    report = verify(
        coordinator.admin.bundle(session),
        root=coordinator.root_fingerprint,
        fetch=lambda path: (coordinator.home.log / path).read_bytes(),
    )
    (line,) = [line for line in report.lines if line.id == "V65"]
    assert line.status.value == "NOT PROVEN"
    assert "keys were revoked: site-4 (compromised" in line.sentence
    for member in members:
        member.__exit__(None, None, None)


def revoke_in_the_database_alone(coordinator: RunningCoordinator, institution: str) -> None:
    home = coordinator.home
    rosters = RosterAuthority(home.read_roots(), read_signing_key(home.key("roster"), None))
    revocation = Revocation(institution, "compromised", "", "spiffe://testbed/admin/lead")
    database = Database(home.database(home.read_config()))
    try:
        database.run_now(lambda connection: store_revocation(connection, rosters, revocation, datetime.now(UTC)))
    finally:
        database.close()
