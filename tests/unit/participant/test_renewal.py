"""Renewing a certificate on the site's own disk: killed anywhere, answered wrongly, twice at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from testkit.failing_disk import FailingDisk, KilledError
from testkit.recorded import Recorded
from vdb_coordinator.identity.ca import CertificateAuthority, parse_request, spiffe_id
from vdb_coordinator.identity.keys import new_tls_key
from vdb_participant.network.connection import Connection
from vdb_participant.site import tls_files
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.failpoints import Failpoints, Place
from vdb_participant.site.keys import (
    TlsIdentity,
    certificate_digest,
    decode_tls_key,
    encode_tls_key,
    generate_tls_key,
    same_public_key,
)
from vdb_participant.site.renewal import Keeper, renewal_time
from vdb_participant.site.storage import write_durably
from vdb_participant.site.tls_files import only_one, read_pair
from vdb_shared import labels
from vdb_shared.errors import IdentityError, StoreError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import renewal_body

NOW = datetime.now(UTC)
NAME = spiffe_id("testbed", "participant", "clinic")
SECRET = b"correct horse"


@dataclass(frozen=True)
class Dying(Failpoints):
    """Ends at one place."""

    place: str = ""

    def reach(self, place: Place) -> None:
        if place == self.place:
            raise KilledError(place)


@dataclass
class Office:
    """An authority that certifies whoever asks, and the site that asks it."""

    authority: CertificateAuthority
    keeper: Keeper
    tls: TlsIdentity
    asked: list[pb.RenewCertificateRequest] = field(default_factory=list)
    name: str = NAME
    issued: datetime = NOW
    lifetime: timedelta = timedelta(days=30)
    key: EllipticCurvePublicKey | None = None
    answering: CertificateAuthority | None = None

    def answer(self, request: pb.RenewCertificateRequest) -> pb.RenewCertificateResponse:
        self.asked.append(request)
        key = self.key or parse_request(request.certificate_request)
        authority = self.answering or self.authority
        leaf = authority.issue_client(key, self.name, self.issued, self.lifetime)
        return pb.RenewCertificateResponse(certificate_chain=leaf + authority.pem)

    @property
    def folder(self) -> StateFolder:
        return self.keeper.folder

    def pair(self) -> tuple[bytes, bytes]:
        """Return key (plain) and chain, after checking that they belong together and that the key is encrypted."""
        key_pem, chain = read_pair(self.folder)
        assert b"ENCRYPTED" in key_pem
        key = decode_tls_key(key_pem, SECRET)
        assert same_public_key(chain, key.public_key())
        return encode_tls_key(key, None), chain


@pytest.fixture
def office(tmp_path: Path) -> Office:
    authority, _ = CertificateAuthority.create("testbed", NOW - timedelta(days=100))
    folder, key, signer = StateFolder(tmp_path / "state"), generate_tls_key(), StatementKey.generate()
    leaf = authority.issue_client(key.public_key(), NAME, NOW - timedelta(days=12))
    chain = leaf + authority.pem
    write_durably(folder.tls_key, encode_tls_key(key, SECRET))
    write_durably(folder.certificate, chain)
    config = ConfigFile(
        consortium="testbed",
        institution="clinic",
        address="localhost:1",
        root_fingerprint="sha256:" + "0" * 64,
        ca_certificate=authority.pem.decode(),
        spiffe_id=NAME,
    )
    tls = TlsIdentity(chain, encode_tls_key(key, None), authority.pem)
    return Office(authority, Keeper(folder, config, signer, lambda: SECRET), tls)


def test_a_renewed_pair_is_one_file_and_what_it_replaced_is_gone(office: Office) -> None:
    fresh = office.keeper.renewed(office.tls, office.answer)
    assert office.pair() == (fresh.private_key, fresh.certificate_chain)
    assert fresh.private_key != office.tls.private_key
    assert sorted(path.name for path in office.folder.path.iterdir()) == ["tls.lock", "tls.pem"]
    assert {path.stat().st_mode & 0o077 for path in office.folder.path.iterdir()} == {0}
    (request,) = office.asked
    digest = certificate_digest(office.tls.certificate_chain)
    body = renewal_body("testbed", "clinic", digest, request.certificate_request)
    office.keeper.signer.public_key.verify(labels.TYPE_RENEWAL, body, request.possession)
    office.issued = NOW + timedelta(minutes=5)
    again = replace(office.keeper, now=lambda: NOW + timedelta(minutes=6)).renewed(fresh, office.answer)
    assert office.pair() == (again.private_key, again.certificate_chain)
    assert again.private_key != fresh.private_key, "each renewal has a key of its own"


def _same(moment: datetime) -> datetime:
    return moment


def test_it_is_time_when_a_third_of_the_life_is_over(office: Office) -> None:
    begins, ends = office.tls.validity
    assert renewal_time(begins, ends) - begins == (ends - begins) / 3
    for days, expected in ((-3, False), (0, True), (10, True)):
        moment = NOW + timedelta(days=days)
        keeper = replace(office.keeper, now=partial(_same, moment))
        assert keeper.due(office.tls) is expected


@pytest.mark.parametrize("place", ["before-renewal", "after-renewal-answered", "after-renewal-kept"])
def test_killed_at_any_step_the_pair_works_and_the_next_renewal_goes_on(office: Office, place: str) -> None:
    with pytest.raises(KilledError):
        replace(office.keeper, failpoints=Dying(place=place)).renewed(office.tls, office.answer)
    key, chain = office.pair()
    finished = place == "after-renewal-kept"
    assert (chain != office.tls.certificate_chain) is finished
    fresh = office.keeper.renewed(office.tls, office.answer)
    assert office.pair() == (fresh.private_key, fresh.certificate_chain)
    assert len({request.certificate_request for request in office.asked}) == 1, "the key of the first life is used"
    if finished:
        assert (fresh.private_key, len(office.asked)) == (key, 1), "what was renewed is taken, not renewed again"
        office.issued = NOW + timedelta(seconds=5)
        later = office.keeper.renewed(fresh, office.answer)
        assert later.private_key != key, "what the first life left behind is not used twice"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("failing", range(3))
def test_an_operation_that_fails_in_a_later_renewal_leaves_a_pair_that_works(
    office: Office, monkeypatch: pytest.MonkeyPatch, failing: int, after: bool
) -> None:
    """The pair of before lies where the new one goes then."""
    first = office.keeper.renewed(office.tls, office.answer)
    office.issued, disk = NOW + timedelta(seconds=5), FailingDisk(failing, after=after)
    with monkeypatch.context() as broken:
        for name in ("write_durably", "erase"):
            broken.setattr(tls_files, name, disk.around(getattr(tls_files, name)))
        with pytest.raises(KilledError):
            office.keeper.renewed(first, office.answer)
    assert office.pair()
    office.keeper.renewed(first, office.answer)
    assert office.pair()[1] != first.certificate_chain


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("failing", range(4))
def test_an_operation_of_the_disk_that_fails_leaves_a_pair_that_works(
    office: Office, monkeypatch: pytest.MonkeyPatch, failing: int, after: bool
) -> None:
    """Two files are written and three are erased."""
    disk = FailingDisk(failing, after=after)
    with monkeypatch.context() as broken:
        for name in ("write_durably", "erase"):
            broken.setattr(tls_files, name, disk.around(getattr(tls_files, name)))
        with pytest.raises(KilledError):
            office.keeper.renewed(office.tls, office.answer)
    assert office.pair()
    office.keeper.renewed(office.tls, office.answer)
    assert office.pair()[1] != office.tls.certificate_chain


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": new_tls_key().public_key()}, "for another key"),
        ({"name": spiffe_id("testbed", "participant", "other")}, "for another name"),
        ({"name": spiffe_id("testbed", "enrolment", "clinic")}, "for another name"),
        ({"answering": CertificateAuthority.create("testbed", NOW)[0]}, "by another authority"),
        ({"issued": NOW + timedelta(days=2)}, "for another time"),
        ({"issued": NOW - timedelta(days=40)}, "for another time"),
        ({"lifetime": timedelta(days=2)}, "that ends before the present one"),
    ],
)
def test_a_certificate_that_is_not_for_us_is_not_taken(office: Office, change: dict[str, Any], words: str) -> None:
    before = office.pair()
    with pytest.raises(IdentityError, match=words):
        office.keeper.renewed(office.tls, replace(office, **change).answer)
    assert office.pair() == before
    assert not office.folder.tls.exists()


def test_nonsense_is_no_certificate(office: Office) -> None:
    def answer(request: pb.RenewCertificateRequest) -> pb.RenewCertificateResponse:
        return pb.RenewCertificateResponse(certificate_chain=b"nonsense")

    with pytest.raises(IdentityError, match="cannot be read"):
        office.keeper.renewed(office.tls, answer)
    assert office.pair()


def test_processes_of_a_site_renew_one_after_the_other(office: Office) -> None:
    with only_one(office.folder) as alone:
        assert alone
        with pytest.raises(StoreError, match="another vdb-participant renews"):
            office.keeper.renewed(office.tls, office.answer)
    first = office.keeper.renewed(office.tls, office.answer)
    assert office.keeper.renewed(office.tls, office.answer) == first, "the second takes what the first got"
    assert len(office.asked) == 1


def test_what_the_file_system_refuses_is_one_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal under way on a connection must not end a session with an error that nobody expects there."""
    (office.folder.path / "tls.lock").mkdir()
    with pytest.raises(StoreError, match="nothing can be written there"):
        office.keeper.renewed(office.tls, office.answer)
    (office.folder.path / "tls.lock").rmdir()

    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as broken:
        broken.setattr(tls_files, "erase", refuse)
        with pytest.raises(StoreError, match="was replaced and cannot be erased"):
            office.keeper.renewed(office.tls, office.answer)
    assert office.pair()[1] != office.tls.certificate_chain
    assert office.keeper.renewed(office.tls, office.answer).certificate_chain == office.pair()[1]


def test_the_folder_is_read_while_another_process_renews(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old files may be erased between the look for the new one and the reading."""
    real, looks = Path.exists, [0]

    def exists(path: Path) -> bool:
        there = real(path)
        if path == office.folder.tls and not looks[0]:
            looks[0] += 1
            office.keeper.renewed(office.tls, office.answer)
        return there

    monkeypatch.setattr(Path, "exists", exists)
    key, chain = read_pair(office.folder)
    assert same_public_key(chain, decode_tls_key(key, SECRET).public_key())
    assert chain != office.tls.certificate_chain


# On a connection.


class Refusing:
    """A renewal that always fails; implements Renewal."""

    def __init__(self) -> None:
        self.tried = 0

    def due(self, tls: TlsIdentity) -> bool:
        return True

    def renewed(self, tls: TlsIdentity, ask: object) -> TlsIdentity:
        self.tried += 1
        raise StoreError("no space left")


def connection_of(office: Office, renewal: Any, version: tuple[int, int] | None = (1, 1)) -> Connection:
    """Return a connection to a coordinator that answers Negotiate so, or does not know it."""
    connection = Connection("localhost:1", office.tls, Recorded(), renewal=renewal, find_proxy=lambda host, port: None)
    connection._channel = _Channel(version)
    return connection


class _Channel(grpc.Channel):
    """Answers Negotiate; implements grpc.Channel."""

    def __init__(self, version: tuple[int, int] | None) -> None:
        self._version = version

    def unary_unary(self, method: str, *codec: Any, **options: Any) -> Any:
        def call(request: Any, timeout: float | None = None) -> Any:
            assert method == "/vdb.v1.ProtocolService/Negotiate", method
            if self._version is None:
                raise _UnknownError
            names = ["certificate-renewal", "of-tomorrow"]
            return pb.NegotiateResponse(
                version=pb.ProtocolVersion(major=self._version[0], minor=self._version[1]), capabilities=names
            )

        return call

    def unary_stream(self, method: str, *codec: Any, **options: Any) -> Any: ...
    def stream_unary(self, method: str, *codec: Any, **options: Any) -> Any: ...
    def stream_stream(self, method: str, *codec: Any, **options: Any) -> Any: ...
    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None: ...
    def unsubscribe(self, callback: Any) -> None: ...
    def close(self) -> None: ...


class _UnknownError(grpc.RpcError):
    """What a coordinator answers that does not know a call."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNIMPLEMENTED

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def details(self) -> str:
        return "Method not found!"


def test_a_renewal_that_fails_costs_no_call_and_is_not_tried_at_every_one(
    office: Office, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing = Refusing()
    connection = connection_of(office, refusing)
    assert [connection.attempt(lambda: 7) for _ in range(5)] == [7] * 5
    assert refusing.tried == 1
    printed = capsys.readouterr()
    assert "no space left" in printed.out + printed.err + caplog.text


def test_a_coordinator_of_before_is_not_asked_for_certificates(office: Office) -> None:
    """It does not know Negotiate: what it speaks is 1.0, and the operator is told by when to act."""
    connection = connection_of(office, office.keeper, version=None)
    assert str(connection.agreement().version) == "1.0"
    ends = f"{office.tls.validity[1]:%Y-%m-%d}"
    with pytest.raises(UsageError, match=rf"speaks protocol 1\.0 and renews no certificates; .* before {ends}"):
        connection.renew()
    assert connection.attempt(lambda: 7) == 7
    assert office.asked == []


def test_what_only_the_coordinator_knows_is_not_agreed(office: Office) -> None:
    found = connection_of(office, None).agreement()
    assert found.capabilities == {"certificate-renewal"}


def test_requests_are_for_the_key_that_is_kept(office: Office) -> None:
    with pytest.raises(KilledError):
        replace(office.keeper, failpoints=Dying(place="before-renewal")).renewed(office.tls, office.answer)
    waiting = tls_files.read_waiting(office.folder)
    assert waiting is not None
    key = decode_tls_key(waiting[0], SECRET)
    assert x509.load_pem_x509_csr(waiting[1]).public_key() == key.public_key()
    office.folder.tls_next.write_bytes(b"damaged")
    with pytest.raises(StoreError, match="damaged"):
        office.keeper.renewed(office.tls, office.answer)
    assert office.pair()
