"""Manifests of weights: which files a model directory holds, and the one digest that a spec names.

Promises that equal directories give equal digests wherever they stand. Leaves what a directory may hold, and
loading, to the participant; the coordinator only pins digests into a spec.

The OpenSSF model signing format hashes the same things: SHA-256 of each whole file, named by its POSIX path and sorted by it;
so a signed manifest can be compared with `manifest_of` file by file. It differs in three points, and equal digests over a
directory would need all of them: its one digest is SHA-256 over the files' 32-byte digests one after the other, without paths
and sizes; it leaves out .git, .gitignore, .gitattributes, .github and the signature, where all dotted names are left out here;
and it refuses links to files unless told otherwise, which hub caches are full of.

Source: protos/README.md §5.1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vdb_shared.canonical import canonical_json, sha256_digest
from vdb_shared.errors import ModelError

UNPINNED: Final = "unpinned"
"""Stands in a preset where the digest of the consortium's own copy of the weights must go."""


def manifest_of(directory: Path) -> tuple[dict[str, str], str]:
    """Return the files of a directory of weights and the digest over all of them.

    Only regular files count, also behind links, as hub caches use them; names that start with a dot do not. The
    digest is SHA-256 over the canonical JSON list of {path, sha256, size}, sorted by the bytes of the paths.

    Returns:
        Digest ("sha256:…") of each file by POSIX path relative to the directory, and the manifest digest.

    Raises:
        ModelError: no such directory, no files in it, a link to a folder, or a file that cannot be read.
    """
    if not directory.is_dir():
        raise ModelError(f"{directory}: expected a directory of weights, found none; fetch the agreed weights into it")
    paths = sorted(_regular_files(directory), key=lambda path: path.relative_to(directory).as_posix().encode())
    if not paths:
        raise ModelError(f"{directory}: expected weights, found no files; fetch the agreed weights into it")
    files: dict[str, str] = {}
    entries: list[dict[str, str | int]] = []
    for path in paths:
        name = path.relative_to(directory).as_posix()
        files[name], size = _file_digest(path)
        entries.append({"path": name, "sha256": files[name], "size": size})
    return files, sha256_digest(canonical_json(entries))


def _regular_files(directory: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(directory, followlinks=False):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in names:
            if (Path(folder) / name).is_symlink():
                raise ModelError(f"{Path(folder) / name}: is a link to a folder; put the folder itself there")
        for name in files:
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file():
                yield path


def _file_digest(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return "sha256:" + digest, stream.tell()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
