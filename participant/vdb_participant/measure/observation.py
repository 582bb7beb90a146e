"""One clip under measurement, with the features that several metrics use.

Promises that a clip's features are computed once however many metrics use them. Leaves scores to `scores.py` and what a
clip adds to sums to `shares.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_participant.measure.extractors import ImageTextExtractor, LoadedExtractor, VideoExtractor
from vdb_shared.errors import StatisticError

Vector = NDArray[np.float64]
Kind = TypeVar("Kind", ImageTextExtractor, VideoExtractor)


@dataclass(frozen=True, slots=True)
class Observation:
    """A clip and all that is known about it.

    Attributes:
        frames: uint8 (T, H, W, 3).
        extractors: by id.
        prompt: the words it was made from; "" for a reference clip.
        seconds: latency; NaN for a reference clip, which no timing metric takes.
    """

    frames: Frames = field(repr=False)
    extractors: Mapping[str, LoadedExtractor] = field(repr=False)
    prompt: str = ""
    seconds: float = float("nan")
    _features: dict[tuple[str, str], Vector] = field(default_factory=dict, repr=False)

    def frame_embeddings(self, extractor: str) -> Vector:
        """Return the unit vectors of the frames, (T, D)."""
        return self._once(
            extractor, "frames", lambda: self._of(extractor, ImageTextExtractor).embed_frames(self.frames)
        )

    def text_embedding(self, extractor: str) -> Vector:
        """Return the unit vector of the prompt, (D,)."""
        return self._once(extractor, "text", lambda: self._of(extractor, ImageTextExtractor).embed_text(self.prompt))

    def clip_features(self, extractor: str) -> Vector:
        """Return the projected features of the clip, (d,)."""
        return self._once(extractor, "clip", lambda: self._of(extractor, VideoExtractor).embed_clip(self.frames))

    def _once(self, extractor: str, kind: str, compute: Callable[[], Vector]) -> Vector:
        if (extractor, kind) not in self._features:
            self._features[extractor, kind] = compute()
        return self._features[extractor, kind]

    def _of(self, extractor: str, kind: type[Kind]) -> Kind:
        found = self.extractors[extractor]
        if not isinstance(found, kind):
            raise StatisticError(f"extractor {extractor} is not the {kind.__name__} that the metric needs")
        return found
