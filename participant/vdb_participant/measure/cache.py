"""Features that are kept: what an extractor said of a clip, so that measuring again computes nothing twice.

Promises that an entry is found only under all that it depends on (the clip, the extractor and its weights, device,
precision, the versions of the libraries that compute), that a damaged one is as good as absent, and that entries are
readable by their owner alone: what is known about a private clip is as private as the clip. Words are not kept; reading
them again is as quick.

    DIR/<first two digits of the key>/<key>.features      as the clip store's entries: JSON header, float64 (little-endian)
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from vdb_participant.generation.claims import remove_leftovers
from vdb_participant.generation.store import read_entry, write_entry
from vdb_participant.measure.extractors.interface import Description, Vector
from vdb_participant.site.storage import make_folder
from vdb_shared import __version__
from vdb_shared.canonical import canonical_json, encode_fields, sha256_digest
from vdb_shared.errors import StoreError

FOLDER: Final = "features"
"""Of a site's features, in the folder of its clips."""

LARGEST_BYTES: Final = 16 * 2**20
"""Of one entry: 1024 frames of 2048 numbers. What is larger is computed again each time, so that a clip of n extractors
never takes more than 16 n MiB."""

_FORM: Final = "vdb-features/1"
_COMPUTING: Final = ("torch", "transformers", "numpy")
"""Packages whose versions can change a feature in its last digits."""


class FeatureCache:
    """A directory of features. Several processes may write to it."""

    def __init__(self, directory: Path) -> None:
        """Open a cache, make its directory where it is missing, and remove what dead writers left half written.

        Raises:
            StoreError: the directory cannot be made.
        """
        self.directory = directory
        make_folder(directory)
        try:
            remove_leftovers(directory, time.time())
        except OSError as error:
            raise StoreError(f"{directory}: cannot be tidied up: {error.strerror}") from error
        self._versions = {package: metadata.version(package) for package in _COMPUTING} | {"vdb": __version__}

    def get(self, clip: str, extractor: Description, kind: str) -> Vector | None:
        """Return kept features, or None when there are none or they are damaged.

        Args:
            clip: digest of the clip.
            extractor: of which extractor.
            kind: what it was asked for, such as "frames" or "clip".
        """
        key = self._key(clip, extractor, kind)
        fields = read_entry(self._path(key), 2)
        if fields is None:
            return None
        header = json.loads(fields[0])
        if header.get("key") != key or 8 * math.prod(header["shape"]) != len(fields[1]):
            return None
        return np.frombuffer(fields[1], dtype="<f8").reshape(header["shape"]).astype(np.float64)

    def put(self, clip: str, extractor: Description, kind: str, features: Vector) -> None:
        """Keep features; those of more than `LARGEST_BYTES` are left out.

        Args:
            clip: digest of the clip.
            extractor: of which extractor.
            kind: what it was asked for.
            features: float64, of any shape.

        Raises:
            StoreError: they cannot be written.
        """
        values = np.ascontiguousarray(features, dtype="<f8")
        if values.nbytes > LARGEST_BYTES:
            return
        key = self._key(clip, extractor, kind)
        header = canonical_json({"key": key, "shape": list(values.shape)})
        write_entry(self._path(key), encode_fields(header, values.tobytes()))

    def _key(self, clip: str, extractor: Description, kind: str) -> dict[str, Any]:
        """Return all that features depend on; the extractor's id, a name that a spec gives it, is not in it."""
        known = {name: value for name, value in asdict(extractor).items() if name != "id"}
        return {"form": _FORM, "clip": clip, "kind": kind, "extractor": known, "versions": self._versions}

    def _path(self, key: dict[str, Any]) -> Path:
        name = sha256_digest(canonical_json(key)).removeprefix("sha256:")
        return self.directory / name[:2] / f"{name}.features"
