"""Feature extractors: transformers' CLIPModel and VideoMAEModel from verified local weights.

Promises that features depend on the clip and the weights alone: float32, evaluation mode, one clip a forward pass, own
preprocessing. Leaves bounds to `vdb_shared.metrics.features`.

An extractor directory is a transformers model directory with preprocessor_config.json; a CLIPModel's also has its
tokenizer, a VideoMAEModel's also projection.safetensors: centre (D,), basis (D, d), radius (), float64, from public clips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from transformers import AutoTokenizer, CLIPModel, VideoMAEModel
from transformers.utils import logging

from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic, resolve_device
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Extractor

Vector = NDArray[np.float64]

PROJECTION_NAME: Final = "projection.safetensors"


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


class ImageTextExtractor:
    """A CLIPModel: unit vectors of frames and of words."""

    def __init__(self, model: Any, tokenizer: Any, preprocessing: Preprocessing, device: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._preprocessing = preprocessing
        self._device = device

    @classmethod
    def load(cls, weights: Weights, extractor: Extractor, device: str = "auto") -> ImageTextExtractor:
        """Return the extractor of a verified directory.

        Raises:
            ModelError: it cannot be loaded or has another dimension than the spec says.
        """
        device = resolve_device(device)
        model = _load(CLIPModel, weights.directory, device)
        tokenizer = _attempt(weights.directory, lambda: AutoTokenizer.from_pretrained(weights.directory, **_LOCAL))
        _check_dimension(weights.directory, int(model.config.projection_dim), extractor.dimension)
        return cls(model, tokenizer, Preprocessing.load(weights.directory), device)

    def embed_frames(self, frames: Frames) -> Vector:
        """Return one unit vector a frame, float64 (T, D); NaN where a frame has no direction."""
        with exact_arithmetic():
            output = self._model.get_image_features(pixel_values=self._preprocessing(frames, self._device))
        return _unit(output.pooler_output)

    def embed_text(self, text: str) -> Vector:
        """Return the unit vector of words, float64 (D,); words beyond the model's length are cut off."""
        longest = int(self._model.config.text_config.max_position_embeddings)
        tokens = self._tokenizer(text, truncation=True, max_length=longest, return_tensors="pt").to(self._device)
        with exact_arithmetic():
            output = self._model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
        return np.asarray(_unit(output.pooler_output)[0], dtype=np.float64)


class VideoExtractor:
    """A VideoMAEModel: the mean of the last hidden states of a clip, projected."""

    def __init__(self, model: Any, projection: Projection, preprocessing: Preprocessing, device: str) -> None:
        self.frames = int(model.config.num_frames)
        self._model = model
        self._projection = projection
        self._preprocessing = preprocessing
        self._device = device

    @classmethod
    def load(cls, weights: Weights, extractor: Extractor, device: str = "auto") -> VideoExtractor:
        """Return the extractor of a verified directory.

        Raises:
            ModelError: it cannot be loaded, or its projection does not fit.
        """
        device = resolve_device(device)
        model = load_videomae(weights.directory, device)
        projection = Projection.load(weights.directory, extractor.dimension)
        _check_dimension(weights.directory, len(projection.centre), int(model.config.hidden_size))
        return cls(model, projection, Preprocessing.load(weights.directory), device)

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the projected features of a clip, float64 (d,)."""
        return self._projection(pooled_features(self._model, self._preprocessing, frames, self._device))


LoadedExtractor = ImageTextExtractor | VideoExtractor


def load_extractor(weights: Weights, extractor: Extractor, device: str = "auto") -> LoadedExtractor:
    """Return the extractor that a spec names.

    Raises:
        ModelError: it cannot be loaded.
    """
    match extractor.architecture:
        case "CLIPModel":
            return ImageTextExtractor.load(weights, extractor, device)
        case "VideoMAEModel":
            return VideoExtractor.load(weights, extractor, device)


def load_videomae(directory: Path, device: str) -> Any:
    """Return the VideoMAEModel of a directory.

    Raises:
        ModelError: it cannot be loaded.
    """
    return _load(VideoMAEModel, directory, device)


def pooled_features(model: Any, preprocessing: Preprocessing, frames: Frames, device: str) -> Vector:
    """Return a VideoMAEModel's mean last hidden state of one clip, float64 (D,).

    The model's number of frames is taken from the clip at the middles of equal parts: frame floor((2i + 1) T / 2N).

    Raises:
        ModelError: the clip has fewer frames than the model takes.
    """
    wanted, found = int(model.config.num_frames), len(frames)
    if found < wanted:
        raise ModelError(f"the extractor takes {wanted} frames, the clip has {found}")
    chosen = frames[[(2 * index + 1) * found // (2 * wanted) for index in range(wanted)]]
    with exact_arithmetic():
        hidden = model(pixel_values=preprocessing(chosen, device)[None]).last_hidden_state
        pooled = hidden[0].to(torch.float64).mean(dim=0)
    return np.asarray(pooled.cpu().numpy(), dtype=np.float64)


_LOCAL: Final = {"local_files_only": True, "trust_remote_code": False}


def _load(kind: Any, directory: Path, device: str) -> Any:
    logging.disable_progress_bar()
    model = _attempt(
        directory,
        lambda: kind.from_pretrained(directory, local_files_only=True, use_safetensors=True, dtype=torch.float32),
    )
    return model.eval().to(device)


def _attempt(directory: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{directory}: extractor cannot be loaded: {reason}") from error


def _check_dimension(directory: Path, found: int, expected: int) -> None:
    if found != expected:
        raise ModelError(f"{directory}: expected features of dimension {expected}, found {found}; check the spec")


def _unit(vectors: torch.Tensor) -> Vector:
    values = vectors.to(torch.float64)
    unit = values / torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return np.asarray(unit.cpu().numpy(), dtype=np.float64)
