"""A backup as one file: a manifest that names every file by size and digest, and these files, in a tar archive.

Promises one encoding of each backup: what was cut short, changed, reordered or added to is refused, and nothing is unpacked
under a name that a coordinator's directory does not have. Any tar program reads it. It proves no origin: whoever can write the
file can write another one. Leaves what the files mean to `making.py` and `restoring.py`.

Source: POSIX.1-2017, pax, ustar interchange format; protos/README.md §11.6.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from vdb_coordinator.files import make_directories, sync_directory
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError, StoreError
from vdb_shared.fields import Digest, Name

MANIFEST: Final = "manifest.json"
DATABASE: Final = "coordinator.sqlite"

_PATHS: Final = re.compile(
    r"coordinator\.toml|root\.json|roots/root\.[1-9][0-9]{0,5}\.json|ca\.pem|admin\.pem|coordinator\.sqlite|log/checkpoint"
    r"|keys/(root|roster|roster-next|ca|statement|admin)\.pem|blobs/[0-9a-f]{64}"
)
_PUBLIC: Final = re.compile(r"root\.json|roots/.*|ca\.pem|admin\.pem|log/.*|coordinator\.toml")
_BLOCK: Final = 512
_CHUNK: Final = 2**20
_LARGEST_MANIFEST: Final = 2**28


class BackupEntry(BaseModel):
    """A file in a backup: its path in the coordinator's directory, its size and digest."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    path: Annotated[str, StringConstraints(pattern=rf"^({_PATHS.pattern})$")]
    size: Annotated[int, Field(ge=0)]
    digest: Digest


class ManifestFile(BaseModel):
    """What a backup holds.

    Attributes:
        consortium: whose.
        made: when the copy of the database began, UTC.
        stopped: whether no coordinator served meanwhile.
        revision: of the database's schema.
        epoch: of the database.
        entries: of the transparency log that the database holds; the checkpoint among the files has no more.
        files: in the order in which they follow, ascending by path.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-backup/1"] = "vdb-backup/1"
    consortium: Name
    made: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    stopped: bool
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
    epoch: Annotated[int, Field(ge=0)]
    entries: Annotated[int, Field(ge=0)]
    files: tuple[BackupEntry, ...]

    @model_validator(mode="after")
    def _each_once_in_order(self) -> Self:
        paths = [entry.path for entry in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files: expected each path once, ascending")
        return self

    @property
    def with_keys(self) -> bool:
        """Whether private keys are among the files."""
        return any(entry.path.startswith("keys/") for entry in self.files)

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is to be backed up: its path in the backup, and where it lies or its bytes."""

    path: str
    content: Path | bytes

    def entry(self) -> BackupEntry:
        """Return what the manifest says of it.

        Raises:
            StoreError: it cannot be read.
        """
        digest, size = sha256(), 0
        for chunk in self.chunks():
            digest.update(chunk)
            size += len(chunk)
        return BackupEntry(path=self.path, size=size, digest=f"sha256:{digest.hexdigest()}")

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        try:
            with self.content.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise StoreError(f"{self.content}: cannot be read: {error.strerror}") from error


def write_container(path: Path, manifest: ManifestFile, sources: Sequence[Source]) -> None:
    """Write a new backup durably, for its owner's eyes only.

    Args:
        path: a file that is not there yet, in a folder where nobody looks for backups.
        manifest: names the sources, in their order.
        sources: the files.

    Raises:
        StoreError: a file changed since the manifest was made, or cannot be read; or the backup cannot be written.
    """
    encoded = manifest.encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            _write_member(target, MANIFEST, len(encoded), Source(MANIFEST, encoded), sha256_digest(encoded))
            for entry, source in zip(manifest.files, sources, strict=True):
                _write_member(target, entry.path, entry.size, source, entry.digest)
            target.write(_end(target.tell()))
            target.flush()
            os.fsync(target.fileno())
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def read_container(path: Path, into: Path | None = None) -> tuple[ManifestFile, str]:
    """Read a whole backup; return its manifest and the manifest's digest, which stands for all of it.

    Args:
        path: of the backup.
        into: an empty folder to which its files are written durably; without it they are only checked.

    Raises:
        StoreError: it cannot be read, or `into` cannot be written.
        FormatError: it is no backup, or not as it was written.
    """
    try:
        with path.open("rb") as source:
            manifest, digest = _read_manifest(source, path)
            for entry in manifest.files:
                _expect(source, _header(entry.path, entry.size), path, f"the head of {entry.path}")
                _read_member(source, entry, None if into is None else into / entry.path, path)
            _expect(source, _end(source.tell()), path, "its end")
            if source.read(1):
                raise FormatError(f"{path}: something follows the end of the backup")
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    return manifest, digest


def _read_manifest(source: BinaryIO, path: Path) -> tuple[ManifestFile, str]:
    problem = f"{path}: is no backup of a coordinator, or its beginning is damaged"
    try:
        head = tarfile.TarInfo.frombuf(source.read(_BLOCK), "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise FormatError(problem) from error
    if head.name != MANIFEST or head.tobuf(tarfile.GNU_FORMAT) != _header(MANIFEST, head.size):
        raise FormatError(problem)
    if head.size > _LARGEST_MANIFEST:
        raise FormatError(f"{path}: its manifest has more than {_LARGEST_MANIFEST} bytes")
    data = source.read(head.size)
    try:
        parse_canonical_json(data)
        manifest = ManifestFile.model_validate_json(data)
    except (FormatError, ValidationError) as error:
        raise FormatError(f"{path}: its manifest is not one of vdb-backup/1, or is cut short") from error
    if manifest.encode() != data:
        raise FormatError(f"{path}: its manifest is not in its one encoding")
    _expect(source, _padding(head.size), path, "what follows the manifest")
    return manifest, sha256_digest(data)


def _read_member(source: BinaryIO, entry: BackupEntry, target: Path | None, path: Path) -> None:
    if target is None:
        digest = _passed_on(source, entry.size, lambda _: None)
    else:
        make_directories(target.parent)
        mode = 0o644 if _PUBLIC.fullmatch(entry.path) else 0o600
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                digest = _passed_on(source, entry.size, file.write)
                file.flush()
                os.fsync(file.fileno())
            sync_directory(target.parent)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written: {error.strerror}") from error
    if digest != entry.digest:
        raise FormatError(f"{path}: {entry.path} in it is damaged or cut short; take another backup")
    _expect(source, _padding(entry.size), path, f"what follows {entry.path}")


def _passed_on(source: BinaryIO, size: int, write: Callable[[bytes], object]) -> str:
    """Pass so many bytes on, or as many as there are, and return their digest."""
    digest, left = sha256(), size
    while left and (chunk := source.read(min(left, _CHUNK))):
        digest.update(chunk)
        write(chunk)
        left -= len(chunk)
    return f"sha256:{digest.hexdigest()}"


def _write_member(target: BinaryIO, name: str, size: int, source: Source, digest: str) -> None:
    target.write(_header(name, size))
    found, written = sha256(), 0
    for chunk in source.chunks():
        found.update(chunk)
        written += len(chunk)
        target.write(chunk)
    if (written, f"sha256:{found.hexdigest()}") != (size, digest):
        raise StoreError(f"{name}: changed while it was backed up, or is damaged; run `vdb-coordinator fsck`")
    target.write(_padding(size))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _end(place: int) -> bytes:
    """Return the end of an archive: two empty blocks, filled up to a whole record."""
    return bytes(2 * _BLOCK + -(place + 2 * _BLOCK) % tarfile.RECORDSIZE)


def _expect(source: BinaryIO, wanted: bytes, path: Path, what: str) -> None:
    if source.read(len(wanted)) != wanted:
        raise FormatError(f"{path}: {what} is damaged or cut short; take another backup")
