"""The clip store: every generated clip, lossless, under the digest of all that made it.

Promises that an entry is whole or absent (written aside, flushed, renamed), that a damaged entry is noticed by its digest
and treated as absent, and that a clip's measured seconds stay with it, so that merging two stores merges measurements.
Leaves making clips to `engine.py`.

    DIR/<first two digits of the key>/<key>.clip      SHA-256 of the rest (32 bytes), fields (§2.1): JSON header, zlib frames
    DIR/<first two digits of the key>/<key>.failed    the same with one field: the reason

Source: protos/README.md §7.4 (clip digest).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from vdb_participant.data.video import Frames
from vdb_shared import labels
from vdb_shared.canonical import (
    canonical_json,
    decimal_string,
    decode_fields,
    digest_string,
    encode_fields,
    labelled_hash,
    parse_decimal,
    sha256_digest,
)
from vdb_shared.errors import FormatError, StoreError

_COMPRESSION: Final = 1
"""zlib level: the fastest; a clip is read back far more often than disks fill up."""

_CHECKSUM_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ClipKey:
    """All that decides a clip's frames.

    Attributes:
        model: digest of the model's weights manifest.
        prompt: the prompt's words.
        seed: of the clip.
        settings: JSON form of the generation settings.
    """

    model: str
    prompt: str
    seed: int
    settings: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """64 hex digits under which the clip is kept; the prompt cannot be read from them."""
        value = {"model": self.model, "prompt": self.prompt, "seed": str(self.seed), "settings": dict(self.settings)}
        return sha256_digest(canonical_json(value)).removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A finished clip.

    Attributes:
        frames: uint8 (T, H, W, 3).
        seconds: latency, measured when it was generated.
        device: model of the device it was generated on.
        digest: of shape and frames, "sha256:…".
    """

    frames: Frames = field(repr=False)
    seconds: float
    device: str
    digest: str


def clip_digest(frames: Frames) -> str:
    """Return the digest of a clip: H("vdb-clips/1|frames", T, H, W as u32, frame bytes)."""
    shape = b"".join(size.to_bytes(4, "little") for size in frames.shape[:3])
    return digest_string(labelled_hash(labels.HASH_CLIP, shape, np.ascontiguousarray(frames).tobytes()))


class ClipStore:
    """A directory of finished clips. Several processes may write to it; one clip's bytes are the same from all of them."""

    def __init__(self, directory: Path) -> None:
        """Open a store, and make its directory where it is missing.

        Raises:
            StoreError: the directory cannot be made.
        """
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{directory}: cannot be made: {error.strerror}") from error

    def get(self, key: ClipKey) -> StoredClip | None:
        """Return a finished clip, or None when there is none or it is damaged."""
        fields = _read_entry(self._path(key, "clip"), 2)
        if fields is None:
            return None
        header = json.loads(fields[0])
        frames = np.frombuffer(zlib.decompress(fields[1]), dtype=np.uint8).reshape(header["shape"])
        return StoredClip(frames, float(parse_decimal(header["seconds"])), header["device"], header["digest"])

    def has(self, key: ClipKey) -> bool:
        """Return whether a finished, undamaged clip is kept."""
        return _read_entry(self._path(key, "clip"), 2) is not None

    def put(self, key: ClipKey, frames: Frames, *, seconds: float, device: str) -> StoredClip:
        """Keep a finished clip durably and return it.

        Raises:
            StoreError: it cannot be written.
        """
        clip = StoredClip(frames, seconds, device, clip_digest(frames))
        header = {
            "shape": list(frames.shape),
            "seconds": decimal_string(seconds),
            "device": device,
            "digest": clip.digest,
        }
        payload = zlib.compress(np.ascontiguousarray(frames).tobytes(), _COMPRESSION)
        self._write(self._path(key, "clip"), encode_fields(canonical_json(header), payload))
        return clip

    def failure(self, key: ClipKey) -> str | None:
        """Return the reason for which a clip was given up, or None."""
        fields = _read_entry(self._path(key, "failed"), 1)
        return None if fields is None else fields[0].decode("utf-8")

    def give_up(self, key: ClipKey, reason: str) -> None:
        """Record that a clip could not be made.

        Raises:
            StoreError: it cannot be written.
        """
        self._write(self._path(key, "failed"), encode_fields(reason.encode("utf-8")))

    def merge(self, other: ClipStore) -> int:
        """Take over what another store has finished and this one has not; return the number of clips taken.

        Raises:
            StoreError: an entry cannot be written.
        """
        taken = 0
        for source in sorted(other._entries()):
            target = self._directory / source.parent.name / source.name
            count = 2 if source.suffix == ".clip" else 1
            if _read_entry(target, count) is None and (fields := _read_entry(source, count)) is not None:
                self._write(target, encode_fields(*fields))
                taken += source.suffix == ".clip"
        return taken

    def _entries(self) -> Iterator[Path]:
        yield from self._directory.glob("??/*.clip")
        yield from self._directory.glob("??/*.failed")

    def _path(self, key: ClipKey, suffix: str) -> Path:
        name = key.name
        return self._directory / name[:2] / f"{name}.{suffix}"

    def _write(self, path: Path, body: bytes) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(hashlib.sha256(body).digest() + body)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(partial).replace(path)
            finally:
                Path(partial).unlink(missing_ok=True)
            _sync_directory(path.parent)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}; free space and start again") from error


def _read_entry(path: Path, count: int) -> tuple[bytes, ...] | None:
    """Return an entry's fields, or None when it is absent or damaged."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    body = stored[_CHECKSUM_BYTES:]
    if hashlib.sha256(body).digest() != stored[:_CHECKSUM_BYTES]:
        return None
    try:
        return decode_fields(body, count)
    except FormatError:
        return None


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
