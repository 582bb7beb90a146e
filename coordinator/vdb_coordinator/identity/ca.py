"""The consortium's certificate authority: short-lived TLS certificates for the coordinator, leads and institutions.

Promises that a certificate names exactly one SPIFFE id and serves one purpose, and that a participant's names the statement key
under which it was issued. Certificates are transport only: what their holder may do is looked up in the roster.

Source: RFC 5280; SPIFFE X.509-SVID, §2 and §4; ITU-T X.667, §7 (the extension's identifier); protos/README.md §11.1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from vdb_coordinator.identity.keys import new_tls_key
from vdb_shared.errors import IdentityError
from vdb_shared.identity import named_statement_key
from vdb_shared.roster import Member

CA_LIFETIME: Final = timedelta(days=3652)
LEAF_LIFETIME: Final = timedelta(days=30)
CLOCK_SKEW: Final = timedelta(hours=1)
"""Certificates begin this much earlier, for machines whose clocks run behind."""

SpiffeRole = Literal["participant", "admin", "coordinator", "enrolment", "auditor"]


def spiffe_id(consortium: str, role: SpiffeRole, name: str) -> str:
    """Return the name that a certificate carries: spiffe://<consortium>/<role>/<name>."""
    return f"spiffe://{consortium}/{role}/{name}"


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A P-256 authority; issues leaves only."""

    certificate: x509.Certificate
    _key: EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, consortium: str, now: datetime) -> tuple[CertificateAuthority, EllipticCurvePrivateKey]:
        """Return a new authority and its key, which the caller stores."""
        key = new_tls_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"VDB consortium {consortium}")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        return cls(certificate, key), key

    @property
    def pem(self) -> bytes:
        """The authority's certificate, PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue_client(
        self, key: EllipticCurvePublicKey, name: str, now: datetime, lifetime: timedelta = LEAF_LIFETIME
    ) -> bytes:
        """Return a certificate for a client of this SPIFFE id, PEM."""
        names = [x509.UniformResourceIdentifier(name)]
        return self._issue(key, names, ExtendedKeyUsageOID.CLIENT_AUTH, (now, now + lifetime))

    def issue_participant(self, key: EllipticCurvePublicKey, member: Member, now: datetime) -> bytes:
        """Return a certificate for a participant, PEM, which counts as long as the statement key is this member's."""
        names = [x509.UniformResourceIdentifier(member.spiffe_id)]
        issued_under = named_statement_key(member.public_key)
        validity = (now, now + LEAF_LIFETIME)
        return self._issue(key, names, ExtendedKeyUsageOID.CLIENT_AUTH, validity, issued_under)

    def issue_server(self, key: EllipticCurvePublicKey, name: str, hosts: Iterable[str], now: datetime) -> bytes:
        """Return a certificate for the server of this SPIFFE id under these host names and addresses, PEM."""
        names = [x509.UniformResourceIdentifier(name), *(_host_name(host) for host in dict.fromkeys(hosts))]
        return self._issue(key, names, ExtendedKeyUsageOID.SERVER_AUTH, (now, now + LEAF_LIFETIME))

    def _issue(
        self,
        key: EllipticCurvePublicKey,
        names: Sequence[x509.GeneralName],
        purpose: ObjectIdentifier,
        validity: tuple[datetime, datetime],
        more: x509.ExtensionType | None = None,
    ) -> bytes:
        start, end = validity
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - CLOCK_SKEW)
            .not_valid_after(min(end, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(authority, critical=False)
        )
        if more is not None:
            builder = builder.add_extension(more, critical=False)
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


def parse_request(data: bytes) -> EllipticCurvePublicKey:
    """Return the key of a certificate request (PKCS#10, DER), which proves that its maker holds the private one.

    Names in the request are ignored: the coordinator decides them.

    Raises:
        IdentityError: malformed, not signed by its own key, or not a P-256 key.
    """
    try:
        request = x509.load_der_x509_csr(data)
        key = request.public_key()
        # First its kind: to check a signature by a key of any kind and size takes as long as its maker likes.
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise IdentityError("certificate request has another key than P-256, which TLS here demands")
        signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"certificate request cannot be read: {error}") from error
    if not signed:
        raise IdentityError("certificate request is not signed by its own key")
    return key


def needs_renewal(pem: bytes, now: datetime) -> bool:
    """Return whether less than two thirds of a certificate's life are left, or it was issued by a clock that was ahead."""
    certificate = x509.load_pem_x509_certificate(pem)
    return now < certificate.not_valid_before_utc or now > certificate.not_valid_after_utc - LEAF_LIFETIME * 2 / 3


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
