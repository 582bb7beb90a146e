"""Extractors of whole clips from the VideoMAE and V-JEPA 2 families: the mean over all patches of the last layer.

Promises features in float64, one clip a forward pass, and that only the frames which the model takes are preprocessed.

Source: Tong et al. 2022 (VideoMAE); Ge et al., CVPR 2024 (content-debiased FVD); Assran et al. 2025 (V-JEPA 2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic
from vdb_participant.measure.extractors.computing import Computing, middles, to_float64
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.extractors.loading import load_model
from vdb_participant.measure.extractors.projection import Projection, Raw, anchors_in, projection_in
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Extractor


class VideoExtractor:
    """A model of clips: pooled features, projected; implements ClipEmbedder and Anchored."""

    def __init__(
        self,
        description: Description,
        pooled: Callable[[Frames], Vector],
        projection: Projection | Raw,
        anchors: Vector,
    ) -> None:
        self.description = description
        self.anchors = anchors
        self._pooled = pooled
        self._projection = projection

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> VideoExtractor:
        """Return the extractor of a verified directory.

        A V-JEPA 2 takes as many frames as `num_frames` of its preprocessing says, else as many as it was trained with.

        Raises:
            ModelError: it cannot be loaded, or its projection does not fit.
        """
        computing = Computing.on(device, precision)
        preprocessing = Preprocessing.load(weights.directory)
        model, compute, frames = _LOADERS[extractor.architecture](weights.directory, computing.device, preprocessing)
        projection = projection_in(weights.directory, int(model.config.hidden_size), extractor.dimension)

        def pooled(clip: Frames) -> Vector:
            chosen = middles(clip, frames)
            with computing.arithmetic():
                return to_float64(compute(preprocessing(chosen, computing.device)[None]))

        anchors = anchors_in(weights.directory, extractor.dimension)
        return cls(computing.describe(weights, extractor, frames), pooled, projection, anchors)

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the projected features of a clip, float64 (d,)."""
        return self._projection(self._pooled(frames))


def load_videomae(directory: Path, device: str) -> Any:
    """Return the VideoMAEModel of a directory.

    Raises:
        ModelError: it cannot be loaded.
    """
    return load_model("VideoMAEModel", directory, device)


def pooled_features(model: Any, preprocessing: Preprocessing, frames: Frames, device: str) -> Vector:
    """Return a VideoMAEModel's mean last hidden state of one clip, float64 (D,).

    The model's number of frames is taken from the clip at the middles of equal parts.

    Raises:
        ModelError: the clip has fewer frames than the model takes.
    """
    chosen = middles(frames, int(model.config.num_frames))
    with exact_arithmetic():
        return to_float64(_mean_of_patches(model, preprocessing(chosen, device)[None]))


_Loaded = tuple[Any, Callable[[torch.Tensor], torch.Tensor], int]
"""A model, from pixels (1, T, 3, H, W) to features (D,), and T."""


def _videomae(directory: Path, device: str, _: Preprocessing) -> _Loaded:
    model = load_videomae(directory, device)
    return model, partial(_mean_of_patches, model), int(model.config.num_frames)


def _videomae_without_head(directory: Path, device: str, _: Preprocessing) -> _Loaded:
    model = load_model("VideoMAEForVideoClassification", directory, device)
    if model.fc_norm is None:
        raise ModelError(f"{directory}: expected use_mean_pooling, which a VideoMAEFineTuned needs; check the weights")
    return model, partial(_before_the_head, model), int(model.config.num_frames)


def _vjepa2(directory: Path, device: str, preprocessing: Preprocessing) -> _Loaded:
    model = load_model("VJEPA2Model", directory, device)
    size, tubelet = int(model.config.crop_size), int(model.config.tubelet_size)
    if preprocessing.output != (size, size):
        raise ModelError(
            f"{directory}: expected pixels of {size}x{size}, for which the model knows the places of patches, found "
            f"{preprocessing.output or 'no fixed size'} in its preprocessing"
        )
    frames = preprocessing.frames or int(model.config.frames_per_clip)
    if frames % tubelet:
        raise ModelError(f"{directory}: expected num_frames to be a multiple of {tubelet}, found {frames}")
    return model, partial(_mean_of_encoded_patches, model), frames


_LOADERS = {"VideoMAEModel": _videomae, "VideoMAEFineTuned": _videomae_without_head, "VJEPA2Model": _vjepa2}


def _mean_of_patches(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    hidden: torch.Tensor = model(pixel_values=pixels).last_hidden_state
    return hidden[0].to(torch.float64).mean(dim=0)


def _before_the_head(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the norm of the mean of all patches: what the classifier reads, and content-debiased FVD too."""
    hidden: torch.Tensor = model.videomae(pixel_values=pixels).last_hidden_state
    features: torch.Tensor = model.fc_norm(hidden.mean(dim=1))
    return features[0]


def _mean_of_encoded_patches(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the mean of the encoder's patches; the predictor, which guesses hidden ones, is left out."""
    hidden: torch.Tensor = model(pixel_values_videos=pixels, skip_predictor=True).last_hidden_state
    return hidden[0].to(torch.float64).mean(dim=0)
