"""Extractors of single frames: CLIPModel and SiglipModel, which read too, Dinov2Model and ViTModel, which only see.

Promises one unit vector a frame. As features of a clip, for distances between distributions, stands the mean of the
unit vectors of its frames, projected; without a projection it is of length 1 at most.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from vdb_participant.data.video import Frames
from vdb_participant.measure.extractors.computing import Computing, FrameModel, unit
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.extractors.loading import load_model, load_tokenizer
from vdb_participant.measure.extractors.projection import Projection, Raw, projection_in
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import Weights
from vdb_shared.spec import Extractor


class ImageExtractor:
    """A vision model: unit vectors of frames; implements FrameEmbedder and ClipEmbedder."""

    def __init__(self, description: Description, model: FrameModel, projection: Projection | Raw) -> None:
        self.description = description
        self._model = model
        self._projection = projection

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> ImageExtractor:
        """Return the Dinov2Model or ViTModel of a verified directory; a frame is its class token behind the last norm.

        Raises:
            ModelError: it cannot be loaded or has another dimension than the spec says.
        """
        computing = Computing.on(device, precision)
        options = {"add_pooling_layer": False} if extractor.architecture == "ViTModel" else {}
        model = load_model(extractor.architecture, weights.directory, computing.device, **options)
        projection = projection_in(weights.directory, int(model.config.hidden_size), extractor.dimension)
        frames = FrameModel(computing, Preprocessing.load(weights.directory), partial(_class_token, model))
        return cls(computing.describe(weights, extractor), frames, projection)

    def embed_frames(self, frames: Frames) -> Vector:
        """Return one unit vector a frame, float64 (T, D); NaN where a frame has no direction."""
        return unit(self._model(frames))

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the mean of the frames' unit vectors, projected, float64 (d,)."""
        return self._projection(np.asarray(self.embed_frames(frames).mean(axis=0), dtype=np.float64))


class ImageTextExtractor:
    """A model of pictures and words: unit vectors of both; implements FrameEmbedder, TextEmbedder and ClipEmbedder."""

    def __init__(self, pictures: ImageExtractor, words: Callable[[str], torch.Tensor]) -> None:
        self.description = pictures.description
        self._pictures = pictures
        self._words = words

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> ImageTextExtractor:
        """Return the CLIPModel or SiglipModel of a verified directory.

        Raises:
            ModelError: it cannot be loaded or has another dimension than the spec says.
        """
        computing = Computing.on(device, precision)
        frames, words, raw = load_towers(extractor.architecture, weights, computing)
        projection = projection_in(weights.directory, raw, extractor.dimension)
        return cls(ImageExtractor(computing.describe(weights, extractor), frames, projection), words)

    def embed_frames(self, frames: Frames) -> Vector:
        """Return one unit vector a frame, float64 (T, D); NaN where a frame has no direction."""
        return self._pictures.embed_frames(frames)

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the mean of the frames' unit vectors, projected, float64 (d,)."""
        return self._pictures.embed_clip(frames)

    def embed_text(self, text: str) -> Vector:
        """Return the unit vector of words, float64 (D,); words beyond the model's length are cut off."""
        return np.asarray(unit(self._words(text))[0], dtype=np.float64)


def load_towers(
    architecture: str, weights: Weights, computing: Computing
) -> tuple[FrameModel, Callable[[str], torch.Tensor], int]:
    """Return both sides of a CLIPModel or SiglipModel: of frames, and of words (1, D); and D.

    Raises:
        ModelError: it cannot be loaded.
    """
    model = load_model(architecture, weights.directory, computing.device)
    siglip = architecture == "SiglipModel"
    raw = int(model.config.vision_config.hidden_size if siglip else model.config.projection_dim)
    frames = FrameModel(computing, Preprocessing.load(weights.directory), partial(_picture, model))
    read = _read_filled if siglip else _read
    return frames, partial(read, model, load_tokenizer(weights.directory), computing), raw


def _class_token(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    hidden: torch.Tensor = model(pixel_values=pixels).last_hidden_state
    return hidden[:, 0]


def _picture(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    features: torch.Tensor = model.get_image_features(pixel_values=pixels).pooler_output
    return features


def _read(model: Any, tokenizer: Any, computing: Computing, text: str) -> torch.Tensor:
    longest = int(model.config.text_config.max_position_embeddings)
    tokens = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt").to(computing.device)
    with computing.arithmetic():
        output = model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    features: torch.Tensor = output.pooler_output
    return features


def _read_filled(model: Any, tokenizer: Any, computing: Computing, text: str) -> torch.Tensor:
    """Read words as SigLIP was trained: filled up to its length, and the filling is not masked."""
    longest = int(model.config.text_config.max_position_embeddings)
    tokens = tokenizer(text, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
    with computing.arithmetic():
        output = model.get_text_features(input_ids=tokens["input_ids"].to(computing.device))
    features: torch.Tensor = output.pooler_output
    return features
