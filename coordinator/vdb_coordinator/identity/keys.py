"""The coordinator's private keys at rest: PKCS#8 PEM, encrypted, readable by their owner only.

Promises that no key is written in plain unless that was asked for. Leaves asking for the passphrase to `cli.py`.

Source: RFC 5958 (PKCS#8), RFC 8018 (PBES2); protos/README.md §11.1.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from vdb_coordinator.files import read_file, write_secret
from vdb_shared import identity
from vdb_shared.errors import IdentityError
from vdb_shared.identity import private_key_in

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey


def new_tls_key() -> EllipticCurvePrivateKey:
    """Return a fresh P-256 key: gRPC's TLS refuses Ed25519."""
    return generate_private_key(SECP256R1())


def key_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """Return PKCS#8 PEM, encrypted when a passphrase is given."""
    protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def write_key(path: Path, key: PrivateKey, passphrase: bytes | None) -> None:
    """Write a key file."""
    write_secret(path, key_pem(key, passphrase))


def is_encrypted(path: Path) -> bool:
    """Return whether a key file needs a passphrase."""
    return identity.is_encrypted(read_file(path))


def read_tls_key(path: Path, passphrase: bytes | None) -> EllipticCurvePrivateKey:
    """Return the P-256 key in a file.

    Raises:
        IdentityError: another kind of key, or the passphrase is wrong.
    """
    key = _read(path, passphrase)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise IdentityError(f"{path}: expected a P-256 key, found another kind")
    return key


def read_signing_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Return the Ed25519 key in a file.

    Raises:
        IdentityError: another kind of key, or the passphrase is wrong.
    """
    key = _read(path, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(f"{path}: expected an Ed25519 key, found another kind")
    return key


def _read(path: Path, passphrase: bytes | None) -> object:
    return private_key_in(read_file(path), passphrase, str(path))
