"""Scores of single frames without a reference: how they please, how well they are made.

Promises one number a frame in float64; a metric averages and clamps them.

Source: LAION's aesthetic predictor (a linear head on CLIP), divided by ten as VBench does; Wang et al., AAAI 2023
(CLIP-IQA).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vdb_participant.data.video import Frames
from vdb_participant.measure.extractors.classifiers import check_classes
from vdb_participant.measure.extractors.computing import Computing, FrameModel, to_float64, unit
from vdb_participant.measure.extractors.images import load_towers
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.extractors.loading import load_model
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Extractor

HEAD_NAME: Final = "head.safetensors"
"""The linear head of an AestheticPredictor: weight (1, D) and bias (1,)."""

AESTHETIC_SCALE: Final = 10.0
"""Upper end of the votes that the head was fitted to."""

ANTONYMS: Final = ("Good photo.", "Bad photo.")
"""Of a pair of words for overall quality, as CLIP-IQA has it."""

CLIP_SCALE: Final = 100.0
"""By which CLIP multiplies cosines; all published weights have it, and CLIP-IQA uses it."""


class AestheticPredictor:
    """A CLIPVisionModelWithProjection and a linear head on its unit vectors; implements FrameScorer."""

    def __init__(self, description: Description, model: FrameModel, weight: Vector, bias: float) -> None:
        self.description = description
        self._model = model
        self._weight = weight
        self._bias = bias

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> AestheticPredictor:
        """Return the predictor of a verified directory.

        Raises:
            ModelError: it cannot be loaded, or its head does not fit.
        """
        check_classes(weights.directory, 1, extractor.dimension)
        computing = Computing.on(device, precision)
        model = load_model("CLIPVisionModelWithProjection", weights.directory, computing.device)
        weight, bias = _head(weights.directory / HEAD_NAME, int(model.config.projection_dim))
        frames = FrameModel(
            computing, Preprocessing.load(weights.directory), lambda pixels: model(pixel_values=pixels).image_embeds
        )
        return cls(computing.describe(weights, extractor), frames, weight, bias)

    def scores(self, frames: Frames) -> Vector:
        """Return (w x + b)/10 of the unit vector x of every frame, float64 (T,); mostly in [0, 1], not clamped."""
        return np.asarray((unit(self._model(frames)) @ self._weight + self._bias) / AESTHETIC_SCALE, dtype=np.float64)


class ImageQualityPredictor:
    """A ViTForImageClassification with one output, trained to regress opinions in [0, 1]; implements FrameScorer."""

    def __init__(self, description: Description, model: FrameModel) -> None:
        self.description = description
        self._model = model

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> ImageQualityPredictor:
        """Return the predictor of a verified directory.

        Raises:
            ModelError: it cannot be loaded, or has more than one output.
        """
        computing = Computing.on(device, precision)
        model = load_model("ViTForImageClassification", weights.directory, computing.device)
        check_classes(weights.directory, int(model.config.num_labels), extractor.dimension)
        check_classes(weights.directory, int(model.config.num_labels), 1)
        rows = partial(_logits, model)
        frames = FrameModel(computing, Preprocessing.load(weights.directory), rows)
        return cls(computing.describe(weights, extractor), frames)

    def scores(self, frames: Frames) -> Vector:
        """Return the output for every frame, float64 (T,), not clamped."""
        return np.asarray(to_float64(self._model(frames))[:, 0], dtype=np.float64)


class AntonymQuality:
    """A CLIPModel that is asked whether a frame is a good or a bad photo; implements FrameScorer."""

    def __init__(self, description: Description, model: FrameModel, difference: Vector) -> None:
        self.description = description
        self._model = model
        self._difference = difference

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> AntonymQuality:
        """Return the predictor of a verified directory.

        Raises:
            ModelError: it cannot be loaded.
        """
        check_classes(weights.directory, 1, extractor.dimension)
        computing = Computing.on(device, precision)
        frames, words, _ = load_towers("CLIPModel", weights, computing)
        good, bad = (unit(words(text))[0] for text in ANTONYMS)
        return cls(computing.describe(weights, extractor), frames, np.asarray(good - bad, dtype=np.float64))

    def scores(self, frames: Frames) -> Vector:
        """Return the probability of "good" of every frame, float64 (T,), in [0, 1]."""
        logits = CLIP_SCALE * (unit(self._model(frames)) @ self._difference)
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float64)


def _logits(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(pixel_values=pixels).logits
    return logits


def _head(path: Path, dimension: int) -> tuple[Vector, float]:
    try:
        tensors = load_file(path)
        weight, bias = tensors["weight"], tensors["bias"]
    except (OSError, KeyError, SafetensorError) as error:
        raise ModelError(f"{path}: expected the weight and bias of a linear head: {error}") from error
    if weight.shape != (1, dimension) or bias.shape != (1,):
        raise ModelError(
            f"{path}: expected a weight of (1, {dimension}) and a bias of (1,), found {tuple(weight.shape)} and "
            f"{tuple(bias.shape)}"
        )
    return to_float64(weight)[0], float(bias[0])
