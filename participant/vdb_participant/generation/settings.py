"""What every clip of a model has in common, what a clip is, and what makes clips.

Promises that a spec whose clips a model cannot make is refused before any work. Leaves the rules to `vdb_shared.clips` and
making clips to `pipelines.py` and `external.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_shared.canonical import decimal_string
from vdb_shared.clips import clip_terms
from vdb_shared.registry.classes import EXTERNAL, Start, pipeline_classes
from vdb_shared.registry.rows import Registry, load_registry
from vdb_shared.spec import Model, Profile, Spec, class_of


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """What a spec fixes about every clip of a model, but for prompt and seed.

    Attributes:
        fps: frames per second where the model is told them, else 0.
        start: what clips start from besides words.
        float32: components that the model's row keeps in float32 where the profile would not.
    """

    frames: int
    height: int
    width: int
    steps: int
    guidance: float
    negative_prompt: str
    profile: str
    fps: int = 0
    start: Start = ""
    float32: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, spec: Spec, model: Model, registry: Registry | None = None, profile: str | None = None
    ) -> GenerationSettings:
        """Return the settings of a model, checked against what its class can make.

        Args:
            spec: the spec.
            model: one of its models.
            registry: rows of models; the packaged ones by default.
            profile: what the spec's "auto" means on this machine (`profiles.choose`); the spec's own by default.

        Raises:
            SpecError: a number of frames or a size that it cannot make; names the field.
        """
        terms = clip_terms(spec, model, registry)
        known = pipeline_classes().get(model.pipeline)
        told = model.pipeline == EXTERNAL or (known is not None and bool(known.arguments.fps))
        return cls(
            frames=terms.frames,
            height=terms.height,
            width=terms.width,
            steps=terms.steps,
            guidance=float(terms.guidance),
            negative_prompt=terms.negative_prompt,
            profile=profile or spec.generation.profile,
            fps=terms.fps if told else 0,
            start=model.start,
            float32=_kept_in_float32(model, profile or spec.generation.profile, registry),
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of every clip: (T, H, W, 3)."""
        return self.frames, self.height, self.width, 3

    def to_json(self) -> dict[str, Any]:
        """Return the settings as they enter a clip's key: what can change no pixel is left out."""
        settings: dict[str, Any] = {
            "frames": self.frames,
            "height": self.height,
            "width": self.width,
            "steps": self.steps,
            "guidance": decimal_string(self.guidance),
            "negative_prompt": self.negative_prompt,
            "profile": self.profile,
        }
        told = {"fps": self.fps, "start": self.start, "float32": self.float32}
        return settings | {name: value for name, value in told.items() if value}


def _kept_in_float32(model: Model, profile: str, registry: Registry | None) -> tuple[str, ...]:
    """Return the components that a model's row keeps in float32, where the profile would not do so itself."""
    row = None if profile == "exact" else (registry or load_registry()).get(model.id)
    return tuple(sorted(part for part, precision in (row.dtype if row else {}).items() if precision == "float32"))


def settings_of(
    spec: Spec, registry: Registry | None = None, profiles: Mapping[str, str] | None = None
) -> Mapping[str, GenerationSettings]:
    """Return the settings of every model of a spec by its id; arguments as in `GenerationSettings.of`.

    Raises:
        SpecError: clips of a shape that a model's class cannot make.
    """
    chosen = profiles or {}
    return {model.id: GenerationSettings.of(spec, model, registry, chosen.get(model.id)) for model in spec.models}


def possible_settings(spec: Spec, registry: Registry) -> tuple[Mapping[str, GenerationSettings], ...]:
    """Return all settings that clips of a spec may have: under "auto", one for each profile of the class.

    Which of them it was does not follow from the device at hand, which may be another today.
    """
    made = spec.generation
    names = [made.profile]
    if made.profile == "auto":
        names = [name for name in get_args(Profile) if name != "auto" and class_of(name) == made.clip_class]
    return tuple(settings_of(spec, registry, {model.id: name for model in spec.models}) for name in names)


@dataclass(frozen=True, slots=True)
class Sound:
    """What belongs to a clip's ears: float32 (channels, samples) in [-1, 1], and samples per second."""

    waveform: NDArray[np.float32] = field(repr=False)
    rate: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A generated clip.

    Attributes:
        frames: uint8 (T, H, W, 3).
        sound: of models that make any.
    """

    frames: Frames = field(repr=False)
    sound: Sound | None = None


class GenerationError(Exception):
    """A clip could not be made; says why. Caught and counted by the engine, never shown as it is.

    Attributes:
        told: the reason without words of another program, which may quote the prompt: what the site's log may say.
    """

    def __init__(self, reason: str, quoted: str = "") -> None:
        """Keep a reason, and behind it what another program said."""
        super().__init__(f"{reason}: {quoted}" if quoted else reason)
        self.told = reason


class Generator(Protocol):
    """Makes clips of one model.

    Attributes:
        device: where it computes.
    """

    device: str

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        """Return a clip of the settings' shape.

        Args:
            prompt: the words.
            seed: of the noise, in [0, 2^63).
            condition: what the clip starts from: uint8 (1, H, W, 3), a picture, or (T, H, W, 3), a video. None for
                text-to-video.

        Raises:
            GenerationError: it could not be made.
        """
        ...

    def warm_up(self) -> None:
        """Do once what only a first clip pays for, so that latencies leave it out."""
        ...
