"""The coordinator's process: one port, mutual TLS, all services, and what must be renewed while it runs.

Promises that only one process serves a directory or a database, that certificates and the roster's signature never lapse while
it runs, and that stopping loses nothing that was acknowledged.

Source: protos/README.md §11.1.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc_health.v1 import health_pb2_grpc
from structlog.typing import FilteringBoundLogger

import vdb_shared
from vdb_coordinator.config import ConfigFile, Home, join_address, split_address
from vdb_coordinator.duties import Coordinator
from vdb_coordinator.files import DirectoryLock, read_file, which_file, write_durably
from vdb_coordinator.identity.ca import CertificateAuthority, spiffe_id
from vdb_coordinator.identity.enrolment import Consortium, Enrolments
from vdb_coordinator.identity.founding import renew_admin_certificate
from vdb_coordinator.identity.keys import read_tls_key
from vdb_coordinator.identity.renewal import Renewals
from vdb_coordinator.identity.roster_key import read_roster_key
from vdb_coordinator.identity.rosters import RosterAuthority
from vdb_coordinator.identity.tls import TlsIdentity
from vdb_coordinator.service.admin import AdminServicer, Surroundings
from vdb_coordinator.service.aggregation import AggregationServicer
from vdb_coordinator.service.approvals import Approvals
from vdb_coordinator.service.boundary import Boundary
from vdb_coordinator.service.compatibility import PROGRAM
from vdb_coordinator.service.enrolment import EnrolmentServicer
from vdb_coordinator.service.health import Health
from vdb_coordinator.service.membership import MembershipServicer, ProtocolServicer
from vdb_coordinator.service.sessions import SessionServicer
from vdb_coordinator.service.transparency import LogServicer
from vdb_coordinator.service.uploads import Uploads
from vdb_coordinator.serving import limits
from vdb_coordinator.serving.auditing import Auditing
from vdb_coordinator.serving.clock import Clock, SystemClock
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.failpoints import Failpoints
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.serving.http import HttpServer
from vdb_coordinator.serving.log_server import LogServer
from vdb_coordinator.serving.metrics_server import serve_metrics
from vdb_coordinator.serving.objections import Objections
from vdb_coordinator.serving.services import Services
from vdb_coordinator.serving.transparency import TransparencyLog
from vdb_coordinator.store.blobs import BlobStore, UploadStore
from vdb_coordinator.store.database import Database
from vdb_shared.bundle.logged import log_origin
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import IdentityError, StoreError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.wire import federation_pb2_grpc
from vdb_shared.wire.versions import Version

UPKEEP_SECONDS: Final = 15.0
"""Pause between looks at the database and at what must be renewed."""

SERVICES: Final = (
    "",
    "vdb.v1.ProtocolService",
    "vdb.v1.EnrolmentService",
    "vdb.v1.MembershipService",
    "vdb.v1.SessionService",
    "vdb.v1.LogService",
    "vdb.v1.AggregationService",
    "vdb.v1.AdminService",
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The private keys that a serving process holds."""

    ca: EllipticCurvePrivateKey = field(repr=False)
    roster: Ed25519PrivateKey = field(repr=False)
    statement: StatementKey = field(repr=False)


def read_keys(home: Home, passphrase: bytes | None) -> Keys:
    """Return the keys in a directory.

    Raises:
        IdentityError, UsageError: one is missing or not the one that the trust root names, or the passphrase is wrong.
    """
    return Keys(
        read_tls_key(home.key("ca"), passphrase),
        read_roster_key(home, passphrase),
        StatementKey.from_pem(read_file(home.key("statement")), passphrase),
    )


class Server:
    """A coordinator that serves; `start`, then `wait`, then `stop`."""

    def __init__(
        self,
        home: Home,
        keys: Keys,
        log: FilteringBoundLogger,
        clock: Clock | None = None,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._home = home
        self._config: ConfigFile = home.read_config()
        self._clock = clock or SystemClock()
        self._log = log
        # A database that others can reach locks itself, so that a second coordinator may wait beside the first.
        self._lock = DirectoryLock(home.lock) if self._config.database is None else None
        self._port = 0
        self._database = Database(home.database(self._config))
        certificate = x509.load_pem_x509_certificate(read_file(home.ca_certificate))
        self._authority = CertificateAuthority(certificate, keys.ca)
        rosters = RosterAuthority(home.read_roots(), keys.roster)
        consortium = Consortium(self._config.consortium, self._authority, rosters)
        self._enrolments = Enrolments(consortium, self._database, self._clock, log)
        self._renewals = Renewals(consortium, self._database, self._clock)
        self._uploads = UploadStore(home.uploads)
        failpoints = failpoints or Failpoints()
        history = SessionHistory(self._database, BlobStore(home.blobs), failpoints)
        coordinator = Coordinator(keys.statement, history.blob)
        self._transparency = TransparencyLog(
            self._database, home.log, log_origin(self._config.consortium), keys.statement, failpoints
        )
        services = Services(
            coordinator,
            history,
            self._database,
            self._uploads,
            self._transparency,
            self._clock,
            log,
            self._enrolments.is_member,
            failpoints=failpoints,
        )
        self.conductor = Conductor(services)
        self._objections = Objections(self.conductor, services)
        self._services = services
        self._auditing = Auditing(
            self._database,
            home.audit_end,
            self._config.consortium,
            keys.statement,
            self._clock,
            services.metrics.take_refused,
        )
        self._http: list[HttpServer] = []
        self._health = Health(SERVICES)
        self._grpc: grpc.aio.Server | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._admin_problem = ""
        self._bound: tuple[int, ...] | None = None

    @property
    def address(self) -> str:
        """What institutions connect to; port 0 in the configuration stands for the one that was bound."""
        host, port = split_address(self._config.address)
        return join_address(host, port or self._port)

    async def start(self, listen: str | None = None) -> None:
        """Bring the database up to date, go on with open sessions, and listen; first wait for the end of who serves them now.

        Raises:
            UsageError: the port is taken.
            StoreError: the database or a session's log is damaged.
        """
        await self._database.open(lambda: self._log.info("another coordinator serves; waiting to take over"))
        await self._enrolments.roster()
        await self._auditing.start(*self._words())
        self._renew_admin_certificate()
        await self.conductor.start()
        write_durably(self._home.log_key, f"{self._transparency.key}\n".encode())
        if self._config.log_listen is not None:
            self._http.append(LogServer(self._home.log, self._config.log_listen))
            self._log.info("serving the log", address=self._http[-1].address)
        if self._config.metrics_listen is not None:
            self._http.append(serve_metrics(self._services.metrics, self._config.metrics_listen))
            self._log.info("serving metrics", address=self._http[-1].address)
        host, port = split_address(listen or self._config.listen)
        self._grpc = self._build()
        try:
            self._port = self._grpc.add_secure_port(join_address(host, port), self._tls(host).credentials())
        except RuntimeError as error:
            raise UsageError(
                f"cannot listen on {join_address(host, port)}: is another program there? End it, or choose another "
                "address with --listen, or in coordinator.toml"
            ) from error
        await self._grpc.start()
        write_durably(self._home.bound, join_address(_reachable(host), self._port).encode())
        self._bound = which_file(self._home.bound)
        self._upkeep = asyncio.ensure_future(self._keep_up())
        self._log.info("serving", address=self.address)

    async def wait(self) -> None:
        """Return when the server was stopped."""
        if self._grpc is not None:
            await self._grpc.wait_for_termination()

    async def stop(self, grace: float = 2.0) -> None:
        """Stop taking calls, finish what was begun, close the database; no peer can make any of it wait."""
        if self._upkeep is not None:
            self._upkeep.cancel()
        for server in self._http:
            await asyncio.to_thread(server.stop)
        self._show_health(serving=False)
        if self._grpc is not None:
            await self._grpc.stop(grace)
        await self.conductor.stop()
        if self._bound is not None and which_file(self._home.bound) == self._bound:  # else it is our successor's
            self._home.bound.unlink(missing_ok=True)
        await self._end_records()
        await asyncio.to_thread(self._database.close)
        if self._lock is not None:
            self._lock.release()
        if self._upkeep is not None:
            self._log.info("stopped", address=self.address)

    def _words(self) -> tuple[str, list[str]]:
        """Return what the audit log says of this start: who may order what, alone or with others."""
        roots = self._home.read_roots()
        root = f"root version {len(roots)} {sha256_digest(roots[-1])}"
        admins = [f"admin {name}" for name in self._config.admins]
        return f"{PROGRAM} {vdb_shared.__version__}, {root}, ", [*admins, *self._config.approvals.words()]

    async def _end_records(self) -> None:
        """Publish what the log lacks and write down that we stop in good order, if we ever served.

        A storage that refuses is no reason not to stop.
        """
        if self._upkeep is None:
            return
        try:
            await self._transparency.publish()
            await self._auditing.keep_up(stopping=True)
        except StoreError as error:
            self._log.error("storage refuses", error=str(error))

    def _build(self) -> grpc.aio.Server:
        metrics = self._services.metrics
        metrics.look_at(
            self.conductor.phases, lambda: len(self._enrolments.members.participants), lambda: self._transparency.size
        )
        oldest = Version.parse(self._config.oldest_protocol)
        boundary = Boundary(
            lambda: self._enrolments.members, self._config.admins, self._enrolments.may_call, metrics, self._log, oldest
        )
        server = grpc.aio.server(
            interceptors=[boundary], options=limits.OPTIONS, maximum_concurrent_rpcs=limits.MAX_CALLS
        )
        federation_pb2_grpc.add_ProtocolServiceServicer_to_server(ProtocolServicer(oldest), server)
        federation_pb2_grpc.add_MembershipServiceServicer_to_server(MembershipServicer(self._renewals), server)
        federation_pb2_grpc.add_EnrolmentServiceServicer_to_server(
            EnrolmentServicer(self._enrolments, self._config.consortium), server
        )
        federation_pb2_grpc.add_SessionServiceServicer_to_server(SessionServicer(self.conductor), server)
        federation_pb2_grpc.add_LogServiceServicer_to_server(LogServicer(self.conductor, self._objections), server)
        aggregation = AggregationServicer(self.conductor, Uploads(self.conductor, self._uploads, metrics))
        federation_pb2_grpc.add_AggregationServiceServicer_to_server(aggregation, server)
        approvals = Approvals(self._config.approvals, self._config.consortium, self._database, self._clock)
        surroundings = Surroundings(lambda: self.address, boundary.dismiss)
        self._admin = AdminServicer(self.conductor, self._objections, self._enrolments, approvals, surroundings)
        federation_pb2_grpc.add_AdminServiceServicer_to_server(self._admin, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    def _tls(self, listen_host: str) -> TlsIdentity:
        public_host, _ = split_address(self._config.address)
        hosts = (public_host, _reachable(listen_host), "localhost", "127.0.0.1", "::1")
        name = spiffe_id(self._config.consortium, "coordinator", self._config.name)
        return TlsIdentity(self._authority, name, hosts, self._clock)

    async def _keep_up(self) -> None:
        """Renew what nears expiry, and show whether the database can be written; after an error go on at the next look."""
        while True:
            try:
                await self._look_after_all()
            except StoreError as error:
                self._services.metrics.storage(works=False)
                self._show_health(serving=False)
                self._log.error("storage refuses", error=str(error))
            except Exception as error:  # whatever it is: nobody would be told that nothing is renewed any more
                self._show_health(serving=False)
                self._log.critical("upkeep failed", error=repr(error))
            await self._until_next_look()

    async def _look_after_all(self) -> None:
        await self._database.beat(self._clock.now())
        self._services.metrics.storage(works=True)
        await self._admin.look_at_roster()
        await self._transparency.publish()
        await self.conductor.drive_all()
        await self._auditing.keep_up()
        self._renew_admin_certificate()
        self._show_health(serving=True)

    async def _until_next_look(self) -> None:
        """Wait; not any longer when the database turns out to have fallen back, which is told at once."""
        if self._database.fallen_back.is_set():
            await asyncio.sleep(UPKEEP_SECONDS)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._database.fallen_back.wait(), UPKEEP_SECONDS)

    def _renew_admin_certificate(self) -> None:
        """Renew the lead's certificate; one that cannot be is told once, and keeps nobody else from being served."""
        problem = ""
        try:
            renew_admin_certificate(self._home, self._authority, self._config.admins[0], self._clock.now())
        except (UsageError, IdentityError) as error:
            problem = str(error)
        if problem and problem != self._admin_problem:
            self._log.warning("the lead's certificate is not renewed", error=problem)
        self._admin_problem = problem

    def _show_health(self, *, serving: bool) -> None:
        self._health.show(serving=serving and not self._database.fallen_back.is_set())


def _reachable(host: str) -> str:
    """Return where a local program reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
