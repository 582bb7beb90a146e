"""Where and how extractors compute: device, precision, frames at a time.

Promises float32 unless float16 is asked for on a GPU, and that how many frames go through a model at once never depends
on the machine: memory is bounded, and a frame's features are the same however long the clip is that follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from vdb_participant.data.video import Frames
from vdb_participant.device import device_name, exact_arithmetic, resolve_device
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Extractor

FRAMES_AT_ONCE: Final = 32
"""Frames that go through a model together, counted from a clip's first. Rounding depends on their number, so it is part
of what a feature is: the same for all machines and all clips. 32 frames of 224x224 fill a GPU, and take 19 MB as
pixels."""


@dataclass(frozen=True, slots=True)
class Computing:
    """How one extractor computes.

    Attributes:
        device: a torch device.
        precision: float16 stands for mixed precision; the CPU has none.
    """

    device: str
    precision: Precision

    @classmethod
    def on(cls, device: str, precision: Precision = "float32") -> Computing:
        """Return how to compute on a device; on the CPU in float32 whatever is asked for.

        Args:
            device: as `device.resolve_device` takes it.
            precision: wanted on a GPU.

        Raises:
            UsageError: no such device here.
        """
        found = resolve_device(device)
        return cls(found, precision if found.startswith("cuda") else "float32")

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Run inference inside the block: deterministic kernels, no gradients, no TF32."""
        mixed: AbstractContextManager[Any] = nullcontext()
        if self.precision == "float16":
            mixed = torch.autocast("cuda", dtype=torch.float16)
        with exact_arithmetic(), mixed:
            yield

    def describe(self, weights: Weights, extractor: Extractor, frames: int | None = None) -> Description:
        """Return what is known about an extractor that computes so."""
        return Description(
            id=extractor.id,
            architecture=extractor.architecture,
            manifest=weights.manifest,
            dimension=extractor.dimension,
            device=device_name(self.device),
            precision=self.precision,
            frames=frames,
        )


@dataclass(frozen=True, slots=True)
class FrameModel:
    """A model of single frames.

    Attributes:
        computing: where and how.
        preprocessing: of its input.
        rows: from pixels (n, 3, H, W) to (n, D), float32.
    """

    computing: Computing
    preprocessing: Preprocessing
    rows: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, frames: Frames) -> torch.Tensor:
        """Return the rows of all frames (T, D), computed `FRAMES_AT_ONCE` at a time."""
        with self.computing.arithmetic():
            return torch.cat(
                [
                    self.rows(self.preprocessing(frames[start : start + FRAMES_AT_ONCE], self.computing.device))
                    for start in range(0, len(frames), FRAMES_AT_ONCE)
                ]
            )


def middles(frames: Frames, wanted: int) -> Frames:
    """Return frames at the middles of equal parts of a clip: frame floor((2i + 1) T / 2N) for i = 0 … N - 1.

    Args:
        frames: uint8 (T, H, W, 3).
        wanted: N.

    Raises:
        ModelError: the clip has fewer than N.
    """
    check_long_enough(frames, wanted)
    return frames[[(2 * index + 1) * len(frames) // (2 * wanted) for index in range(wanted)]]


def check_long_enough(frames: Frames, wanted: int) -> None:
    """Check that a clip has as many frames as an extractor takes.

    Raises:
        ModelError: it has fewer.
    """
    if len(frames) < wanted:
        raise ModelError(f"the extractor takes {wanted} frames, the clip has {len(frames)}")


def to_float64(values: torch.Tensor) -> Vector:
    """Return what a model computed as a float64 array."""
    return np.asarray(values.to(torch.float64).cpu().numpy(), dtype=np.float64)


def unit(vectors: torch.Tensor) -> Vector:
    """Return vectors divided by their lengths along the last axis, float64; NaN where there is no direction."""
    values = vectors.to(torch.float64)
    lengths = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return np.asarray((values / lengths).cpu().numpy(), dtype=np.float64)


def softmax(logits: torch.Tensor) -> Vector:
    """Return probabilities from logits along the last axis, float64."""
    return np.asarray(torch.softmax(logits.to(torch.float64), dim=-1).cpu().numpy(), dtype=np.float64)
