"""Certificates that are expired, not valid yet, exchanged, another consortium's, or new, shown while a session goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509

from testkit.coordinator import CALL, CONSORTIUM, Identity, RunningCoordinator, secure_channel
from testkit.crowd import crowd
from testkit.faults.crew import MEMBERS, SPEC, Crew
from testkit.faults.outcomes import Outcome
from testkit.members import TestMember
from testkit.playing import STEPS
from testkit.proxies import tls_server
from testkit.renewing import member_of
from vdb_coordinator.identity.ca import LEAF_LIFETIME, CertificateAuthority, spiffe_id
from vdb_coordinator.identity.keys import key_pem, new_tls_key, read_tls_key
from vdb_participant.network.diagnosis import check_own_certificate
from vdb_shared.errors import IdentityError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import SessionServiceStub

PART: Final = "certificates"
_QUICK: Final = 2.0
"""Seconds for a call that is to fail."""


def _issued(coordinator: RunningCoordinator, identity: Identity, off: timedelta) -> Identity:
    """Return a member with a new key and a certificate that was issued when a clock was off."""
    home, key = coordinator.home, new_tls_key()
    certificate = x509.load_pem_x509_certificate(home.ca_certificate.read_bytes())
    authority = CertificateAuthority(certificate, read_tls_key(home.key("ca"), None))
    chain = authority.issue_participant(key.public_key(), member_of(identity), datetime.now(UTC) + off) + authority.pem
    return replace(identity, tls_key=key_pem(key, None), certificate_chain=chain)


def _foreign(coordinator: RunningCoordinator, identity: Identity) -> Identity:
    """Return a member with a certificate of the same name from an authority of the same name, which is another."""
    authority, _ = CertificateAuthority.create(CONSORTIUM, datetime.now(UTC))
    key = new_tls_key()
    name = spiffe_id(CONSORTIUM, "participant", identity.institution)
    chain = authority.issue_client(key.public_key(), name, datetime.now(UTC)) + authority.pem
    return replace(identity, tls_key=key_pem(key, None), certificate_chain=chain)


Make = Callable[[RunningCoordinator, Identity, Identity], Identity]
"""From a coordinator, a member and another one to who shows the certificate."""

SHOWN: Final[dict[str, Make]] = {
    "an expired certificate": lambda here, one, _: _issued(here, one, -LEAF_LIFETIME - timedelta(hours=2)),
    "a certificate that is not valid yet": lambda here, one, _: _issued(here, one, timedelta(hours=2)),
    "a certificate of another authority": lambda here, one, _: _foreign(here, one),
    "a certificate with another's key": lambda _, one, other: replace(one, tls_key=other.tls_key),
    "another's certificate and key": lambda _, one, other: replace(
        one, tls_key=other.tls_key, certificate_chain=other.certificate_chain
    ),
}
RENEWED: Final = "a new certificate in the middle"
IMPOSTOR: Final = "a coordinator with a certificate of another authority"
FAULTS: Final = (*SHOWN, RENEWED, IMPOSTOR)


def suffer(fault: str, folder: Path) -> Outcome:
    """Return what becomes of a session while a certificate is shown that must be refused, or one that must be taken."""
    outcome = Outcome(PART, fault, ended="refused; published" if fault != RENEWED else "published")
    coordinator = RunningCoordinator(folder / "coordinator")
    identities = crowd(coordinator, MEMBERS)
    coordinator.start()
    session = coordinator.admin.create_session(SPEC)
    crew = Crew(coordinator, identities, session)
    if fault == RENEWED:
        _renew_before(crew.members[0], STEPS[2], _issued(coordinator, identities[0], timedelta(0)))
    with crew:
        if fault in SHOWN:
            outcome.broken += _refused(coordinator, SHOWN[fault](coordinator, *identities[:2]), session)
        elif fault == IMPOSTOR:
            outcome.broken += _not_fooled(coordinator, folder)
        bundle, broken = crew.finish()
        coordinator.stop()
        outcome.broken += broken
        if bundle is not None:
            outcome.broken += crew.compare(coordinator, bundle)
    return outcome


def _renew_before(member: TestMember, step: str, identity: Identity) -> None:
    """Let a member show another certificate from a step on; its own thread changes it, as nobody else may close its channel."""
    send = getattr(member, step)

    def renewed() -> object:
        member.identity = identity
        member.reconnect()
        return send()

    setattr(member, step, renewed)


def _refused(coordinator: RunningCoordinator, identity: Identity, session: str) -> Iterator[str]:
    """Yield what somebody may do who shows this certificate, in the name of the member whose statement key it has."""
    try:
        check_own_certificate(identity.certificate_chain, datetime.now(UTC))
        says_so = False
    except IdentityError:
        says_so = True
    begins, ends = _validity(identity)
    if says_so == (begins <= datetime.now(UTC) <= ends):
        yield "an agent does not see whether its own certificate is valid"
    with TestMember(coordinator, identity, session) as member:
        try:
            member.join(witnessing=False)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED):
                yield f"was not refused, but {error.code().name}: {error.details()}"
            return
    yield "was let in"


def _validity(identity: Identity) -> tuple[datetime, datetime]:
    certificate = x509.load_pem_x509_certificate(identity.certificate_chain)
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _not_fooled(coordinator: RunningCoordinator, folder: Path) -> Iterator[str]:
    """Yield whether a member talks to a server whose certificate is of another authority."""
    authority, _ = CertificateAuthority.create(CONSORTIUM, datetime.now(UTC))
    key, one = new_tls_key(), coordinator.identities[0]
    chain = authority.issue_server(
        key.public_key(), spiffe_id(CONSORTIUM, "coordinator", "coordinator"), ("127.0.0.1",), datetime.now(UTC)
    )
    with (
        tls_server(folder, chain + authority.pem, key_pem(key, None)) as address,
        secure_channel(address, one.ca_certificate, one.tls_key, one.certificate_chain) as channel,
    ):
        try:
            SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and "CERTIFICATE_VERIFY_FAILED" in (error.details() or ""):
                return
            yield f"a member says {error.code().name} of it: {error.details()}"
            return
    yield "a member talked to it"
