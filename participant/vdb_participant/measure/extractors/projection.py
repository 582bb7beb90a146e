"""The public linear map of features that comes with an extractor, or none.

Promises that a directory without projection.safetensors gives raw features, and one with it projected ones; in both
cases of the dimension that the spec names. Leaves bounding them to `vdb_shared.metrics.features`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from vdb_participant.measure.extractors.interface import Anchored, LoadedExtractor, Vector
from vdb_shared.errors import ModelError, SpecError
from vdb_shared.metrics.extractors import PUBLIC_MAP_FILE
from vdb_shared.spec import Metric

PROJECTION_NAME: Final = PUBLIC_MAP_FILE

ANCHORS_NAME: Final = "anchors.safetensors"


@dataclass(frozen=True, slots=True)
class Projection:
    """A public linear map of features: (x - centre) basis / radius.

    Attributes:
        centre: (D,), mean of public features.
        basis: (D, d), orthonormal columns.
        radius: median norm of centred, projected public features.
    """

    centre: Vector
    basis: Vector
    radius: float

    @classmethod
    def load(cls, directory: Path, dimension: int) -> Projection:
        """Return the projection of an extractor directory.

        Args:
            directory: of the extractor.
            dimension: d that the spec names.

        Raises:
            ModelError: missing, or of other shapes.
        """
        path = directory / PROJECTION_NAME
        try:
            tensors = load_file(path)
            centre, basis, radius = tensors["centre"], tensors["basis"], tensors["radius"]
        except (OSError, KeyError, SafetensorError) as error:
            raise ModelError(f"{path}: expected centre, basis and radius: {error}") from error
        if centre.ndim != 1 or basis.shape != (len(centre), dimension) or radius.shape != () or not radius > 0:
            raise ModelError(
                f"{path}: expected a basis of ({len(centre)}, {dimension}) and a positive radius as the spec's "
                f"dimension wants, found {basis.shape} and {radius!s}"
            )
        return cls(centre.astype(np.float64), basis.astype(np.float64), float(radius))

    def __call__(self, features: Vector) -> Vector:
        """Return projected features: (D,) becomes (d,), float64."""
        return np.asarray((features - self.centre) @ self.basis / self.radius, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Raw:
    """No map: features stay as they are, which is centre 0, identity and radius 1."""

    def __call__(self, features: Vector) -> Vector:
        """Return the features."""
        return features


def projection_in(directory: Path, raw: int, dimension: int) -> Projection | Raw:
    """Return the map that an extractor directory holds.

    Args:
        directory: of the extractor.
        raw: D, dimension of what the model computes.
        dimension: d that the spec names.

    Raises:
        ModelError: the file does not fit, or there is none and the dimensions differ.
    """
    if (directory / PROJECTION_NAME).is_file():
        projection = Projection.load(directory, dimension)
        check_dimension(directory, len(projection.centre), raw)
        return projection
    check_dimension(directory, raw, dimension)
    return Raw()


def projection_of(features: Vector, dimension: int) -> dict[str, Vector]:
    """Return centre, principal axes and median radius of public features.

    Args:
        features: (n, D), float64.
        dimension: d, number of axes, the widest first.

    Returns:
        centre (D,), basis (D, d) whose columns' largest entries are positive, radius ().
    """
    centre = features.mean(axis=0)
    centred = features - centre
    _, axes = np.linalg.eigh(centred.T @ centred)
    basis = axes[:, ::-1][:, :dimension]
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(dimension)]
    basis = np.ascontiguousarray(basis * np.sign(largest))
    radius = np.median(np.linalg.norm(centred @ basis, axis=1))
    return {"centre": centre, "basis": basis, "radius": np.asarray(radius, dtype=np.float64)}


def anchors_in(directory: Path, dimension: int) -> Vector:
    """Return the public anchors of an extractor directory, in the space of its features, float64 (L, d); (0, d) for none.

    Args:
        directory: of the extractor.
        dimension: d that the spec names.

    Raises:
        ModelError: the file does not hold `anchors` of that dimension, finite.
    """
    path = directory / ANCHORS_NAME
    if not path.is_file():
        return np.zeros((0, dimension))
    try:
        anchors = load_file(path)["anchors"].astype(np.float64)
    except (OSError, KeyError, SafetensorError) as error:
        raise ModelError(f"{path}: expected anchors: {error}") from error
    if anchors.ndim != 2 or anchors.shape[1] != dimension or not np.isfinite(anchors).all():
        raise ModelError(f"{path}: expected finite anchors of dimension {dimension}, found shape {anchors.shape}")
    return anchors


def check_dimension(directory: Path, found: int, expected: int) -> None:
    """Check the dimension of features.

    Raises:
        ModelError: they differ; names the directory.
    """
    if found != expected:
        raise ModelError(f"{directory}: expected features of dimension {expected}, found {found}; check the spec")


def check_anchors(metric: Metric, extractor: LoadedExtractor, place: str) -> None:
    """Check that an extractor has as many anchors as a metric asks for.

    Args:
        metric: that counts clips by anchors.
        extractor: that it names.
        place: of the number in the spec.

    Raises:
        SpecError: it has another number, or none.
    """
    found = len(extractor.anchors) if isinstance(extractor, Anchored) else 0
    if found != metric.features:
        raise SpecError(
            f"{metric.id} asks for {metric.features} anchors, {metric.extractor} has {found}; "
            f"{ANCHORS_NAME} in its folder holds them",
            field=place,
        )
