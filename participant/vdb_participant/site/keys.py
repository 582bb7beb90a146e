"""The institution's two keys: Ed25519 for statements, ECDSA P-256 for TLS, encrypted at rest.

Promises that private keys are made here, never leave, and lie on disk encrypted unless plain keys were asked for. Leaves
certificates to the consortium's authority. gRPC's TLS refuses Ed25519 client keys, hence P-256.

Source: RFC 5958 (PKCS#8), RFC 2986 (PKCS#10); protos/README.md §11.2.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.identity import is_encrypted, private_key_in

VARIABLE: Final = "VDB_PASSPHRASE"

Passphrase = Callable[[], bytes]
"""Asked only when a key is encrypted."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What a TLS connection shows and trusts: PEM.

    Attributes:
        certificate_chain: ours, leaf first.
        private_key: ours, not encrypted; never written anywhere.
        ca_certificate: the only authority that is trusted.
    """

    certificate_chain: bytes
    private_key: bytes = field(repr=False)
    ca_certificate: bytes

    @property
    def validity(self) -> tuple[datetime, datetime]:
        """First and last moment at which our certificate is valid, UTC."""
        return certificate_validity(self.certificate_chain)


def generate_tls_key() -> EllipticCurvePrivateKey:
    """Return a fresh TLS key from the operating system's entropy."""
    return generate_private_key(SECP256R1())


def certificate_request(key: EllipticCurvePrivateKey, institution: str, encoding: Encoding = Encoding.DER) -> bytes:
    """Return a PKCS#10 request, DER unless said otherwise; of what it says the authority takes the key alone."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, institution)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return request.public_bytes(encoding)


def encode_tls_key(key: EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    """Return PKCS#8 PEM, encrypted when a passphrase is given."""
    protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def decode_tls_key(data: bytes, passphrase: bytes | None) -> EllipticCurvePrivateKey:
    """Return the key in a PKCS#8 PEM file.

    Raises:
        IdentityError: see `private_key_in`, or it is another kind of key.
    """
    key = private_key_in(data, passphrase, "the TLS key")
    if not isinstance(key, EllipticCurvePrivateKey):
        raise IdentityError("TLS key is not an ECDSA key; enrol again in another --dir")
    return key


def requested_key(request: bytes) -> PublicKeyTypes:
    """Return the public key that a PKCS#10 request (DER) asks a certificate for.

    Raises:
        IdentityError: it is no request, or was not signed by that key.
    """
    try:
        found = x509.load_der_x509_csr(request)
        signed = found.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"the request for a certificate cannot be read: {error}") from error
    if not signed:
        raise IdentityError("the request for a certificate is not signed by its own key")
    return found.public_key()


def same_public_key(certificate_chain: bytes, key: PublicKeyTypes) -> bool:
    """Return whether the leaf of a PEM chain certifies this key."""
    certified = _leaf(certificate_chain).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certified == key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificate_digest(certificate_chain: bytes) -> bytes:
    """Return the SHA-256 of the DER bytes of the leaf of a PEM chain, 32 bytes."""
    return _leaf(certificate_chain).fingerprint(SHA256())


def issued_by(certificate_chain: bytes, ca_certificate: bytes) -> bool:
    """Return whether the leaf of a PEM chain was issued by an authority (PEM)."""
    try:
        _leaf(certificate_chain).verify_directly_issued_by(_leaf(ca_certificate))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def certificate_validity(certificate_chain: bytes) -> tuple[datetime, datetime]:
    """Return first and last moment at which the leaf of a PEM chain is valid, UTC."""
    leaf = _leaf(certificate_chain)
    return leaf.not_valid_before_utc, leaf.not_valid_after_utc


def certificate_uri(certificate_chain: bytes) -> str:
    """Return the SPIFFE id in the leaf of a PEM chain.

    Raises:
        IdentityError: it has not exactly one.
    """
    try:
        names = _leaf(certificate_chain).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise IdentityError("the TLS certificate names nobody; ask the lead for a new invitation") from error
    found = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(found) != 1:
        raise IdentityError(f"the TLS certificate must have one SPIFFE id, it has {len(found)}; ask the lead")
    return found[0]


def passphrase_from(file: Path | None, prompt: Callable[[], str] | None) -> Passphrase:
    """Return where the passphrase comes from: a file's first line, VDB_PASSPHRASE, or a question; never an empty one."""

    def ask() -> bytes:
        if file is not None:
            found, source = _first_line(file), f"{file}: its first line"
        elif VARIABLE in os.environ:
            found, source = os.environ[VARIABLE].encode(), VARIABLE
        elif prompt is not None:
            found, source = prompt().encode(), "the passphrase"
        else:
            raise UsageError(f"the keys need a passphrase; give --passphrase-file or set {VARIABLE}")
        if not found:
            raise UsageError(f"{source} is empty, which protects no key; give a passphrase")
        return found

    return ask


def _first_line(file: Path) -> bytes:
    try:
        return file.read_bytes().splitlines()[0]
    except (OSError, IndexError) as error:
        raise UsageError(f"{file}: expected a passphrase on its first line; check --passphrase-file") from error


def unlock(data: bytes, passphrase: Passphrase) -> bytes | None:
    """Return the passphrase for a PEM file, or None when the file is not encrypted."""
    return passphrase() if is_encrypted(data) else None


def _leaf(certificate_chain: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(certificate_chain)[0]
    except (ValueError, IndexError) as error:
        raise IdentityError(
            f"the TLS certificate cannot be read: {error}; ask the lead for a new invitation"
        ) from error
