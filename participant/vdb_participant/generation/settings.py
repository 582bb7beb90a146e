"""What every clip of a spec has in common, and what makes clips.

Promises that a spec whose clips no pipeline can make is refused before any work. Leaves making them to `pipelines.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from vdb_participant.data.video import Frames
from vdb_shared.canonical import decimal_string
from vdb_shared.errors import SpecError
from vdb_shared.spec import Spec

FRAME_STEP: Final = 4
"""Wan's VAE makes one latent frame of the first frame and one of every 4 that follow: clips have 4k + 1 frames."""

SIZE_MULTIPLE: Final = 16
"""Wan's VAE halves each side three times, its transformer takes 2 x 2 patches: sides are multiples of 16."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """What a spec fixes about every clip, but for model, prompt and seed."""

    frames: int
    height: int
    width: int
    steps: int
    guidance: float
    negative_prompt: str
    profile: str

    @classmethod
    def of(cls, spec: Spec) -> GenerationSettings:
        """Return the settings of a spec, checked against what the pipelines can make.

        Raises:
            SpecError: a number of frames or a size that no pipeline of the spec can make; names the field.
        """
        video = spec.video
        if video.frames % FRAME_STEP != 1:
            below = max(1, (video.frames - 1) // FRAME_STEP) * FRAME_STEP + 1
            raise SpecError(
                f"{video.frames} frames cannot be made by WanPipeline, which makes 4k+1; "
                f"take {below} or {below + FRAME_STEP}",
                field="video.frames",
            )
        for field, size in (("video.height", video.height), ("video.width", video.width)):
            if size % SIZE_MULTIPLE:
                below = max(1, size // SIZE_MULTIPLE) * SIZE_MULTIPLE
                raise SpecError(
                    f"{size} is not a multiple of {SIZE_MULTIPLE}, as WanPipeline needs; "
                    f"take {below} or {below + SIZE_MULTIPLE}",
                    field=field,
                )
        generation = spec.generation
        return cls(
            frames=video.frames,
            height=video.height,
            width=video.width,
            steps=generation.steps,
            guidance=float(generation.guidance),
            negative_prompt=generation.negative_prompt,
            profile=generation.profile,
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of every clip: (T, H, W, 3)."""
        return self.frames, self.height, self.width, 3

    def to_json(self) -> dict[str, Any]:
        """Return the settings as they enter a clip's key."""
        return {
            "frames": self.frames,
            "height": self.height,
            "width": self.width,
            "steps": self.steps,
            "guidance": decimal_string(self.guidance),
            "negative_prompt": self.negative_prompt,
            "profile": self.profile,
        }


class GenerationError(Exception):
    """A clip could not be made; says why. Caught and counted by the engine, never shown as it is."""


class Generator(Protocol):
    """Makes clips of one model.

    Attributes:
        device: where it computes.
    """

    device: str

    def generate(self, prompt: str, seed: int) -> Frames:
        """Return a clip, uint8 (T, H, W, 3).

        Raises:
            GenerationError: it could not be made.
        """
        ...

    def warm_up(self) -> None:
        """Do once what only a first clip pays for, so that latencies leave it out."""
        ...
