"""Statement keys: Ed25519 signatures over DSSE's pre-authentication encoding.

Every signature of the product is made and checked here, over the exact bytes that were received, under a payload type that
names their purpose. Leaves who may sign what to the roster.

Keys are OpenSSL's, checks are libsodium's: a participant among a hundred checks some four hundred signatures, which takes it
nearly half as long, and libsodium refuses keys and nonces of small order, under which one signature fits many messages.

Source: DSSE v1 (secure-systems-lab/dsse, protocol.md); RFC 8032 (Ed25519); protos/README.md §3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ObjectIdentifier
from nacl.exceptions import BadSignatureError
from nacl.exceptions import ValueError as WrongLengthError
from nacl.signing import VerifyKey

from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError

_ENCODING: Final = "DSSEv1"

_ENCRYPTED: Final = re.compile(
    rb"-----BEGIN ENCRYPTED PRIVATE KEY-----(.*?)-----END ENCRYPTED PRIVATE KEY-----", re.DOTALL
)

_SHORTEST_DER: Final = 2
"""Bytes of tag and length."""

STATEMENT_KEY: Final = ObjectIdentifier("2.25.195234697437021332084966085330196625426")
"""Extension of a participant's certificate: OCTET STRING, the statement key under which it was issued."""

_OCTETS_32: Final = b"\x04\x20"
"""DER of an OCTET STRING, before its 32 bytes."""

_NAMED_BYTES: Final = len(_OCTETS_32) + 32


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature covers."""
    kind = payload_type.encode("ascii")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class StatementPublicKey:
    """An Ed25519 public key, 32 raw bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise FormatError(f"an Ed25519 public key has 32 bytes, not {len(self.raw)}")

    @property
    def key_id(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo (DER), 64 hex digits."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def verify(self, payload_type: str, payload: bytes, signature: bytes) -> bytes:
        """Return `payload` if the signature over it is this key's.

        Raises:
            SignatureError: it is not.
        """
        try:
            verify_message(self, pre_authentication_encoding(payload_type, payload), signature)
        except SignatureError as error:
            raise SignatureError(
                f"signature of key {self.key_id[:16]} over a {payload_type} does not verify"
            ) from error
        return payload


def verify_message(key: StatementPublicKey, message: bytes, signature: bytes) -> None:
    """Check the signature over a message as it stands, which is an encoding of a payload or the text of a note.

    Raises:
        SignatureError: it is not this key's.
    """
    try:
        VerifyKey(key.raw).verify(message, signature)
    except (BadSignatureError, WrongLengthError) as error:
        raise SignatureError(f"signature of key {key.key_id[:16]} does not verify") from error


def note_message(text: str) -> bytes:
    """Return the bytes that the signature of a note covers.

    Raises:
        ValueError: the text could be the pre-authentication encoding of a payload.
    """
    if text.startswith(_ENCODING):
        raise ValueError(f"a note must not begin with {_ENCODING}")
    return text.encode()


class Signer(Protocol):
    """Whatever can sign statements for one identity: a key in memory, or a program in front of a key that lies elsewhere."""

    @property
    def public_key(self) -> StatementPublicKey:
        """The key that verifies."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signature over the payload under its type."""


def is_encrypted(pem: bytes) -> bool:
    """Return whether a private key (PKCS#8 PEM) needs a passphrase."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in pem


def private_key_in(pem: bytes, passphrase: bytes | None, what: str) -> PrivateKeyTypes:
    """Return the key in a PKCS#8 PEM file.

    Args:
        pem: the file.
        passphrase: not looked at where the key is not encrypted.
        what: the key's name in an error.

    Raises:
        UsageError: it needs a passphrase.
        IdentityError: no private key, or not opened by this passphrase; says what to do.
    """
    encrypted = is_encrypted(pem)
    if encrypted and not passphrase:
        raise UsageError(f"{what} is encrypted; give --passphrase-file or set VDB_PASSPHRASE")
    try:
        return load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted and _whole(pem):
            raise IdentityError(
                f"{what} is not opened by this passphrase; check --passphrase-file or VDB_PASSPHRASE, or type it again (the "
                "file is not cut off, but changed bytes in it look the same: if the passphrase is right, restore it from a "
                "backup)"
            ) from error
        if encrypted:
            raise IdentityError(
                f"{what} is damaged: its file is cut off or changed, and no passphrase opens it; restore it from a backup"
            ) from error
        raise IdentityError(f"{what} is damaged, or no private key in PKCS#8 PEM; restore it from a backup") from error


def _whole(pem: bytes) -> bool:
    """Return whether an encrypted key has the frame of one, from its first byte to its last; what is in the frame nobody sees.

    Source: RFC 7468, §11 (the text); RFC 5958, §3 (a sequence of an algorithm, which is a sequence, and an octet string).
    """
    found = _ENCRYPTED.search(pem)
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True) if found else b""
    except ValueError:
        return False
    outer = _der_value(der, 0x30)
    algorithm = _der_value(outer[0], 0x30) if outer and not outer[1] else None
    return bool(algorithm and (content := _der_value(algorithm[1], 0x04)) and not content[1])


def _der_value(der: bytes, tag: int) -> tuple[bytes, bytes] | None:
    """Return the contents of the DER value with this tag at the beginning of some bytes and what follows; None without one."""
    if len(der) < _SHORTEST_DER or der[0] != tag:
        return None
    more = der[1] & 0x7F if der[1] & 0x80 else 0  # X.690, §8.1.3: so many bytes of length follow
    begin = 2 + more
    end = begin + (int.from_bytes(der[2:begin]) if more else der[1])
    return (der[begin:end], der[end:]) if begin <= end <= len(der) else None


@dataclass(frozen=True, slots=True)
class StatementKey:
    """A statement key held in memory; implements Signer."""

    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> StatementKey:
        """Return a fresh key from the operating system's entropy."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> StatementKey:
        """Return the key of a 32-byte seed (RFC 8032, §5.1.5); for test vectors."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, data: bytes, passphrase: bytes | None) -> StatementKey:
        """Return the key in a PKCS#8 PEM file.

        Raises:
            IdentityError: see `private_key_in`, or it is another kind of key.
        """
        key = private_key_in(data, passphrase, "the statement key")
        if not isinstance(key, Ed25519PrivateKey):
            raise IdentityError("statement key is not an Ed25519 key")
        return cls(key)

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """Return PKCS#8 PEM, encrypted when a passphrase is given."""
        protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)

    @property
    def public_key(self) -> StatementPublicKey:
        """The key that verifies."""
        return StatementPublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over the payload under its type."""
        return self._key.sign(pre_authentication_encoding(payload_type, payload))

    def sign_note(self, text: str) -> bytes:
        """Return the 64-byte Ed25519 signature over the text of a note, as it stands.

        Raises:
            ValueError: the text could be the pre-authentication encoding of a payload, which `sign` signs.
        """
        return self._key.sign(note_message(text))


def named_statement_key(key: StatementPublicKey) -> x509.UnrecognizedExtension:
    """Return the extension of a participant's certificate that says under which statement key it was issued."""
    return x509.UnrecognizedExtension(STATEMENT_KEY, _OCTETS_32 + key.raw)


@lru_cache(maxsize=4096)
def statement_key_of(pem: bytes) -> bytes | None:
    """Return the statement key under which a certificate was issued; None if it names none, as those of earlier programs.

    Raises:
        IdentityError: it is no certificate, or names what is no key.
    """
    try:
        found = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_oid(STATEMENT_KEY).value.public_bytes()
    except x509.ExtensionNotFound:
        return None
    except ValueError as error:
        raise IdentityError(f"certificate cannot be read: {error}") from error
    if len(found) != _NAMED_BYTES or not found.startswith(_OCTETS_32):
        raise IdentityError("certificate names no statement key where one belongs")
    return found.removeprefix(_OCTETS_32)
