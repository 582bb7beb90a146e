"""Weights at the participant: nothing is loaded that is not what the spec agreed on.

Promises that a directory whose manifest digest differs from the spec's is refused, and so is one with pickles or code in
it, whatever its digest; loaders take only what passed here. Leaves the digest itself to `vdb_shared.weights` and loading to
`generation/pipelines.py` and `measure/extractors.py`.

Source: protos/README.md §5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vdb_shared.errors import ModelError
from vdb_shared.weights import manifest_of

WEIGHTS_SUFFIX: Final = ".safetensors"

_OLD_WEIGHTS: Final = frozenset((".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5"))
_CODE: Final = frozenset((".py", ".pyc", ".so", ".sh"))
"""What a directory of weights may not hold: loading a pickle runs whatever it says, and remote code is never loaded."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A directory of weights that passed the checks.

    Attributes:
        directory: where it stands.
        manifest: its manifest digest, "sha256:…".
        files: digest of each file by its path in the directory.
    """

    directory: Path
    manifest: str
    files: Mapping[str, str] = field(repr=False)


def list_files(directory: Path) -> Mapping[str, str]:
    """Return the digest ("sha256:…") of each file of a model directory by its path in it, sorted.

    Raises:
        ModelError: see `inspect_weights`.
    """
    return inspect_weights(directory).files


def manifest_digest(directory: Path) -> str:
    """Return the manifest digest of a model directory, as a spec names it.

    Raises:
        ModelError: see `inspect_weights`.
    """
    return inspect_weights(directory).manifest


def inspect_weights(directory: Path) -> Weights:
    """Return what a directory of weights holds.

    Raises:
        ModelError: it is missing, cannot be read, has no safetensors, or holds a pickle or code.
    """
    _refuse_pickles_and_code(directory)
    files, digest = manifest_of(directory)
    if not any(name.endswith(WEIGHTS_SUFFIX) for name in files):
        raise ModelError(f"{directory}: expected {WEIGHTS_SUFFIX} files, found none; fetch the agreed weights into it")
    return Weights(directory, digest, files)


def verify_weights(directory: Path, expected: str) -> Weights:
    """Return the weights of a directory whose manifest digest is the expected one.

    Raises:
        ModelError: missing or changed; names the directory and both digests.
    """
    if not directory.is_dir():
        raise ModelError(
            f"{directory}: expected weights with {expected} in the spec, found no such directory; "
            "fetch the agreed weights into it or ask the lead"
        )
    weights = inspect_weights(directory)
    if weights.manifest != expected:
        raise ModelError(
            f"{directory}: expected {expected} in the spec, found {weights.manifest} over its {len(weights.files)} files; "
            "fetch the agreed weights or ask the lead (`vdb-participant models verify` shows every file's digest)"
        )
    return weights


def _refuse_pickles_and_code(directory: Path) -> None:
    """Refuse by name before any byte is read, hidden files too."""
    for path in sorted(directory.rglob("*")):
        suffix = path.suffix.lower()
        if suffix in _OLD_WEIGHTS or suffix in _CODE:
            kind = "code" if suffix in _CODE else "a pickle or another old weights format"
            raise ModelError(f"{path}: is {kind}; only safetensors and JSON are loaded, remove it or ask the lead")
