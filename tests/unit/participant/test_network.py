"""A coordinator that cannot be reached is named with its cause and a fix, in one line."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from vdb_participant.network.diagnosis import check_own_certificate, diagnose, split_address
from vdb_shared.errors import IdentityError, UsageError

NOW = datetime.now(UTC)


class Authority:
    """A certificate authority for tests."""

    def __init__(self) -> None:
        self.key = generate_private_key(SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._build(self.key, self.name, NOW - timedelta(days=1), NOW + timedelta(days=1), None)
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def issue(self, begins: datetime, ends: datetime, address: str = "127.0.0.1") -> tuple[bytes, bytes]:
        """Return certificate and key of a server, PEM."""
        key = generate_private_key(SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._build(key, name, begins, ends, address)
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), plain

    def _build(
        self, key: EllipticCurvePrivateKey, name: x509.Name, begins: datetime, ends: datetime, address: str | None
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
            authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(names, critical=False).add_extension(authority, critical=False)
        else:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self.key, SHA256())


AUTHORITY = Authority()


@contextmanager
def tls_server(folder: Path, certificate: bytes, key: bytes) -> Iterator[str]:
    """Yield the address of a server that greets and hangs up."""
    (folder / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with tcp_server(lambda connection: context.wrap_socket(connection, server_side=True).close()) as address:
        yield address


@contextmanager
def tcp_server(greet) -> Iterator[str]:  # type: ignore[no-untyped-def]  # a fake; its shape is the Protocol's
    """Yield the address of a server that does something with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    try:
                        greet(connection)
                    except OSError:
                        connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    line = diagnose(address, AUTHORITY.pem, "")
    assert line == (
        f"cannot reach the coordinator at {address}: nothing listens there; "
        "ask the lead whether `vdb-coordinator serve` is running"
    )


def test_a_name_that_does_not_exist() -> None:
    assert "the name coordinator.invalid is not known here" in diagnose("coordinator.invalid:7443", AUTHORITY.pem, "")


def test_a_server_that_speaks_something_else() -> None:
    with tcp_server(lambda connection: (connection.sendall(b"SSH-2.0-x\r\n"), connection.close())) as address:
        assert "does not speak our TLS" in diagnose(address, AUTHORITY.pem, "")


def test_a_connection_that_is_cut() -> None:
    with tcp_server(lambda connection: connection.close()) as address:
        line = diagnose(address, AUTHORITY.pem, "")
    assert "TLS" in line
    assert address in line


@pytest.mark.parametrize(
    ("begins", "ends", "server", "words"),
    [
        (-10, -5, "127.0.0.1", "its certificate has expired (our clock: "),
        (5, 10, "127.0.0.1", "its certificate is not valid yet (our clock: "),
        (-1, 1, "127.0.0.2", "the server there has no certificate for 127.0.0.1"),
        (-1, 1, "127.0.0.1", "it listens, but does not serve us (all is busy)"),
    ],
)
def test_what_its_certificate_says(tmp_path: Path, begins: int, ends: int, server: str, words: str) -> None:
    certificate = AUTHORITY.issue(NOW + timedelta(hours=begins), NOW + timedelta(hours=ends), server)
    with tls_server(tmp_path, *certificate) as address:
        assert words in diagnose(address, AUTHORITY.pem, "all is busy")


def test_a_stranger(tmp_path: Path) -> None:
    certificate = Authority().issue(NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    with tls_server(tmp_path, *certificate) as address:
        assert "is not our consortium's (unknown authority)" in diagnose(address, AUTHORITY.pem, "")


def test_our_own_certificate_is_looked_at_first() -> None:
    certificate, _ = AUTHORITY.issue(NOW - timedelta(hours=2), NOW + timedelta(hours=2))
    check_own_certificate(certificate, NOW)
    with pytest.raises(IdentityError, match=r"our TLS certificate expired on .* ask the lead for a new invitation"):
        check_own_certificate(certificate, NOW + timedelta(days=400))
    with pytest.raises(IdentityError, match=r"this machine's clock says .*; set the clock"):
        check_own_certificate(certificate, NOW - timedelta(days=400))


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":7443", "host:seven", "host:0", "host:70000"])
def test_addresses_without_host_or_port_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not an address host:port"):
        split_address(address)


def test_addresses_are_split() -> None:
    assert split_address("vdb.example.org:7443") == ("vdb.example.org", 7443)
    assert split_address("[::1]:7443") == ("::1", 7443)
