"""Text-to-video pipelines from verified local weights.

Promises that the weights are those of the spec, that no code comes with them, and that a clip depends on weights, prompt,
seed and settings alone: one clip a call, noise drawn on the CPU, float32. Leaves keeping clips to `store.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import WanPipeline
from diffusers.utils import logging

from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic, resolve_device
from vdb_participant.generation.settings import GenerationError, GenerationSettings
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Model

LONGEST_PROMPT: Final = 512
"""Tokens of a prompt where the tokenizer states no limit: the length Wan was trained with."""


class WanGenerator:
    """A diffusers WanPipeline."""

    def __init__(self, pipeline: Any, settings: GenerationSettings, device: str) -> None:
        self.device = device
        self._pipeline = pipeline
        self._settings = settings
        self._prompt_length = _prompt_length(pipeline.tokenizer)

    @classmethod
    def load(cls, weights: Weights, model: Model, settings: GenerationSettings, device: str = "auto") -> WanGenerator:
        """Return the generator of verified weights.

        Raises:
            ModelError: of another class than the spec says, or not loadable.
        """
        directory = weights.directory
        _check_class(directory, model.pipeline)
        logging.disable_progress_bar()
        try:
            pipeline = WanPipeline.from_pretrained(
                directory, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{directory}: {model.pipeline} cannot be loaded: {_first_line(error)}") from error
        _check_precision(directory, pipeline)
        pipeline.set_progress_bar_config(disable=True)
        device = resolve_device(device)
        return cls(pipeline.to(device), settings, device)

    def generate(self, prompt: str, seed: int) -> Frames:
        """Return the clip of a prompt and seed; see `Generator`."""
        return self._run(prompt, seed, self._settings.steps)

    def warm_up(self) -> None:
        """Make one throw-away clip with a single step; a failure shows when the first real clip is made."""
        try:
            self._run("warm-up", 0, 1)
        except GenerationError:
            return

    def _run(self, prompt: str, seed: int, steps: int) -> Frames:
        settings = self._settings
        try:
            with exact_arithmetic():
                video = self._pipeline(
                    prompt=prompt,
                    negative_prompt=settings.negative_prompt,
                    height=settings.height,
                    width=settings.width,
                    num_frames=settings.frames,
                    num_inference_steps=steps,
                    guidance_scale=settings.guidance,
                    generator=torch.Generator("cpu").manual_seed(seed),
                    max_sequence_length=self._prompt_length,
                    output_type="np",
                ).frames[0]
        except (RuntimeError, ValueError, ArithmeticError) as error:  # out of memory is a RuntimeError
            raise GenerationError(_first_line(error)) from error
        return _to_frames(video, settings.shape)


def _to_frames(video: np.ndarray[Any, np.dtype[np.float32]], shape: tuple[int, int, int, int]) -> Frames:
    """Return values of [0, 1] as bytes, rounded to the nearest."""
    if video.shape != shape:
        raise GenerationError(f"expected frames of shape {shape}, the pipeline made {video.shape}")
    if not np.isfinite(video).all():
        raise GenerationError("the pipeline made values that are not finite")
    values: Frames = np.rint(np.clip(video, 0.0, 1.0) * np.float32(255)).astype(np.uint8)
    return values


def _prompt_length(tokenizer: Any) -> int:
    """Return the tokens of a prompt: the model was trained with them, and its attention has no mask for fewer."""
    return min(int(tokenizer.model_max_length), LONGEST_PROMPT)


def _check_class(directory: Path, expected: str) -> None:
    index = directory / "model_index.json"
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index}: expected the index of a diffusers pipeline: {_first_line(error)}") from error
    if found != expected:
        raise ModelError(f"{index}: expected pipeline {expected} as in the spec, found {found!r}")


def _check_precision(directory: Path, pipeline: Any) -> None:
    """Refuse a library that kept another precision: clips would not be the other sites' clips."""
    for name in ("text_encoder", "transformer", "vae"):
        found = getattr(pipeline, name).dtype
        if found != torch.float32:
            raise ModelError(
                f"{directory / name}: expected to load in float32, found {found}; install the pinned diffusers"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
