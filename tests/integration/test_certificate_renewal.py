"""Certificates are renewed while calls run, by members alone, and never by a thief of the TLS key."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy import select

from testkit.backups import back_up, bring_back, serving
from testkit.coordinator import CALL, Identity, RunningCoordinator, running_coordinator
from testkit.institutions import no_passphrase, write_site
from testkit.refusals import reason_of, refused
from testkit.renewing import aged, authority_of, renewal, request_for
from testkit.specs import small_spec
from vdb_coordinator.identity.keys import key_pem, new_tls_key
from vdb_coordinator.identity.renewal import MAX_RENEWALS
from vdb_coordinator.serving.clock import SystemClock
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_coordinator.store import schema
from vdb_coordinator.store.database import Database, read_database
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.presented import presented_certificate
from vdb_participant.site.institution import open_site
from vdb_participant.site.renewal import Keeper
from vdb_shared.identity import StatementKey
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import AdminServiceStub, MembershipServiceStub, SessionServiceStub
from vdb_shared.wire.status import Phase


@dataclass
class SlowClock(SystemClock):
    """A clock that is behind."""

    behind: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) - self.behind


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("renewal"), institutions=4) as running:
        yield running


def renew(coordinator: RunningCoordinator, identity: Identity, request: pb.RenewCertificateRequest) -> bytes:
    with coordinator.channel(identity) as channel:
        answer = MembershipServiceStub(channel).RenewCertificate(request, timeout=CALL)
    return bytes(answer.certificate_chain)


def renewed(coordinator: RunningCoordinator, identity: Identity) -> Identity:
    """Return an institution with a renewed certificate."""
    key = new_tls_key()
    chain = renew(coordinator, identity, renewal(identity, key))
    return replace(identity, tls_key=key_pem(key, None), certificate_chain=chain)


def may_call(coordinator: RunningCoordinator, identity: Identity) -> bool:
    with coordinator.channel(identity) as channel:
        try:
            SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
        except grpc.RpcError as error:
            return reason_of(error) != reasons.NOT_A_MEMBER
    return True


def audit(coordinator: RunningCoordinator, action: str = "renew certificate") -> list[tuple[str, str]]:
    home = coordinator.home
    query = select(schema.attempts).where(schema.attempts.c.action == action).order_by(schema.attempts.c.id)
    rows = read_database(home.database(home.read_config()), lambda connection: connection.execute(query).all())
    return [(row.who, row.outcome) for row in rows]


# Rotation without a dropped call.


@dataclass
class Caller(threading.Thread):
    """Calls without pause until it is stopped; keeps what went wrong."""

    call: Callable[[], object]
    calls: int = 0
    errors: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.call()
                self.calls += 1
            except BaseException as error:  # all of it is to be seen
                self.errors.append(error)
                return


def shown_by(address: str) -> x509.Certificate:
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=CALL) as connection:
        found = presented_certificate(connection, host)
    assert found is not None
    return found


def until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(1200):
        if condition():
            return
        waiting.wait(0.05)
    raise AssertionError("it never came")


def test_certificates_of_both_sides_rotate_and_no_call_fails(tmp_path: Path) -> None:
    """Three threads call on one connection, and a stream is open, while server and client change their certificates."""
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        session = coordinator.admin.create_session(small_spec())
        coordinator.settle(session)
        clock = SlowClock(timedelta(days=12))
        coordinator.clock = clock
        coordinator.restart()
        old_server = shown_by(coordinator.address)
        identity = aged(coordinator, coordinator.identities[0], days=12)
        site = write_site(tmp_path / "site", identity, coordinator.address)
        young = datetime.now(UTC) - timedelta(days=11)
        moment: list[datetime] = [young]
        keeper = replace(Keeper.of(site, no_passphrase), now=lambda: moment[0])
        paused: list[float] = []
        connection = Connection(
            site.config.address, site.tls, site.egress, renewal=keeper, pause=paused.append, find_proxy=_no_proxy
        )
        before = connection.tls.certificate_chain
        with Client(connection) as client:
            stream = SessionServiceStub(connection.channel).WatchSession(
                pb.WatchSessionRequest(session=session), timeout=3 * CALL
            )
            first = next(stream)
            old_channel = connection.channel
            threads = [Caller(client.sessions) for _ in range(3)]
            for thread in threads:
                thread.start()
            until(lambda: all(thread.calls > 3 for thread in threads))
            assert connection.tls.certificate_chain == before, "a third of its life is not over"
            clock.behind = timedelta()
            moment[0] = datetime.now(UTC)
            until(lambda: connection.tls.certificate_chain != before)
            counts = [thread.calls for thread in threads]
            until(lambda: all(thread.calls > count + 3 for thread, count in zip(threads, counts, strict=True)))
            assert connection.channel is not old_channel
            coordinator.admin.abort_session(session, "enough seen")
            last = [answer.status.phase for answer in stream][-1]
            for thread in threads:
                thread.stop.set()
                thread.join(CALL)
        assert Phase(first.status.phase) is Phase.ACCEPTING
        assert Phase(last) is Phase.ABORTED, "the stream outlived both certificates"
        assert [thread.errors for thread in threads] == [[], [], []]
        assert paused == [], "nothing was ever tried again"
        new_server = shown_by(coordinator.address)
        assert new_server.not_valid_before_utc > old_server.not_valid_before_utc + timedelta(days=11)
        assert open_site(site.folder, no_passphrase).tls == connection.tls
        assert sorted(path.name for path in site.folder.path.glob("*.pem")) == ["statement-key.pem", "tls.pem"]


def _no_proxy(host: str, port: int) -> None:
    return None


def test_the_old_certificate_is_good_until_it_ends(coordinator: RunningCoordinator) -> None:
    identity = aged(coordinator, coordinator.identities[0], days=12)
    again = renewed(coordinator, identity)
    assert may_call(coordinator, identity)
    assert may_call(coordinator, again)
    leaf = x509.load_pem_x509_certificates(again.certificate_chain)[0]
    leaf.verify_directly_issued_by(authority_of(coordinator.home).certificate)
    assert leaf.not_valid_after_utc - datetime.now(UTC) > timedelta(days=29)
    who, outcome = audit(coordinator)[-1]
    assert who == "spiffe://testbed/participant/site-0"
    assert outcome.startswith(f"until {leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}, sha256:")
    lines = {line.institution: line for line in coordinator.admin.enrolments()}
    assert lines["site-0"].certificate_expires == f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


def test_the_same_request_again_gets_the_same_certificate(coordinator: RunningCoordinator) -> None:
    """The answer was lost: neither a second certificate nor an error."""
    identity, key = coordinator.identities[1], new_tls_key()
    request = renewal(identity, key)
    entries = len(audit(coordinator))
    first = renew(coordinator, identity, request)
    assert renew(coordinator, identity, request) == first
    assert len(audit(coordinator)) == entries + 1


# Attacks.


def test_a_thief_of_the_tls_key_alone_gets_no_certificate(coordinator: RunningCoordinator) -> None:
    """It can call, as long as the stolen certificate lasts; it cannot make it last."""
    victim, key = coordinator.identities[1], new_tls_key()
    good = renewal(victim, key)
    forged = renewal(victim, key, StatementKey.generate())
    unsigned = pb.RenewCertificateRequest(certificate_request=good.certificate_request)
    for request in (forged, unsigned):
        assert refused(lambda request=request: renew(coordinator, victim, request)) == reasons.PROTOCOL  # type: ignore[misc]  # mypy sees no type for the default
        assert audit(coordinator)[-1][1].startswith("refused: signature of key")
    assert renew(coordinator, victim, good), "with the statement key's signature it works"


def test_what_a_member_signed_is_of_no_use_to_others(coordinator: RunningCoordinator) -> None:
    """Not under another certificate, in another name, in another consortium, or for another key."""
    victim, other = coordinator.identities[1], coordinator.identities[2]
    captured = renewal(victim, new_tls_key())
    other_certificate = aged(coordinator, victim, days=1)
    swapped = pb.RenewCertificateRequest(certificate_request=request_for(new_tls_key()), possession=captured.possession)
    elsewhere = renewal(victim, new_tls_key(), consortium="elsewhere")
    for caller, request in (
        (other, captured),
        (other_certificate, captured),
        (victim, swapped),
        (victim, elsewhere),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            renew(coordinator, caller, request)
        assert reason_of(caught.value) == reasons.PROTOCOL
    assert renew(coordinator, victim, captured), "the member itself gets its certificate"


def test_the_key_must_be_a_new_one(coordinator: RunningCoordinator) -> None:
    identity = renewed(coordinator, aged(coordinator, coordinator.identities[2], days=12))
    key = _key_of(identity)
    assert refused(lambda: renew(coordinator, identity, renewal(identity, key))) == reasons.INVALID
    nonsense = pb.RenewCertificateRequest(certificate_request=b"nonsense", possession=bytes(64))
    assert refused(lambda: renew(coordinator, identity, nonsense)) == reasons.INVALID


def _key_of(identity: Identity) -> EllipticCurvePrivateKey:
    key = load_pem_private_key(identity.tls_key, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return key


def test_leads_and_strangers_renew_nothing_here(coordinator: RunningCoordinator) -> None:
    admin = coordinator.admin
    stub = MembershipServiceStub(admin._channel)
    assert refused(lambda: stub.RenewCertificate(pb.RenewCertificateRequest(), timeout=CALL)) == reasons.NOT_A_MEMBER
    with coordinator.channel(coordinator.identities[2]) as channel:
        assert (
            refused(lambda: AdminServiceStub(channel).ListEnrolments(pb.ListEnrolmentsRequest(), timeout=CALL))
            == reasons.NOT_A_MEMBER
        )


def test_renewing_again_and_again_ends(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=2) as coordinator:
        identity, other = coordinator.identities
        for _ in range(MAX_RENEWALS):
            renewed(coordinator, identity)
        with pytest.raises(grpc.RpcError) as caught:
            renewed(coordinator, identity)
        assert reason_of(caught.value) == reasons.TOO_MUCH
        assert renewed(coordinator, other), "nobody else is in the way"


def test_who_is_revoked_cannot_renew_and_renewed_certificates_are_revoked_too(tmp_path: Path) -> None:
    """Also when the institution comes back under the same name, and after a restart."""
    with running_coordinator(tmp_path, institutions=3) as coordinator:
        identity = coordinator.identities[0]
        again = renewed(coordinator, identity)
        with coordinator.channel(again) as channel:
            stub = MembershipServiceStub(channel)
            coordinator.admin.revoke("site-0", "compromised", "")
            request = renewal(again, new_tls_key())
            assert refused(lambda: stub.RenewCertificate(request, timeout=CALL)) == reasons.NOT_A_MEMBER
        back = coordinator.enrol("site-0")
        for _ in range(2):
            assert [may_call(coordinator, who) for who in (identity, again, back)] == [False, False, True]
            for stolen in (identity, again):
                assert refused(lambda who=stolen: renewed(coordinator, who)) == reasons.NOT_A_MEMBER  # type: ignore[misc]  # mypy sees no type for the default
            coordinator.restart()


def test_a_restoration_revives_no_certificate_that_was_issued_since_the_backup(tmp_path: Path) -> None:
    """The attack: a renewed certificate, stolen, which the restored database does not know, after its owner came back."""
    with running_coordinator(tmp_path, institutions=3) as coordinator:
        back_up(coordinator, tmp_path / "backup")
        victim, honest = (renewed(coordinator, identity) for identity in coordinator.identities[:2])
        log = coordinator.home.log
    bring_back(tmp_path / "backup", tmp_path / "restored", log)
    with serving(tmp_path / "restored", coordinator) as restored:
        assert [may_call(restored, who) for who in (victim, honest)] == [True, True]
        restored.admin.revoke("site-0", "compromised", "")
        back = restored.enrol("site-0")
        for _ in range(2):
            assert [may_call(restored, who) for who in (victim, back, honest)] == [False, True, True]
            assert refused(lambda: renewed(restored, victim)) == reasons.NOT_A_MEMBER
            restored.restart()
        assert may_call(restored, renewed(restored, honest))


def test_fsck_looks_at_renewed_certificates(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=2) as coordinator:
        renewed(coordinator, coordinator.identities[0])
        home, identity = coordinator.home, coordinator.identities[0]
    elsewhere = replace(identity, statement_key=StatementKey.generate())
    under_another = aged(coordinator, elsewhere, days=0).certificate_chain
    database = Database(home.database(home.read_config()))
    try:
        found = {item.what: item.problem for item in look(Holdings(home, database))}
        assert found["members' certificates"] == ""
        other = database.run_now(lambda c: c.execute(select(schema.enrolments.c.certificate)).scalars().all())[-1]
        database.run_now(lambda c: c.execute(schema.renewals.update().values(certificate=other)))
        found = {item.what: item.problem for item in look(Holdings(home, database))}
        assert "one of site-0 names somebody else" in found["members' certificates"]
        database.run_now(lambda c: c.execute(schema.renewals.update().values(certificate=under_another)))
        found = {item.what: item.problem for item in look(Holdings(home, database))}
        assert "one of site-0 names somebody else" in found["members' certificates"]
        assert json.dumps(found)
    finally:
        database.close()


def test_a_renewal_is_in_the_journal_of_what_left(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    identity = aged(coordinator, coordinator.identities[3], days=12)
    site = write_site(tmp_path / "site", identity, coordinator.address)
    connection = Connection(
        site.config.address, site.tls, site.egress, renewal=Keeper.of(site, no_passphrase), find_proxy=_no_proxy
    )
    with Client(connection) as client:
        client.sessions()
    sent: list[Any] = [entry.departure.what for entry in site.egress.read().entries]
    assert sent == [
        "TLS with our certificate",
        "/vdb.v1.SessionService/ListSessions",
        "/vdb.v1.ProtocolService/Negotiate",
        "/vdb.v1.MembershipService/RenewCertificate",
    ]
    assert open_site(site.folder, no_passphrase).tls == connection.tls
