"""X25519 key agreement and HKDF-SHA-256 derivation, with the session's labels.

Promises that a public key that passed `check_public_key` agrees with every private key. Leaves to the rounds which keys
may meet.

Source: RFC 7748 (X25519), RFC 5869 (HKDF); protos/README.md §2.3, §4.1.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vdb_shared import labels
from vdb_shared.canonical import encode_fields
from vdb_shared.errors import FormatError

Secret: TypeAlias = bytes | bytearray
"""Key material; a buffer can be overwritten after use."""

KEY_BYTES: Final = 32
SEED_BYTES: Final = 31
"""Seeds have 248 bits, so that each is an element of the Shamir field."""

_FIELD: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)
"""u-coordinates whose order divides 8 on the curve or its twist: agreement with them yields zero (RFC 7748, §6.1)."""


def check_public_key(key: bytes) -> bytes:
    """Return `key` if it is a canonical X25519 public key of large order.

    Raises:
        FormatError: wrong length, a second spelling of another key, or a point of small order.
    """
    coordinate = int.from_bytes(key, "little")
    if len(key) != KEY_BYTES or coordinate >= _FIELD:
        raise FormatError(f"a public key has {KEY_BYTES} bytes and is below 2^255 - 19")
    if coordinate in _SMALL_ORDER:
        raise FormatError("a public key of small order agrees on zero with everybody")
    return key


def derive_key(secret: Secret, salt: bytes, label: str, *context: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA-256; info is the label and the context as length-prefixed fields (§2.3)."""
    info = encode_fields(label.encode("ascii"), *context)
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)


def mask_private_key(seed: Secret, session: bytes) -> bytes:
    """Return the X25519 private key of the mask-key seed k: HKDF(k, session), 32 bytes."""
    return derive_key(seed, session, labels.KDF_MASK_KEY)


def public_key(private_key: Secret) -> bytes:
    """Return the X25519 public key of 32 private bytes."""
    return load_private_key(private_key).public_key().public_bytes_raw()


def load_private_key(private_key: Secret) -> X25519PrivateKey:
    """Return 32 private bytes as a key; load once for many agreements."""
    return X25519PrivateKey.from_private_bytes(private_key)


def agree(private_key: X25519PrivateKey, peer: bytes) -> bytes:
    """Return the X25519 agreement of a private key and a checked public key, 32 bytes."""
    return private_key.exchange(X25519PublicKey.from_public_bytes(peer))
