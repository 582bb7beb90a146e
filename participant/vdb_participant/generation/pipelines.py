"""Clips of every diffusers class of the registry, from verified local weights.

Promises that the weights are those of the spec, that no code comes with them, and that a clip depends on weights, prompt,
condition, seed and settings alone: one clip a call, its noise drawn on the CPU, torch's global generators seeded for each.
What differs between classes is data (`vdb_shared/registry/classes.toml`). Leaves loading to `loading.py` and keeping clips
to `store.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from operator import attrgetter
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic, resolve_device, seeded
from vdb_participant.generation.loading import first_line, load_pipeline
from vdb_participant.generation.profiles import apply, profile
from vdb_participant.generation.settings import Clip, GenerationError, GenerationSettings, Sound
from vdb_participant.generation.watching import Watch
from vdb_participant.models import Weights
from vdb_shared.registry.classes import PipelineClass, pipeline_classes, tasks_of
from vdb_shared.registry.rows import Row
from vdb_shared.spec import Model

WARM_UP_PROMPT: Final = "warm-up"
WARM_UP_STEPS: Final = 2
"""Some schedulers cannot do fewer, and a strength below 1 leaves out the first."""

_FAULTS: Final = (RuntimeError, ValueError, ArithmeticError, MemoryError, TypeError, LookupError, NameError)
"""What libraries raise when a clip cannot be made; a GPU's memory that runs out is a RuntimeError, an optional package that
is missing often a NameError."""


class DiffusersGenerator:
    """A diffusers pipeline of any class of the registry.

    Attributes:
        device: where it computes.
        pipeline: on the device, under the settings' profile.
        switches: names of the profile's switches that are on.
    """

    def __init__(
        self, pipeline: Any, name: str, settings: GenerationSettings, device: str, watch: Watch | None = None
    ) -> None:
        self.device = device
        self.pipeline = pipeline
        self.switches = apply(settings.profile, pipeline, device)
        self._name = name
        self._known = pipeline_classes()[name]
        self._settings = settings
        self._start = settings.start or self._known.start(tasks_of(name)[0])
        self._watch = watch
        self._constant = _constant_arguments(pipeline, self._known, settings)

    @classmethod
    def load(  # noqa: PLR0913 - the last two are rare and named
        cls,
        weights: Weights,
        model: Model,
        settings: GenerationSettings,
        device: str = "auto",
        *,
        row: Row | None = None,
        precisions: Mapping[str, str] | None = None,
        watch: Watch | None = None,
    ) -> DiffusersGenerator:
        """Return the generator of verified weights.

        Args:
            weights: that passed `verify_model`.
            model: of the spec.
            settings: of its clips.
            device: where to compute.
            row: of the registry, where it names a LoRA or another scheduler.
            precisions: of components, "default" for the others, instead of those of the profile.
            watch: opened around every call.

        Raises:
            ModelError: of another class than the spec says, a package is missing, or not loadable.
            UsageError: the device or the pipeline lacks what the profile needs.
        """
        known = pipeline_classes()[model.pipeline]
        pipeline = load_pipeline(weights, model.pipeline, row, precisions or _precisions(settings.profile, known, row))
        if known.guider:
            pipeline.guider = pipeline.guider.new(guidance_scale=settings.guidance)
        return cls(pipeline, model.pipeline, settings, resolve_device(device), watch)

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        """Return the clip of a prompt, seed and condition; see `Generator`."""
        return self._run(prompt, seed, self._settings.steps, condition)

    def warm_up(self) -> None:
        """Make one throw-away clip with two steps; a failure shows when the first real clip is made."""
        settings, condition = self._settings, None
        if self._start:
            pictures = settings.frames if self._start == "video" else 1
            condition = np.zeros((pictures, *settings.shape[1:]), dtype=np.uint8)
        try:
            self._run(WARM_UP_PROMPT, 0, min(WARM_UP_STEPS, settings.steps), condition)
        except GenerationError:
            return

    def _run(self, prompt: str, seed: int, steps: int, condition: Frames | None) -> Clip:
        names = self._known.arguments
        noise = torch.Generator("cpu").manual_seed(seed)
        arguments = self._constant | self._condition_arguments(condition) | {names.steps: steps, "generator": noise}
        if names.prompt:
            arguments[names.prompt] = prompt
        try:
            with (
                exact_arithmetic(),
                seeded(seed, self.device),
                self._watch(self.pipeline, noise) if self._watch else nullcontext(),
            ):
                result = self.pipeline(**arguments)
        except _FAULTS as error:
            raise GenerationError(first_line(error)) from error
        video = np.asarray(getattr(result, self._known.output)[0])
        return Clip(_to_frames(video, self._settings.shape), self._sound(result))

    def _condition_arguments(self, condition: Frames | None) -> dict[str, Any]:
        """Return what a clip starts from as the call wants it: a picture, or a list of them.

        Raises:
            GenerationError: there is none where one is needed, one where none is taken, or of another shape.
        """
        names = self._known.arguments
        if condition is None:
            if self._start:
                raise GenerationError(
                    f"{self._name} makes clips from a {self._start} and words; the task gives words only"
                )
            return {}
        settings = self._settings
        if condition.dtype != np.uint8 or condition.ndim != 4 or condition.shape[1:] != settings.shape[1:]:
            raise GenerationError(
                f"expected a condition of uint8 (1 or {settings.frames}, {settings.height}, {settings.width}, 3), "
                f"found {condition.dtype} {condition.shape}"
            )
        pictures = [Image.fromarray(picture) for picture in condition]
        if len(pictures) == 1 and names.image:
            return {names.image: pictures[0]}
        if len(pictures) == settings.frames and names.video:
            return {names.video: [pictures] if self._known.video_list else pictures}
        raise GenerationError(
            f"{self._name} takes no condition of {len(pictures)} frames for clips of {settings.frames}"
        )

    def _sound(self, result: Any) -> Sound | None:
        if not self._known.sound:
            return None
        found = getattr(result, self._known.sound)
        if found is None:
            return None
        waveform = torch.as_tensor(found[0]).detach().to("cpu", torch.float32).numpy()
        if not np.isfinite(waveform).all():
            raise GenerationError("the pipeline made sound that is not finite")
        return Sound(np.atleast_2d(waveform), int(attrgetter(self._known.rate)(self.pipeline)))


def _precisions(name: str, known: PipelineClass, row: Row | None) -> Mapping[str, str]:
    """Return the precision of each component under a profile: parts that lose visibly in 16 bits stay float32."""
    default = str(profile(name).dtype).removeprefix("torch.")
    if default == "float32":
        return {"default": default}
    pinned = {part for part, precision in (row.dtype if row is not None else {}).items() if precision == "float32"}
    return {"default": default} | dict.fromkeys(sorted({*known.float32, *pinned} - {"default"}), "float32")


def _constant_arguments(pipeline: Any, known: PipelineClass, settings: GenerationSettings) -> dict[str, Any]:
    """Return the arguments that are the same for every clip."""
    names = known.arguments
    values = {
        names.negative_prompt: settings.negative_prompt,
        names.frames: known.frames.argument(settings.frames) + _cut(pipeline, known),
        names.height: settings.height,
        names.width: settings.width,
        names.guidance: settings.guidance,
        names.fps: settings.fps,
    }
    if names.prompt_tokens:
        # A model that was trained with so many tokens may have no mask for fewer, so the limit is also the length.
        values[names.prompt_tokens] = min(int(pipeline.tokenizer.model_max_length), known.tokens)
    arguments: dict[str, Any] = {name: value for name, value in values.items() if name}
    return arguments | dict(known.fixed) | {"output_type": "np"}


def _cut(pipeline: Any, known: PipelineClass) -> int:
    """Return how many frames the pipeline will leave out."""
    cut = known.cut
    return cut.frames if cut is not None and attrgetter(cut.setting)(pipeline) == cut.value else 0


def _to_frames(video: np.ndarray[Any, np.dtype[np.float32]], shape: tuple[int, int, int, int]) -> Frames:
    """Return values of [0, 1] as bytes, rounded to the nearest."""
    if video.shape != shape:
        raise GenerationError(f"expected frames of shape {shape}, the pipeline made {video.shape}")
    if not np.isfinite(video).all():
        raise GenerationError("the pipeline made values that are not finite")
    values: Frames = np.rint(np.clip(video, 0.0, 1.0) * np.float32(255)).astype(np.uint8)
    return values
