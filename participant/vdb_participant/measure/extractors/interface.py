"""What a loaded extractor is, and what it can be asked: one small protocol for each modality.

Promises nothing by itself; every loader promises that what it returns depends on the clip and the weights alone, and
that frames are uint8 (T, H, W, 3) and results float64, whatever is computed in between. A metric asks for the protocols
it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames

Vector = NDArray[np.float64]

Waveform = NDArray[np.float32]
"""Samples in [-1, 1], (channels, samples)."""

Precision = Literal["float32", "float16"]
"""Of the model's arithmetic; float16 is mixed, and only on a GPU."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is known about a loaded extractor; with a clip's digest, all that its features depend on.

    Attributes:
        id: in the spec.
        architecture: in the table of `vdb_shared.metrics.extractors`.
        manifest: digest of its weights.
        dimension: as the spec counts it.
        device: model of the device that it computes on; rounding differs from one to another.
        precision: that it computes in.
        frames: how many it takes of a clip, or None where it takes every one, or sound.
    """

    id: str
    architecture: str
    manifest: str
    dimension: int
    device: str
    precision: Precision
    frames: int | None = None


class LoadedExtractor(Protocol):
    """Every extractor.

    Attributes:
        description: what is known about it.
    """

    @property
    def description(self) -> Description:
        """What is known about it."""
        ...


@runtime_checkable
class FrameEmbedder(Protocol):
    """Sees single frames."""

    def embed_frames(self, frames: Frames) -> Vector:
        """Return one unit vector a frame, (T, D); NaN where a frame has no direction."""
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """Reads words."""

    def embed_text(self, text: str) -> Vector:
        """Return the unit vector of words, (D,); words beyond the model's length are cut off."""
        ...


@runtime_checkable
class ClipEmbedder(Protocol):
    """Sees a whole clip."""

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the features of a clip, (d,).

        Raises:
            ModelError: the clip has fewer frames than the extractor takes.
        """
        ...


@runtime_checkable
class Anchored(Protocol):
    """Knows public points of its feature space.

    Attributes:
        anchors: (L, d); (0, d) where its directory holds none.
    """

    anchors: Vector


@runtime_checkable
class FrameComparer(Protocol):
    """Compares frames with frames."""

    def distances(self, frames: Frames, reference: Frames) -> Vector:
        """Return the distance of each frame to the reference's with the same index, (T,), >= 0."""
        ...


@runtime_checkable
class SoundEmbedder(Protocol):
    """Hears sound."""

    def embed_sound(self, waveform: Waveform, rate: int) -> Vector:
        """Return the unit vector of sound, (D,).

        Args:
            waveform: of the clip.
            rate: its samples per second.
        """
        ...


@runtime_checkable
class PairScorer(Protocol):
    """Sees a clip in the light of words."""

    def cosine(self, frames: Frames, text: str) -> float:
        """Return the cosine of a clip and words, in [-1, 1]."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Tells kinds apart."""

    def probabilities(self, frames: Frames) -> Vector:
        """Return the probabilities of the classes of a clip, (K,)."""
        ...


@runtime_checkable
class FrameScorer(Protocol):
    """Gives every frame one number."""

    def scores(self, frames: Frames) -> Vector:
        """Return the scores of the frames, (T,)."""
        ...
