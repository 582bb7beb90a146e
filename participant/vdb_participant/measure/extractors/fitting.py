"""Fitting the public map of an extractor's features to public clips.

Promises that nothing private is read, that a new folder is written whole or not at all, and that it holds the raw extractor's
own files, unchanged, beside the map. Leaves what folders may be used to `public_folders.py`, what the map is for to
`projection.py`, and the choice of a dimension to `vdb_shared.metrics.dimension`.

Source: protos/README.md §7.4.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save_file

from vdb_participant.data.resize import fit
from vdb_participant.data.video import decode
from vdb_participant.measure.extractors.interface import ClipEmbedder, LoadedExtractor, Vector
from vdb_participant.measure.extractors.projection import PROJECTION_NAME, projection_of
from vdb_participant.measure.extractors.public_folders import (
    FEWEST_CLIPS_PER_AXIS,
    RawExtractor,
    Shape,
    check_new,
    settings_of,
    too_few,
)
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.models import Weights, inspect_weights, script_in
from vdb_shared.errors import DatasetError, ModelError, UsageError
from vdb_shared.spec import Extractor

LOGITS: Final = 400
"""Length of the features of an I3D."""


@dataclass(frozen=True, slots=True)
class PublicFeatures:
    """Raw features of public clips.

    Attributes:
        values: (n, D), float64, finite.
        eigenvalues: (D,), of their covariance (1/n), in squared units of the features, the largest first.
    """

    values: Vector = field(repr=False)
    eigenvalues: Vector = field(repr=False)

    @classmethod
    def of(cls, values: Vector) -> PublicFeatures:
        """Return features with their spectrum.

        Raises:
            UsageError: there are fewer than two, they are not finite, or all the same.
        """
        if values.ndim != 2 or len(values) < 2:
            raise UsageError(f"expected at least 2 public clips, found {len(values)}; add clips")
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise UsageError(f"public clip {first + 1}: its features are not finite; check the extractor's weights")
        centred = values - values.mean(axis=0)
        spectrum = np.linalg.eigvalsh(centred.T @ centred / len(values))[::-1]
        rounding = values.shape[1] * np.finfo(np.float64).eps * max(float(spectrum[0]), 0.0)
        eigenvalues = np.where(spectrum > rounding, spectrum, 0.0)
        if float(eigenvalues[0]) <= np.finfo(np.float64).eps * float(np.mean(values**2)):
            raise UsageError("the public clips all have the same features; add clips that differ")
        return cls(values, np.asarray(eigenvalues, dtype=np.float64))

    @property
    def largest_dimension(self) -> int:
        """How many axes there are clips enough for, and features."""
        return min(len(self.values) // FEWEST_CLIPS_PER_AXIS, int(np.count_nonzero(self.eigenvalues)))

    def explained(self, dimension: int) -> float:
        """Return the share of the variance along the first axes."""
        return float(self.eigenvalues[:dimension].sum() / self.eigenvalues.sum())

    def tensors(self, dimension: int) -> dict[str, Vector]:
        """Return the map that keeps so many axes: centre (D,), basis (D, d), radius (), eigenvalues (D,) over radius squared.

        Raises:
            UsageError: there are too few clips, or features, for so many axes.
        """
        if dimension > self.largest_dimension:
            whose = f" with features of {self.values.shape[1]} numbers"
            raise UsageError(too_few(len(self.values), self.largest_dimension, dimension, whose))
        found = projection_of(self.values, dimension)
        return found | {"eigenvalues": np.ascontiguousarray(self.eigenvalues / float(found["radius"]) ** 2)}


def load_raw(raw: RawExtractor, device: str = "auto") -> tuple[LoadedExtractor, Weights]:
    """Return the extractor of a folder without a map, and its weights.

    Args:
        raw: the folder, and what extractor is in it.
        device: as `device.resolve_device` takes it.

    Raises:
        ModelError: it cannot be loaded.
        UsageError: no such device, or the architecture sees no whole clips.
    """
    folder = raw.folder
    script = script_in(folder)
    weights = inspect_weights(folder, script)
    dimension = LOGITS if script else settings_of(folder).get("hidden_size")
    if not isinstance(dimension, int) or dimension < 1:
        raise ModelError(f"{folder}: expected hidden_size in config.json, found {dimension!r}; check the weights")
    extractor = Extractor(id="public", architecture=raw.architecture, manifest=weights.manifest, dimension=dimension)
    loaded = load_extractor(weights, extractor, device)
    if not isinstance(loaded, ClipEmbedder):
        raise UsageError(f"{raw.architecture}: does not see whole clips, so its features have no public map")
    return loaded, weights


def features_of(
    extractor: LoadedExtractor, clips: Sequence[Path], shape: Shape, tell: Callable[[int], None] = lambda _: None
) -> PublicFeatures:
    """Return the raw features of public clips.

    Args:
        extractor: a ClipEmbedder without a map.
        clips: video files.
        shape: what they are brought to; so many frames as the extractor takes where it says nothing.
        tell: told how many clips are done.

    Raises:
        DatasetError: a clip cannot be read or is too short; names it.
        UsageError: see `PublicFeatures.of`.
    """
    if not isinstance(extractor, ClipEmbedder):
        raise ValueError(f"{extractor.description.architecture} sees no whole clips")
    frames = shape.frames or extractor.description.frames
    values = []
    for done, path in enumerate(clips, start=1):
        clip = decode(path, frames=frames)
        height, width = shape.size or clip.frames.shape[1:3]
        try:
            shown = fit(clip, frames=frames or len(clip.frames), height=height, width=width)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
        values.append(extractor.embed_clip(shown))
        tell(done)
    return PublicFeatures.of(np.stack(values))


def write_mapped(weights: Weights, tensors: dict[str, Vector], output: Path) -> Weights:
    """Write a folder with an extractor's files and a map, and return its weights.

    Args:
        weights: of the raw extractor.
        tensors: of the map.
        output: new folder.

    Raises:
        UsageError: it exists, or cannot be written.
    """
    check_new(output)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".fitting-") as partial:
            place = Path(partial) / output.name
            for name in weights.files:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weights.directory / name, place / name)
            save_file(tensors, place / PROJECTION_NAME)
            (place / PROJECTION_NAME).chmod(0o644)  # the library makes it the owner's alone
            place.rename(output)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror or error}") from error
    return inspect_weights(output, script_in(output))
