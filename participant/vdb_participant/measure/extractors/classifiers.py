"""Classifiers: of clips (VideoMAEForVideoClassification) and of frames (SafetyClassifier).

Promises probabilities in float64 that sum to one. A SafetyClassifier is a ViTForImageClassification that says how likely
a frame is of the kinds that flagged_labels.json in its directory lists, such as unsafe ones; the names are those of
id2label in its config.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from vdb_participant.data.video import Frames
from vdb_participant.measure.extractors.computing import Computing, FrameModel, middles, softmax
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.extractors.loading import load_model
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Extractor

FLAGGED_NAME: Final = "flagged_labels.json"
"""A list of names of classes. A file of its own, so that config.json keeps the bytes that its publisher gave it."""


class VideoClassifier:
    """Tells kinds of clips apart; implements Classifier."""

    def __init__(
        self, description: Description, computing: Computing, model: Any, preprocessing: Preprocessing
    ) -> None:
        self.description = description
        self._computing = computing
        self._model = model
        self._preprocessing = preprocessing

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> VideoClassifier:
        """Return the VideoMAEForVideoClassification of a verified directory.

        Raises:
            ModelError: it cannot be loaded, or has another number of classes than the spec's dimension.
        """
        computing = Computing.on(device, precision)
        model = load_model("VideoMAEForVideoClassification", weights.directory, computing.device)
        check_classes(weights.directory, int(model.config.num_labels), extractor.dimension)
        description = computing.describe(weights, extractor, int(model.config.num_frames))
        return cls(description, computing, model, Preprocessing.load(weights.directory))

    def probabilities(self, frames: Frames) -> Vector:
        """Return the probabilities of the classes of a clip, float64 (K,)."""
        chosen = middles(frames, int(self._model.config.num_frames))
        with self._computing.arithmetic():
            logits = self._model(pixel_values=self._preprocessing(chosen, self._computing.device)[None]).logits
        return np.asarray(softmax(logits)[0], dtype=np.float64)


class SafetyClassifier:
    """Says how likely frames are of flagged kinds; implements FrameScorer."""

    def __init__(self, description: Description, model: FrameModel, flagged: tuple[int, ...]) -> None:
        self.description = description
        self._model = model
        self._flagged = list(flagged)

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> SafetyClassifier:
        """Return the classifier of a verified directory.

        Raises:
            ModelError: it cannot be loaded, flags nothing, or flags a label that is none of its classes.
        """
        check_classes(weights.directory, 1, extractor.dimension)
        computing = Computing.on(device, precision)
        frames, classes = _vit(weights, computing)
        return cls(computing.describe(weights, extractor), frames, _flagged(weights.directory, classes))

    def scores(self, frames: Frames) -> Vector:
        """Return the probability that a frame is of a flagged kind, float64 (T,), in [0, 1]."""
        return np.asarray(softmax(self._model(frames))[:, self._flagged].sum(axis=1), dtype=np.float64)


def _vit(weights: Weights, computing: Computing) -> tuple[FrameModel, Mapping[str, int]]:
    """Return a ViTForImageClassification, and the places of its classes by their names."""
    model = load_model("ViTForImageClassification", weights.directory, computing.device)
    classes = {str(name): int(place) for place, name in model.config.id2label.items()}
    preprocessing = Preprocessing.load(weights.directory)
    return FrameModel(computing, preprocessing, lambda pixels: model(pixel_values=pixels).logits), classes


def check_classes(directory: Path, found: int, expected: int) -> None:
    """Check the number of classes.

    Raises:
        ModelError: it is not the spec's dimension; names the directory.
    """
    if found != expected:
        raise ModelError(f"{directory}: expected {expected} classes, found {found}; check the spec's dimension")


def _flagged(directory: Path, classes: Mapping[str, int]) -> tuple[int, ...]:
    path = directory / FLAGGED_NAME
    try:
        names = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: expected a list of labels of config.json: {str(error).splitlines()[0]}") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{path}: expected a list of labels, found {str(names)[:80]}")
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise ModelError(f"{path}: {unknown[0]!r} is none of the classes {', '.join(classes)[:200]}; see config.json")
    return tuple(sorted({classes[name] for name in names}))
