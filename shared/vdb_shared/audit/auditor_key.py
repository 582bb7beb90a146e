"""The auditor's own key: made, kept encrypted in a file of one's own, read again.

Promises that no key is stored in plain unless that was asked for, and that no file is overwritten. A key that is lost
is replaced by another one; who relies on attestations has to be told by another channel.

Source: RFC 8032 (Ed25519), RFC 5958 (PKCS#8), RFC 5280 §4.1 (SubjectPublicKeyInfo); protos/README.md §3.2, §10.13.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.identity import StatementKey, StatementPublicKey, is_encrypted
from vdb_shared.named_files import read_file

MAX_KEY_BYTES: Final = 2**14
VARIABLE: Final = "VDB_PASSPHRASE"
PUBLIC_SUFFIX: Final = ".pub.pem"

Ask = Callable[[], str]


def passphrase_from(file: Path | None, ask: Ask | None) -> bytes:
    """Return the passphrase: a file's first line, the variable VDB_PASSPHRASE, or the answer to a question.

    Args:
        file: that holds it, or None.
        ask: puts the question, or None where nobody can answer.

    Raises:
        UsageError: there is none, or an empty one.
    """
    if file is not None:
        found = read_file(file, MAX_KEY_BYTES).split(b"\n")[0].removesuffix(b"\r")
    elif VARIABLE in os.environ:
        found = os.environ[VARIABLE].encode()
    elif ask is not None:
        found = ask().encode()
    else:
        raise UsageError(f"the key needs a passphrase; give --passphrase-file or set {VARIABLE}")
    if not found:
        raise UsageError("the passphrase is empty; choose one, or ask for a key in plain with --plaintext-key")
    return found


def make_key(path: Path, passphrase: bytes | None) -> tuple[StatementPublicKey, Path]:
    """Write a new key, and its public half beside it; return the public key and that file.

    Args:
        path: of the new key; its public half gets the suffix .pub.pem in place of its own.
        passphrase: encrypts the key, or None to store it in plain.

    Raises:
        UsageError: one of the files is there already, or cannot be written.
    """
    public = public_path(path)
    if public.exists():
        raise UsageError(f"{public}: is there already; a key is never overwritten, choose another name")
    key = StatementKey.generate()
    _write_new(path, key.to_pem(passphrase), 0o600)
    _write_new(public, public_pem(key.public_key), 0o644)
    return key.public_key, public


def public_path(path: Path) -> Path:
    """Return where the public half of a key lies."""
    return path.with_name(path.name.removesuffix(".pem") + PUBLIC_SUFFIX)


def public_pem(key: StatementPublicKey) -> bytes:
    """Return a public key as SubjectPublicKeyInfo in PEM."""
    return Ed25519PublicKey.from_public_bytes(key.raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_key(path: Path, passphrase: Callable[[], bytes]) -> StatementKey:
    """Return the key in a file.

    Args:
        path: of the key.
        passphrase: asked for only if the key is encrypted.

    Raises:
        UsageError: the file cannot be read.
        IdentityError: it holds no such key, or the passphrase is wrong.
    """
    data = read_file(path, MAX_KEY_BYTES)
    if b"PUBLIC KEY" in data:
        raise IdentityError(f"{path}: this is a public key, which signs nothing; give the private one beside it")
    try:
        return StatementKey.from_pem(data, passphrase() if is_encrypted(data) else None)
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}") from error


def read_public_key(path: Path) -> StatementPublicKey:
    """Return the public key in a file.

    Raises:
        UsageError: the file cannot be read.
        IdentityError: it holds no Ed25519 public key; a private one is refused, it is not to be passed on.
    """
    data = read_file(path, MAX_KEY_BYTES)
    if b"PRIVATE KEY" in data:
        raise IdentityError(f"{path}: this is a private key; give its public half, {public_path(path).name}")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{path}: expected an Ed25519 public key in PEM, as `vdb-audit key` writes it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise IdentityError(f"{path}: expected an Ed25519 public key, found another kind")
    return StatementPublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already; a key is never overwritten, choose another name") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
