"""A relay whose certificate is due, its site, and a coordinator that certifies; honest until a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import grpc
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from testkit.recorded import Recorded
from vdb_coordinator.identity.ca import CertificateAuthority, parse_request, spiffe_id
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.offline.channel import Carriage
from vdb_participant.offline.files import (
    Answer,
    Parties,
    Reply,
    Request,
    decode_request,
    encode_answer,
)
from vdb_participant.offline.mailbox import Mailbox, answer_name
from vdb_participant.offline.relay_certificate import CertificateKeeper
from vdb_participant.offline.relay_folder import RelayFile, RelayFolder
from vdb_participant.offline.renewing import RENEW, RenewalSigner
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.keys import (
    decode_tls_key,
    generate_tls_key,
    same_public_key,
)
from vdb_participant.site.tls_files import read_pair
from vdb_shared.canonical import encode_base64
from vdb_shared.errors import UnreachableError
from vdb_shared.identity import StatementKey
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import InvitationFile
from vdb_shared.wire.versions import CERTIFICATE_RENEWAL, CURRENT, Agreement

NOW = datetime.now(UTC)
NAME = spiffe_id("testbed", "participant", "clinic")
PARTIES = Parties("testbed", "clinic")
SITE, RELAY = (StatementKey.from_seed(bytes([number]) * 32) for number in (1, 2))
LIST = "/vdb.v1.SessionService/ListSessions"


@dataclass
class Office:
    """An authority, a coordinator that certifies by it, a relay of twelve days, and the site behind it."""

    path: Path
    authority: CertificateAuthority
    name: str = NAME
    issued: datetime = NOW
    lifetime: timedelta = timedelta(days=30)
    key: EllipticCurvePublicKey | None = None
    answering: CertificateAuthority | None = None
    capabilities: frozenset[str] = frozenset({CERTIFICATE_RENEWAL})
    away: bool = False
    asked: list[pb.RenewCertificateRequest] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    replaced: int = 0

    @property
    def relay(self) -> StateFolder:
        return StateFolder(self.path / "relay")

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.path / "site")

    def keeper(self) -> CertificateKeeper:
        invitation = InvitationFile(
            consortium="testbed",
            address="localhost:1",
            institution="clinic",
            ca_certificate=self.authority.pem.decode(),
            root_fingerprint="sha256:" + "0" * 64,
            token="0" * 64,
            bootstrap_certificate="-----BEGIN ",
            bootstrap_key="-----BEGIN ",
            expires="2026-01-31T12:00:00Z",
        )
        file = RelayFile(invitation=encode_base64(invitation.encode()), certificate_request="")
        connect = cast(Callable[[], Connection], lambda: self)
        return CertificateKeeper(RelayFolder(self.relay.path), file, connect, self._replaced, self.said.append)

    def signer(self) -> RenewalSigner:
        config = ConfigFile(
            consortium="testbed",
            institution="clinic",
            address="localhost:1",
            root_fingerprint="sha256:" + "0" * 64,
            ca_certificate=self.authority.pem.decode(),
            spiffe_id=NAME,
        )
        return RenewalSigner(self.state, config, SITE)

    def chain(self, days: float = 12, name: str = NAME, authority: CertificateAuthority | None = None) -> bytes:
        """Return a certificate of so many days for a key of its own."""
        issuer, key = authority or self.authority, generate_tls_key()
        return issuer.issue_client(key.public_key(), name, NOW - timedelta(days=days)) + issuer.pem

    def pair(self) -> bytes:
        """Return the relay's chain, after checking that its key belongs to it."""
        key, chain = read_pair(self.relay)
        assert same_public_key(chain, decode_tls_key(key, None).public_key())
        return chain

    def _replaced(self) -> None:
        self.replaced += 1

    # What a keeper uses of a connection.

    def agreement(self) -> Agreement:
        return Agreement(CURRENT, self.capabilities)

    @property
    def channel(self) -> grpc.Channel:
        return cast(grpc.Channel, self)

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Callable[..., pb.RenewCertificateResponse]:
        assert method == RENEW
        return self._answer

    def attempt(self, call: Callable[[], Any], *, patient: bool = True) -> Any:
        if self.away:
            raise UnreachableError("the coordinator is away")
        return call()

    def _answer(self, request: pb.RenewCertificateRequest, timeout: float) -> pb.RenewCertificateResponse:
        self.asked.append(request)
        authority = self.answering or self.authority
        leaf = authority.issue_client(
            self.key or parse_request(request.certificate_request), self.name, self.issued, self.lifetime
        )
        return pb.RenewCertificateResponse(certificate_chain=leaf + authority.pem)


@dataclass
class Desk:
    """The site's calls as files, and whoever answers them."""

    office: Office
    egress: Recorded = field(default_factory=Recorded)

    def client(self) -> Client:
        stick = self.office.path / "stick"
        box = Mailbox(self.office.state.offline, stick, PARTIES, SITE, RELAY.public_key)
        return Client(Carriage("127.0.0.1:1", box, self.egress, self.office.signer()))

    def request(self) -> tuple[Request, str]:
        place = sorted((self.office.path / "stick" / "outbox").iterdir())[-1]
        return decode_request(place.read_bytes(), PARTIES, SITE.public_key)

    def answer(self, *more: Reply) -> None:
        request, digest = self.request()
        replies = [Reply(call.method, call.digest, (b"",)) for call in request.calls if call.method == LIST]
        found = Answer(request.number, digest, (*more, *replies))
        place = self.office.path / "stick" / "inbox" / answer_name(PARTIES, request.number)
        place.write_bytes(encode_answer(found, PARTIES, RELAY))
