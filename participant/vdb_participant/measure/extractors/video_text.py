"""A model of clips and words in one space: XCLIPModel.

Promises unit vectors of both, and the cosine that the model itself forms: there the words are seen in the light of the
clip.

Source: Ni et al., ECCV 2022 (X-CLIP), §3.3 (video-specific prompting).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vdb_participant.data.video import Frames
from vdb_participant.measure.extractors.computing import Computing, middles, to_float64, unit
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.extractors.loading import load_model, load_tokenizer
from vdb_participant.measure.extractors.projection import check_dimension
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import Weights
from vdb_shared.spec import Extractor


class VideoTextExtractor:
    """An XCLIPModel; implements ClipEmbedder, TextEmbedder and PairScorer."""

    def __init__(
        self, description: Description, computing: Computing, model: Any, tokenizer: Any, preprocessing: Preprocessing
    ) -> None:
        self.description = description
        self._computing = computing
        self._model = model
        self._tokenizer = tokenizer
        self._preprocessing = preprocessing
        self._frames = int(model.config.vision_config.num_frames)

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> VideoTextExtractor:
        """Return the extractor of a verified directory.

        Raises:
            ModelError: it cannot be loaded or has another dimension than the spec says.
        """
        computing = Computing.on(device, precision)
        model = load_model("XCLIPModel", weights.directory, computing.device)
        check_dimension(weights.directory, int(model.config.projection_dim), extractor.dimension)
        description = computing.describe(weights, extractor, int(model.config.vision_config.num_frames))
        tokenizer = load_tokenizer(weights.directory)
        return cls(description, computing, model, tokenizer, Preprocessing.load(weights.directory))

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the unit vector of a clip, float64 (D,)."""
        pixels = self._pixels(frames)
        with self._computing.arithmetic():
            output = self._model.get_video_features(pixel_values=pixels)
        return np.asarray(unit(output.pooler_output)[0], dtype=np.float64)

    def embed_text(self, text: str) -> Vector:
        """Return the unit vector of words by themselves, float64 (D,); words beyond the model's length are cut off."""
        with self._computing.arithmetic():
            output = self._model.get_text_features(**self._tokens(text))
        return np.asarray(unit(output.pooler_output)[0], dtype=np.float64)

    def cosine(self, frames: Frames, text: str) -> float:
        """Return the cosine of a clip and words in the light of the clip, in [-1, 1]; the logits are its multiples."""
        pixels = self._pixels(frames)
        with self._computing.arithmetic():
            output = self._model(pixel_values=pixels, **self._tokens(text))
        video, words = to_float64(output.video_embeds)[0], to_float64(output.text_embeds)[0, 0]
        return float(video @ words / (np.linalg.norm(video) * np.linalg.norm(words)))

    def _pixels(self, frames: Frames) -> torch.Tensor:
        return self._preprocessing(middles(frames, self._frames), self._computing.device)[None]

    def _tokens(self, text: str) -> dict[str, torch.Tensor]:
        longest = int(self._model.config.text_config.max_position_embeddings)
        tokens = self._tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        return {name: tokens[name].to(self._computing.device) for name in ("input_ids", "attention_mask")}
