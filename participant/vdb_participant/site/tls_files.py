"""Where the TLS key and its certificate lie: two files after enrolment, one since the first renewal.

Promises that a key and a certificate which are read belong together, whenever a renewal was interrupted: a renewed pair is one
file, which takes its name at once. Leaves what a renewal is to `renewal.py`.

    DIR/tls-key.pem, DIR/certificate.pem    as enrolment writes them
    DIR/tls.pem                             instead: key, then certificate chain
    DIR/tls-next.pem                        a new key and its certificate request, until the certificate is here

Source: protos/README.md §12.7.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vdb_participant.site.config import StateFolder
from vdb_participant.site.storage import PRIVATE_FILE, erase, write_durably
from vdb_shared.errors import StoreError

_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_REQUEST: Final = b"-----BEGIN CERTIFICATE REQUEST-----"


def read_pair(folder: StateFolder) -> tuple[bytes, bytes]:
    """Return the TLS key as it lies there and its certificate chain, both PEM.

    Raises:
        StoreError: a file is missing or damaged.
    """
    try:
        if not folder.tls.exists():
            found = _enrolled(folder)
            # What another process erases meanwhile is no pair, and is only erased once the new one is there.
            if found is not None and not folder.tls.exists():
                return found
        return _split(folder.tls, _CERTIFICATE)
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be read ({error.strerror}); restore it from a backup") from error


def read_certificate(folder: StateFolder) -> bytes:
    """Return the certificate chain, PEM, that enrolment or a relay has shown; where there is no network, the key is elsewhere.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return folder.certificate.read_bytes()
    except OSError as error:
        words = f"cannot be read ({error.strerror}); restore it from a backup"
        raise StoreError(f"{folder.certificate}: {words}") from error


def _enrolled(folder: StateFolder) -> tuple[bytes, bytes] | None:
    try:
        return folder.tls_key.read_bytes(), folder.certificate.read_bytes()
    except FileNotFoundError:
        if folder.tls.exists():
            return None
        raise


def write_pair(folder: StateFolder, key: bytes, chain: bytes) -> None:
    """Put a new key and its certificate chain, both PEM, in the place of the present ones, at once."""
    write_durably(folder.tls, key + chain)


def read_waiting(folder: StateFolder) -> tuple[bytes, bytes] | None:
    """Return the key and the certificate request, both PEM, that a renewal left behind, or None.

    Raises:
        StoreError: the file is damaged.
    """
    return _split(folder.tls_next, _REQUEST) if folder.tls_next.exists() else None


def write_waiting(folder: StateFolder, key: bytes, request: bytes) -> None:
    """Keep a new key and its certificate request, both PEM."""
    write_durably(folder.tls_next, key + request)


def forget_what_was_replaced(folder: StateFolder) -> None:
    """Erase what a finished renewal has no more use for.

    Raises:
        StoreError: it cannot be erased.
    """
    for path in (folder.tls_next, folder.tls_key, folder.certificate):
        try:
            if path.exists():
                erase(path)
        except OSError as error:
            raise StoreError(f"{path}: was replaced and cannot be erased ({error.strerror}); remove it") from error


@contextmanager
def only_one(folder: StateFolder) -> Iterator[bool]:
    """Keep other processes of this site from renewing for the length of a block; yields False if one is at it.

    Raises:
        StoreError: the lock cannot be opened.
    """
    try:
        descriptor = os.open(folder.path / "tls.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    except OSError as error:
        raise StoreError(f"{folder.path}: nothing can be written there ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _split(path: Path, second: bytes) -> tuple[bytes, bytes]:
    """Return the two parts of a file, of which the second begins with a line."""
    data = path.read_bytes()
    place = data.find(second)
    if place <= 0:
        raise StoreError(f"{path}: is damaged; restore it from a backup")
    return data[:place], data[place:]
