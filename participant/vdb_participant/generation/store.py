"""The clip store: every generated clip, lossless, under the digest of all that made it.

Promises that an entry is whole or absent (written aside, flushed, renamed), that a damaged entry is noticed by its digest
and treated as absent, that a clip's measured seconds stay with it, so that merging two stores merges measurements, and that
several agents may share a store: a clip is made by whoever holds its claim. Leaves making clips to `engine.py`.

    DIR/<first two digits of the key>/<key>.clip      SHA-256 of the rest (32 bytes), fields (§2.1): JSON header, Zstandard of
                                                      the frames and, where the header has "sound", float32 samples
                                                      (little-endian)
    DIR/<first two digits of the key>/<key>.failed    the same with two fields: the reason, the model's manifest digest
    DIR/<first two digits of the key>/<key>.steps     the same with two fields: what an unfinished clip has (checkpoints.py)
    DIR/<first two digits of the key>/<key>.lock      locked by whoever makes the clip (claims.py)

Source: protos/README.md §7.4 (clip digest).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError, frame_content_size

from vdb_participant.data.video import Frames
from vdb_participant.generation.claims import claimed, remove_leftovers
from vdb_participant.generation.settings import Clip, GenerationSettings, Sound
from vdb_participant.site.storage import make_folder
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
from vdb_shared.tasks import ClipTask, clip_seed

_METHOD: Final = "zstd"
_COMPRESSION: Final = 1
"""Level: a clip at full size takes a tenth of a second, where zlib took more than one."""

_CHECKSUM_BYTES: Final = 32

_FIELDS: Final = {"clip": 2, "failed": 2, "steps": 2}
"""Number of fields of each kind of entry."""


@dataclass(frozen=True, slots=True)
class ClipKey:
    """All that decides a clip's frames.

    Attributes:
        model: digest of the model's weights manifest.
        prompt: the prompt's words.
        seed: of the clip.
        settings: JSON form of the generation settings.
        condition: digest of the bytes of the file that the clip starts from, or "" for words alone.
    """

    model: str
    prompt: str
    seed: int
    settings: tuple[tuple[str, Any], ...]
    condition: str = ""

    @property
    def name(self) -> str:
        """64 hex digits under which the clip is kept; the prompt cannot be read from them."""
        return _name_of(self)


@lru_cache(maxsize=1024)
def _name_of(key: ClipKey) -> str:
    value = {"model": key.model, "prompt": key.prompt, "seed": str(key.seed), "settings": dict(key.settings)}
    if key.condition:
        value["condition"] = key.condition
    return sha256_digest(canonical_json(value)).removeprefix("sha256:")


def clip_key(spec: str, manifest: str, settings: GenerationSettings, task: ClipTask) -> ClipKey:
    """Return the key of a task's clip.

    Args:
        spec: digest of the spec.
        manifest: digest of the weights of the task's model.
        settings: of the model's clips.
        task: the clip to make.
    """
    chosen = tuple(sorted(settings.to_json().items()))
    return ClipKey(manifest, task.prompt, clip_seed(spec, task), chosen, task.condition)


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A finished clip.

    Attributes:
        frames: uint8 (T, H, W, 3).
        seconds: latency, measured when it was generated.
        device: model of the device it was generated on.
        digest: of shape and frames, "sha256:…".
        record: how it was made and what that took (record.py); no part of the digest.
        sound: of models that make any; no part of the digest.
    """

    frames: Frames = field(repr=False)
    seconds: float
    device: str
    digest: str
    record: Mapping[str, Any] = field(default_factory=dict)
    sound: Sound | None = None


def clip_digest(frames: Frames) -> str:
    """Return the digest of a clip: H("vdb-clips/1|frames", T, H, W as u32, frame bytes)."""
    shape = b"".join(size.to_bytes(4, "little") for size in frames.shape[:3])
    return digest_string(labelled_hash(labels.HASH_CLIP, shape, np.ascontiguousarray(frames).tobytes()))


class ClipStore:
    """A directory of finished clips. Several processes may write to it; one clip's bytes are the same from all of them."""

    def __init__(self, directory: Path) -> None:
        """Open a store, make its directory where it is missing, and remove what dead writers left half written.

        Raises:
            StoreError: the directory cannot be made.
        """
        self.directory = directory
        make_folder(directory)
        try:
            remove_leftovers(directory, time.time())
        except OSError as error:
            raise StoreError(f"{directory}: cannot be made: {error.strerror}") from error

    def get(self, key: ClipKey) -> StoredClip | None:
        """Return a finished clip, or None when there is none or it is damaged."""
        entry = self._entry(key)
        if entry is None:
            return None
        header, compressed = entry
        size = math.prod(header["shape"])
        samples = 4 * math.prod(header["sound"]["shape"]) if "sound" in header else 0
        try:
            if frame_content_size(compressed) != size + samples:
                return None
            payload = ZstdDecompressor().decompress(compressed)
        except ZstdError:
            return None
        frames = np.frombuffer(payload, dtype=np.uint8, count=size).reshape(header["shape"])
        seconds = float(parse_decimal(header["seconds"]))
        sound = _sound(header["sound"], payload[size:]) if "sound" in header else None
        return StoredClip(frames, seconds, header["device"], header["digest"], header.get("record", {}), sound)

    def has(self, key: ClipKey) -> bool:
        """Return whether a finished, undamaged clip is kept."""
        return self._entry(key) is not None

    def kept(self, key: ClipKey) -> bool:
        """Return whether there is an entry of a finished clip, damaged or not, without reading it."""
        return self._path(key, "clip").is_file()

    def put(
        self, key: ClipKey, made: Clip, *, seconds: float, device: str, record: Mapping[str, Any] | None = None
    ) -> StoredClip:
        """Keep a finished clip durably and return it; what was kept of its steps goes.

        Raises:
            StoreError: it cannot be written.
        """
        frames = np.ascontiguousarray(made.frames)
        clip = StoredClip(frames, seconds, device, clip_digest(frames), record or {}, made.sound)
        header: dict[str, Any] = {
            "shape": list(frames.shape),
            "seconds": decimal_string(seconds),
            "device": device,
            "digest": clip.digest,
            "record": dict(clip.record),
            "compression": _METHOD,
        }
        payload = frames.tobytes()
        if made.sound is not None:
            waveform = np.ascontiguousarray(made.sound.waveform, dtype="<f4")
            header["sound"] = {"shape": list(waveform.shape), "rate": made.sound.rate}
            payload += waveform.tobytes()
        entry = encode_fields(canonical_json(header), ZstdCompressor(level=_COMPRESSION).compress(payload))
        write_entry(self._path(key, "clip"), entry)
        self.drop_steps(key)
        return clip

    def failure(self, key: ClipKey) -> str | None:
        """Return the reason for which a clip was given up, or None."""
        fields = self._read(key, "failed")
        return None if fields is None else fields[0].decode("utf-8")

    def give_up(self, key: ClipKey, reason: str) -> None:
        """Record that a clip could not be made; what was kept of its steps goes.

        Raises:
            StoreError: it cannot be written.
        """
        write_entry(self._path(key, "failed"), encode_fields(reason.encode("utf-8"), key.model.encode("utf-8")))
        self.drop_steps(key)

    def forget_failures(self, model: str) -> int:
        """Remove the failures of a model, so that its clips are tried again; return how many there were.

        Args:
            model: digest of its weights manifest.
        """
        found = [path for path in self._entries("failed") if (read_entry(path, 2) or (b"", b""))[1] == model.encode()]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def claim(self, key: ClipKey, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Return a context that holds a clip's claim, and says whether it does; see `claims.claimed`."""
        return claimed(self._path(key, "lock"), wait=wait)

    def steps(self, key: ClipKey) -> tuple[bytes, ...] | None:
        """Return what was kept of an unfinished clip, or None when there is nothing or it is damaged."""
        return self._read(key, "steps")

    def keep_steps(self, key: ClipKey, head: bytes, tensors: bytes) -> None:
        """Keep the state of an unfinished clip durably, in the place of an earlier one.

        Raises:
            StoreError: it cannot be written; the earlier one is still there.
        """
        write_entry(self._path(key, "steps"), encode_fields(head, tensors))

    def drop_steps(self, key: ClipKey) -> None:
        """Remove what was kept of an unfinished clip."""
        self._path(key, "steps").unlink(missing_ok=True)

    def merge(self, other: ClipStore) -> int:
        """Take over what another store has finished and this one has not; return the number of clips taken.

        Raises:
            StoreError: an entry cannot be written.
        """
        taken = 0
        for source in sorted([*other._entries("clip"), *other._entries("failed")]):
            target = self.directory / source.parent.name / source.name
            count = _FIELDS[source.suffix.removeprefix(".")]
            if read_entry(target, count) is None and (fields := read_entry(source, count)) is not None:
                write_entry(target, encode_fields(*fields))
                taken += source.suffix == ".clip"
        return taken

    def _entries(self, suffix: str) -> Iterator[Path]:
        yield from self.directory.glob(f"??/*.{suffix}")

    def _path(self, key: ClipKey, suffix: str) -> Path:
        name = key.name
        return self.directory / name[:2] / f"{name}.{suffix}"

    def _entry(self, key: ClipKey) -> tuple[dict[str, Any], bytes] | None:
        """Return header and compressed payload of a finished clip, or None: absent, damaged, or of another version's form."""
        fields = self._read(key, "clip")
        if fields is None:
            return None
        header = json.loads(fields[0])
        return (header, fields[1]) if header.get("compression") == _METHOD else None

    def _read(self, key: ClipKey, suffix: str) -> tuple[bytes, ...] | None:
        return read_entry(self._path(key, suffix), _FIELDS[suffix])


def _sound(header: Mapping[str, Any], samples: bytes) -> Sound:
    waveform = np.frombuffer(samples, dtype="<f4").reshape(header["shape"])
    return Sound(waveform.astype(np.float32), header["rate"])


def write_entry(path: Path, body: bytes) -> None:
    """Write an entry durably, whole or not at all, readable by its owner alone, with its checksum.

    Args:
        path: of the entry; its folder is made where the one above it is there.
        body: fields (§2.1).

    Raises:
        StoreError: it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        try:
            with os.fdopen(handle, "wb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)  # until it is renamed, so that nobody takes it for a dead writer's
                stream.write(hashlib.sha256(body).digest() + body)
                stream.flush()
                os.fsync(stream.fileno())
                Path(partial).replace(path)
        finally:
            with suppress(OSError):
                Path(partial).unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; free space and start again") from error


def read_entry(path: Path, count: int) -> tuple[bytes, ...] | None:
    """Return the fields of an entry that `write_entry` wrote, or None when it is absent or damaged.

    Args:
        path: of the entry.
        count: number of its fields.

    Raises:
        StoreError: it is there and cannot be read.
    """
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
