"""Certificate authorities that are no consortium's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)


class Authority:
    """A certificate authority for tests."""

    def __init__(self, name: str = "test authority") -> None:
        self.key = generate_private_key(SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self.key, self.name, NOW - timedelta(days=1), NOW + timedelta(days=1), None)
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def issue(self, begins: datetime, ends: datetime, address: str = "127.0.0.1", uri: str = "") -> tuple[bytes, bytes]:
        """Return certificate and key of a server, PEM."""
        key = generate_private_key(SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._build(key, name, begins, ends, address, uri)
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), plain

    def _build(
        self,
        key: EllipticCurvePrivateKey,
        name: x509.Name,
        begins: datetime,
        ends: datetime,
        address: str | None,
        uri: str = "",
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
            known: list[x509.GeneralName] = [x509.IPAddress(ip_address(address))]
            names = x509.SubjectAlternativeName([*known, *([x509.UniformResourceIdentifier(uri)] if uri else [])])
            authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(names, critical=False).add_extension(authority, critical=False)
        else:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self.key, SHA256())
