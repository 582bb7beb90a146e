"""One clip under measurement, with the features that several metrics use.

Promises that a clip's features are computed once however many metrics use them, and once for ever where there is a cache.
Leaves scores to `scores.py` and what a clip adds to sums to `shares.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import Sound
from vdb_participant.measure.cache import FeatureCache
from vdb_participant.measure.extractors.interface import (
    Anchored,
    Classifier,
    ClipEmbedder,
    FrameComparer,
    FrameEmbedder,
    FrameScorer,
    LoadedExtractor,
    PairScorer,
    SoundEmbedder,
    TextEmbedder,
)
from vdb_participant.measure.motion.tracking import motion_features
from vdb_shared.errors import StatisticError

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observation:
    """A clip and all that is known about it.

    Attributes:
        frames: uint8 (T, H, W, 3).
        extractors: by id.
        prompt: the words it was made from; "" for a reference clip.
        seconds: latency; NaN for a reference clip, which no timing metric takes.
        digest: of the clip, under which the cache keeps its features; "" where there is none.
        cache: of features that outlast this clip, or None.
        fps: frames per second; 0 for a reference clip.
        start: what it was made from, uint8 (1, H, W, 3) for a picture, (T, H, W, 3) for a video; None for words alone.
        sound: of models that make any.
    """

    frames: Frames = field(repr=False)
    extractors: Mapping[str, LoadedExtractor] = field(repr=False)
    prompt: str = ""
    seconds: float = float("nan")
    digest: str = ""
    cache: FeatureCache | None = field(default=None, repr=False)
    fps: float = 0.0
    start: Frames | None = field(default=None, repr=False)
    sound: Sound | None = field(default=None, repr=False)
    _features: dict[tuple[str, str], Vector] = field(default_factory=dict, repr=False)

    def frame_embeddings(self, extractor: str) -> Vector:
        """Return the unit vectors of the frames, (T, D)."""
        found = self.extractors[extractor]
        if not isinstance(found, FrameEmbedder):
            raise _unable(extractor, "see frames")
        return self._once(extractor, "frames", lambda: found.embed_frames(self.frames))

    def text_embedding(self, extractor: str) -> Vector:
        """Return the unit vector of the prompt, (D,)."""
        found = self.extractors[extractor]
        if not isinstance(found, TextEmbedder):
            raise _unable(extractor, "read words")
        return self._once(extractor, "text", lambda: found.embed_text(self.prompt), kept=False)

    def clip_features(self, extractor: str) -> Vector:
        """Return the projected features of the clip, (d,)."""
        found = self.extractors[extractor]
        if not isinstance(found, ClipEmbedder):
            raise _unable(extractor, "see clips")
        return self._once(extractor, "clip", lambda: found.embed_clip(self.frames))

    def text_cosine(self, extractor: str) -> float:
        """Return the cosine of the clip and its prompt, seen together, in [-1, 1]."""
        found = self.extractors[extractor]
        if not isinstance(found, PairScorer):
            raise _unable(extractor, "see a clip in the light of words")
        cosine = self._once(extractor, "pair", lambda: np.array([found.cosine(self.frames, self.prompt)]), kept=False)
        return float(cosine[0])

    def probabilities(self, extractor: str) -> Vector:
        """Return the probabilities of the classes of the clip, (K,)."""
        found = self.extractors[extractor]
        if not isinstance(found, Classifier):
            raise _unable(extractor, "tell kinds apart")
        return self._once(extractor, "probabilities", lambda: found.probabilities(self.frames))

    def frame_scores(self, extractor: str) -> Vector:
        """Return one number a frame, (T,)."""
        found = self.extractors[extractor]
        if not isinstance(found, FrameScorer):
            raise _unable(extractor, "score frames")
        return self._once(extractor, "scores", lambda: found.scores(self.frames))

    def sound_embedding(self, extractor: str) -> Vector:
        """Return the unit vector of the sound, (D,)."""
        found = self.extractors[extractor]
        if not isinstance(found, SoundEmbedder):
            raise _unable(extractor, "hear sound")
        if self.sound is None:
            raise StatisticError("the clip has no sound")
        waveform, rate = self.sound.waveform, self.sound.rate
        return self._once(extractor, "sound", lambda: found.embed_sound(waveform, rate), kept=False)

    def distances_from_start(self, extractor: str) -> Vector:
        """Return one learned distance a frame from what the clip starts from, (T,), or (1,) for a picture."""
        found = self.extractors[extractor]
        if not isinstance(found, FrameComparer):
            raise _unable(extractor, "compare frames")
        frames, start = self.beside_start()
        return self._once(extractor, "distances", lambda: found.distances(frames, start), kept=False)

    def beside_start(self) -> tuple[Frames, Frames]:
        """Return the frames with a counterpart in what the clip starts from, and these: the first, or as many as both have.

        Raises:
            StatisticError: the clip starts from words alone.
        """
        if self.start is None:
            raise StatisticError("the clip has no picture or video to start from")
        common = min(len(self.frames), len(self.start))
        return self.frames[:common], self.start[:common]

    def anchors(self, extractor: str) -> Vector:
        """Return the public anchors of the extractor's feature space, (L, d)."""
        found = self.extractors[extractor]
        if not isinstance(found, Anchored):
            raise _unable(extractor, "name anchors")
        return found.anchors

    def motion_features(self) -> Vector:
        """Return the histogram values of the clip's motion, (1024,)."""
        return self._once("", "motion", lambda: motion_features(self.frames), kept=False)

    def _once(self, extractor: str, kind: str, compute: Callable[[], Vector], *, kept: bool = True) -> Vector:
        """Return features, computed unless this observation has them, or the cache where the clip decides them."""
        if (extractor, kind) not in self._features:
            cache = self.cache if kept and self.digest else None
            self._features[extractor, kind] = self._through(cache, extractor, kind, compute) if cache else compute()
        return self._features[extractor, kind]

    def _through(self, cache: FeatureCache, extractor: str, kind: str, compute: Callable[[], Vector]) -> Vector:
        description = self.extractors[extractor].description
        found = cache.get(self.digest, description, kind)
        if found is None:
            found = compute()
            cache.put(self.digest, description, kind, found)
        return found


def _unable(extractor: str, what: str) -> StatisticError:
    return StatisticError(f"extractor {extractor} cannot {what}, as the metric needs; check the spec")
