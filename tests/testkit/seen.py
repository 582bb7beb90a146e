"""Extractors that return given values: for what happens to features after an extractor, however it misbehaves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_participant.measure.extractors.interface import Description, Waveform

Vector = NDArray[np.float64]


@dataclass
class Seen:
    """Says the same of every clip.

    Attributes:
        frames: (T, D), of unit rows where it behaves.
        text, clip, sound: (D,).
        chances: (K,).
        quality: (T,).
        anchors: (L, D).
        together: cosine of clip and words.
    """

    frames: Vector = field(default_factory=lambda: np.eye(4)[[0, 1, 1]])
    text: Vector = field(default_factory=lambda: np.eye(4)[0])
    clip: Vector = field(default_factory=lambda: np.full(4, 0.2))
    sound: Vector = field(default_factory=lambda: np.eye(4)[2])
    chances: Vector = field(default_factory=lambda: np.full(4, 0.25))
    quality: Vector = field(default_factory=lambda: np.full(3, 0.5))
    anchors: Vector = field(default_factory=lambda: np.eye(4))
    together: float = 0.5
    description: Description = field(
        default_factory=lambda: Description("seen", "CLIPModel", "sha256:" + "a" * 64, 4, "cpu", "float32")
    )

    def embed_frames(self, frames: Frames) -> Vector:
        """Return the given vectors."""
        return self.frames

    def embed_text(self, text: str) -> Vector:
        """Return the given vector."""
        return self.text

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the given features."""
        return self.clip

    def embed_sound(self, waveform: Waveform, rate: int) -> Vector:
        """Return the given vector."""
        return self.sound

    def cosine(self, frames: Frames, text: str) -> float:
        """Return the given cosine."""
        return self.together

    def probabilities(self, frames: Frames) -> Vector:
        """Return the given chances."""
        return self.chances

    def scores(self, frames: Frames) -> Vector:
        """Return the given numbers."""
        return self.quality

    def distances(self, frames: Frames, reference: Frames) -> Vector:
        """Return the given numbers."""
        return self.quality
