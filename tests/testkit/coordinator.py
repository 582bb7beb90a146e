"""A running coordinator with approved institutions: real gRPC, mutual TLS, SQLite, on loopback, ended cleanly.

    with running_coordinator(tmp_path, institutions=5) as coordinator:
        session = coordinator.admin.create_session(spec)
        identity = coordinator.identities[0]
        stub = SessionServiceStub(coordinator.channel(identity))

The server runs in a thread with an event loop of its own, so that synchronous stubs and agents can be tested against it.
`restart` stops it and starts it again on the same directory and port; `expire` lets a deadline pass without waiting for it.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from vdb_coordinator.commands.administration import Administration
from vdb_coordinator.config import Home
from vdb_coordinator.identity.founding import found, new_config
from vdb_coordinator.identity.keys import key_pem
from vdb_coordinator.serving.clock import Clock, SystemClock
from vdb_coordinator.serving.log import make_log
from vdb_coordinator.serving.server import Server, read_keys
from vdb_coordinator.states import duty_of, phase_of
from vdb_shared import labels
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import VdbError
from vdb_shared.identity import StatementKey
from vdb_shared.roster import SignedRoster
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import InvitationFile, parse_invitation, possession_body
from vdb_shared.wire.federation_pb2_grpc import EnrolmentServiceStub

CONSORTIUM = "testbed"
CALL = 20.0
"""Seconds a call may take before a test is taken to hang."""

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """An approved institution with its keys."""

    institution: str
    seat: int
    statement_key: StatementKey = field(repr=False)
    tls_key: bytes = field(repr=False)
    certificate_chain: bytes
    ca_certificate: bytes
    root_fingerprint: str
    roster: SignedRoster


@dataclass(frozen=True)
class Applicant:
    """An institution with an invitation: its keys and what it sends to enrol."""

    invitation: InvitationFile
    statement_key: StatementKey
    tls_key: EllipticCurvePrivateKey
    request: bytes

    @classmethod
    def of(cls, invitation: InvitationFile) -> Applicant:
        """Return an applicant with fresh keys."""
        key = generate_private_key(SECP256R1())
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
        return cls(invitation, StatementKey.generate(), key, csr.public_bytes(Encoding.DER))

    def enrol_request(self, **changes: Any) -> pb.EnrolRequest:
        """Return the request, with some fields changed after it was signed."""
        institution, token = self.invitation.institution, self.invitation.token_bytes
        body = possession_body(token, institution, self.request)
        fields = {
            "institution": institution,
            "token": token,
            "certificate_request": self.request,
            "statement_key": self.statement_key.public_key.raw,
            "possession": self.statement_key.sign(labels.TYPE_POSSESSION, body),
        }
        return pb.EnrolRequest(**{**fields, **changes})

    def channel(self, address: str) -> grpc.Channel:
        """Return a channel under the invitation's bootstrap certificate."""
        invitation = self.invitation
        ca = invitation.ca_certificate.encode()
        return secure_channel(
            address, ca, invitation.bootstrap_key.encode(), invitation.bootstrap_certificate.encode() + ca
        )


class RunningCoordinator:
    """A coordinator's directory, founded if it is not there, and the server that serves it while it runs."""

    def __init__(self, path: Path, clock: Clock | None = None, database: str | None = None) -> None:
        self.home = Home(path)
        self.clock = clock or SystemClock()
        self.log = io.StringIO()
        self.identities: list[Identity] = []
        if not path.exists():
            config = new_config(CONSORTIUM, "127.0.0.1:0", "127.0.0.1:0", database)
            found(self.home, config, None, datetime.now(UTC))
        self.root_fingerprint = sha256_digest(self.home.root.read_bytes())
        self.address = "127.0.0.1:0"
        self._thread: _LoopThread | None = None
        self._server: Server | None = None
        self._admin: Administration | None = None

    @property
    def admin(self) -> Administration:
        """The lead's connection."""
        if self._admin is None:
            self._admin = Administration(self.home, None)
        return self._admin

    def start(self) -> None:
        """Serve, on the port of last time if there was one."""
        self._thread = _LoopThread()
        try:
            self._server = self._thread.call(self._serve())
        except VdbError:
            self._thread.end()
            self._thread = None
            raise
        self.address = self._server.address

    def stop(self, grace: float = 0.5) -> None:
        """Stop in good order."""
        self._close_admin()
        if self._thread is not None and self._server is not None:
            self._thread.call(self._server.stop(grace))
            self._thread.end()
        self._thread = self._server = None

    def restart(self) -> None:
        """Stop and start again on the same directory and port."""
        self.stop()
        self.start()

    def settle(self, session: str) -> None:
        """Return once the coordinator owes a session nothing more before others act."""
        if self._thread is None or self._server is None:
            raise AssertionError("the coordinator does not run")
        self._thread.call(self._settle(self._server, session))

    def expire(self, session: str) -> None:
        """Let the deadline of a session's present phase pass."""
        if self._thread is None or self._server is None:
            raise AssertionError("the coordinator does not run")
        self._thread.call(self._expire(self._server, session))

    def invite(self, institution: str) -> Applicant:
        """Return an institution with an invitation."""
        return Applicant.of(parse_invitation(self.admin.invite(institution)))

    def enrol(self, institution: str) -> Identity:
        """Invite, enrol and approve an institution."""
        applicant = self.invite(institution)
        with applicant.channel(self.address) as channel:
            stub = EnrolmentServiceStub(channel)
            stub.Enrol(applicant.enrol_request(), timeout=CALL)
            seat, _ = self.admin.approve(institution, applicant.statement_key.public_key.key_id)
            request = pb.GetEnrolmentRequest(institution=institution, token=applicant.invitation.token_bytes)
            enrolment = convert.enrolment_from_wire(stub.GetEnrolment(request, timeout=CALL))
        if enrolment is None:
            raise AssertionError("approved, but not told so")
        identity = Identity(
            institution=institution,
            seat=seat,
            statement_key=applicant.statement_key,
            tls_key=key_pem(applicant.tls_key, None),
            certificate_chain=enrolment.certificate_chain,
            ca_certificate=applicant.invitation.ca_certificate.encode(),
            root_fingerprint=applicant.invitation.root_fingerprint,
            roster=enrolment.roster,
        )
        self.identities.append(identity)
        return identity

    def channel(self, identity: Identity) -> grpc.Channel:
        """Return a channel of an institution; the caller closes it."""
        return secure_channel(self.address, identity.ca_certificate, identity.tls_key, identity.certificate_chain)

    async def _serve(self) -> Server:
        server = Server(self.home, read_keys(self.home, None), make_log(as_json=True, stream=self.log), self.clock)
        try:
            await server.start(self.address)
        except VdbError:
            await server.stop(0)
            raise
        return server

    async def _settle(self, server: Server, session: str) -> None:
        live = await server.conductor.find(session)
        while duty_of(live.state) is not None:
            await live.news().wait()
        await server.conductor.look_at_members()  # and the log says what happened

    async def _expire(self, server: Server, session: str) -> None:
        live = await server.conductor.find(session)
        await server.conductor.expire(live, phase_of(live.state))

    def _close_admin(self) -> None:
        if self._admin is not None:
            self._admin.__exit__(None, None, None)
            self._admin = None


class _LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="coordinator", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def secure_channel(address: str, ca: bytes, key: bytes | None, chain: bytes | None) -> grpc.Channel:
    """Return a channel that shares no connection with others."""
    credentials = grpc.ssl_channel_credentials(ca, key, chain)
    return grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)])


@contextmanager
def running_coordinator(
    path: Path, institutions: int = 0, clock: Clock | None = None, database: str | None = None
) -> Iterator[RunningCoordinator]:
    """Yield a coordinator that serves `path`/coordinator and has so many approved institutions, site-0, site-1, …"""
    coordinator = RunningCoordinator(path / "coordinator", clock, database)
    coordinator.start()
    try:
        for number in range(institutions):
            coordinator.enrol(f"site-{number}")
        yield coordinator
    finally:
        coordinator.stop()
