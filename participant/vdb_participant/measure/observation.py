"""One clip under measurement, and what it adds to each block of a metric.

Promises that a clip's features are computed once however many metrics use them, and that everything returned is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_participant.measure.alignment import clip_score, clip_temporal_consistency
from vdb_participant.measure.distribution import frechet_share, kernel_share
from vdb_participant.measure.efficiency import frames_per_second, latency
from vdb_participant.measure.extractors import ImageTextExtractor, LoadedExtractor, VideoExtractor
from vdb_participant.measure.frames import temporal_flickering
from vdb_shared.errors import StatisticError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.features import rescale, score_histogram, score_moments
from vdb_shared.spec import Metric, Spec

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


SCORES: Final[Mapping[str, Callable[[Observation, str], float]]] = {
    "temporal-flickering@1": lambda clip, _: temporal_flickering(clip.frames),
    "clip-score@1": lambda clip, model: clip_score(clip.frame_embeddings(model), clip.text_embedding(model)),
    "clip-temp@1": lambda clip, model: clip_temporal_consistency(clip.frame_embeddings(model)),
    "latency@1": lambda clip, _: latency(clip.seconds),
    "frames-per-second@1": lambda clip, _: frames_per_second(len(clip.frames), clip.seconds),
}
"""The score of every metric whose sums finish as a mean, from a clip and the id of its extractor."""


def shares(spec: Spec, metric: Metric, clip: Observation, *, private: bool) -> Iterator[tuple[str, Vector]]:
    """Yield what a clip adds to a metric: part and bounded vector of each of its blocks.

    Args:
        spec: the spec.
        metric: one of its metrics.
        clip: the clip.
        private: whether the clip is private; there is no histogram then.

    Raises:
        StatisticError: a score or feature is not finite; the clip must count as failed.
    """
    definition = definition_of(metric.id)
    extractor = metric.extractor or ""
    match definition.finish:
        case "mean":
            high = definition.high if definition.high is not None else metric.limit
            if high is None:
                raise ValueError(f"{metric.id} without a limit passed the layout")
            score = rescale(SCORES[metric.id](clip, extractor), float(definition.low), float(high))
            yield "moments", score_moments(score)
            if not private:
                yield "histogram", score_histogram(score)
        case "frechet":
            limit = 1.0 if metric.limit is None else float(metric.limit)
            yield "moments", frechet_share(clip.clip_features(extractor), limit)
        case "kernel":
            if metric.features is None or metric.bandwidth is None:
                raise ValueError(f"{metric.id} without features or bandwidth passed the layout")
            features = clip.clip_features(extractor)
            manifest = spec.extractor(extractor).manifest
            yield "embedding", kernel_share(features, manifest, metric.features, float(metric.bandwidth))
