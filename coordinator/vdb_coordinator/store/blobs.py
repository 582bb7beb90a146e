"""Large vectors and bundles: files named by the digest of their bytes, and uploads that are still growing.

Promises that a blob it returns has the digest it was asked for, and that one is durable before its row is. A file without a
row was never acknowledged and is swept away at the next start.

Source: protos/README.md §11.4.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, select

from vdb_coordinator.files import sync_directory, write_durably
from vdb_coordinator.store import schema
from vdb_coordinator.store.rows import write_row
from vdb_shared.canonical import check_digest, sha256_digest
from vdb_shared.errors import StoreError


@dataclass(frozen=True, slots=True)
class _Sound:
    """By what a file is known again that was looked at: size, time of its last change in ns, and number."""

    size: int
    changed: int
    number: int

    @classmethod
    def of(cls, stream: IO[bytes]) -> _Sound:
        """Return it of an open file."""
        found = os.fstat(stream.fileno())
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


class BlobStore:
    """A folder of files named by digest."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sound: dict[str, _Sound] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        """Store bytes durably and return their digest.

        Raises:
            StoreError: the file system refuses.
        """
        digest = sha256_digest(content)
        path = self._path(digest)
        if _is_there(path):
            sync_directory(self._directory)
        else:
            write_durably(path, content, mode=0o600)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes with this digest.

        Raises:
            StoreError: they are missing or damaged.
        """
        try:
            content = self._path(digest).read_bytes()
        except OSError as error:
            raise StoreError(f"blob {digest} cannot be read: {error.strerror}") from error
        if sha256_digest(content) != digest:
            raise StoreError(f"blob {digest} is damaged; restore it from a backup")
        return content

    def pieces(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield the bytes with this digest in pieces of a size, of which one at a time is in memory.

        All of them are looked at before the first is yielded, once for each file: what stands under a digest is never written
        again, and is not yielded if it was.

        Raises:
            StoreError: they are missing or damaged, or were changed meanwhile.
        """
        path = self._path(digest)
        with _refusing(f"blob {digest} cannot be read"):
            sound = self._check(path, digest)
            for offset in range(0, sound.size, size):
                with path.open("rb") as stream:
                    if _Sound.of(stream) != sound:
                        raise StoreError(f"blob {digest} was changed while it was read; restore it from a backup")
                    stream.seek(offset)
                    piece = stream.read(size)
                yield piece

    def _check(self, path: Path, digest: str) -> _Sound:
        """Return what a file was when its digest was checked: now, or before if it is the same still."""
        with path.open("rb") as stream:
            found = _Sound.of(stream)
            if self._sound.get(digest) != found:
                if f"sha256:{file_digest(stream, 'sha256').hexdigest()}" != digest:
                    raise StoreError(f"blob {digest} is damaged; restore it from a backup")
                self._sound[digest] = found
        return found

    def sweep(self, known: frozenset[str]) -> int:
        """Delete files that no row names and return how many there were."""
        strangers = [path for path in self._directory.iterdir() if f"sha256:{path.name}" not in known]
        for path in strangers:
            path.unlink()
        return len(strangers)

    def _path(self, digest: str) -> Path:
        return self._directory / check_digest(digest).removeprefix("sha256:")


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Say what the file system refuses.

    Raises:
        StoreError: it does.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror}") from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise StoreError(f"{path}: cannot be looked for: {error.strerror}") from error


def record(connection: Connection, digest: str, size: int) -> None:
    """Store the row of a blob that is durable already."""
    write_row(connection, schema.blobs, {"digest": digest}, {"size": size})


def recorded(connection: Connection) -> frozenset[str]:
    """Return the digests of all blobs that have rows."""
    return frozenset(connection.scalars(select(schema.blobs.c.digest)))


@dataclass(slots=True)
class _Turn:
    """A lock, and how many hold it or wait for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: int = 0


class Turns:
    """One at a time for each name; nobody waits for who has another name, and a name that nobody has is forgotten."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[str, _Turn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    @contextmanager
    def take(self, name: str) -> Iterator[None]:
        """Hold the turn of a name."""
        with self._guard:
            turn = self._turns.setdefault(name, _Turn())
            turn.wanted += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._guard:
                turn.wanted -= 1
                if not turn.wanted:
                    del self._turns[name]


class UploadStore:
    """Uploads that are not complete: one growing file each, lost without harm.

    A write that a disk or a file system holds up holds up only its own upload, while the process has threads left.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.extending = Turns()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def stored(self, name: str) -> int:
        """Return how many bytes of an upload are there; this and what follows raise StoreError if the file system refuses."""
        with _refusing(f"upload {name} cannot be looked for"):
            try:
                return self._path(name).stat().st_size
            except FileNotFoundError:
                return 0

    def extend(self, name: str, offset: int, chunk: bytes) -> int:
        """Write a chunk at the end of an upload and return its new size.

        Raises:
            StoreError: the file system refuses.
            ValueError: `offset` is not the end.
        """
        refusing = _refusing(f"upload {name} cannot be written")
        with refusing, self.extending.take(name), self._path(name).open("ab") as stream:
            if stream.tell() != offset:
                raise ValueError(f"upload {name} ends at {stream.tell()}, not at {offset}")
            stream.write(chunk)
        return offset + len(chunk)

    def content(self, name: str) -> bytes:
        """Return what is there of an upload."""
        with _refusing(f"upload {name} cannot be read"):
            try:
                return self._path(name).read_bytes()
            except FileNotFoundError:
                return b""

    def discard(self, name: str) -> None:
        """Forget an upload."""
        with _refusing(f"upload {name} cannot be deleted"):
            self._path(name).unlink(missing_ok=True)

    def keep_only(self, prefix: str, name: str) -> None:
        """Forget all uploads whose names begin so, but one."""
        with _refusing(f"uploads {prefix}* cannot be deleted"):
            for path in self._directory.glob(f"{prefix}*"):
                if path.name != name:
                    path.unlink(missing_ok=True)

    def retain(self, sessions: Iterable[str]) -> None:
        """Forget the uploads of all but these sessions."""
        prefixes = tuple(_session_prefix(session) for session in sessions)
        with _refusing("uploads cannot be deleted"):
            for path in self._directory.iterdir():
                if not path.name.startswith(prefixes):
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if os.sep in name or name.startswith("."):
            raise ValueError(f"{name!r} is no name of an upload")
        return self._directory / name


def upload_prefix(session: str, seat: int) -> str:
    """Return how the names of a seat's uploads begin."""
    return f"{_session_prefix(session)}{seat}-"


def _session_prefix(session: str) -> str:
    return f"{session.removeprefix('sha256:')}-"
