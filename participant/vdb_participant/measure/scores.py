"""The score of every metric that finishes as a mean or a rate, by its id.

Promises a score for each such metric of the catalogue; what cannot be scored is a StatisticError, and the clip then counts as
failed. Leaves the formulas to their own modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from vdb_participant.data.video import Frames
from vdb_participant.measure.accompaniment import audio_video_correlation, audio_video_offset
from vdb_participant.measure.alignment import clip_score, clip_temporal_consistency
from vdb_participant.measure.efficiency import frames_per_second, latency
from vdb_participant.measure.frames import temporal_flickering
from vdb_participant.measure.motion.consistency import frame_consistency
from vdb_participant.measure.motion.degree import dynamic_degree, motion_magnitude
from vdb_participant.measure.motion.smoothness import motion_smoothness
from vdb_participant.measure.motion.warping import warping_error
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.paired.feature import fsim, fsimc
from vdb_participant.measure.paired.pixels import psnr
from vdb_participant.measure.paired.structure import ms_ssim, ssim

Score = Callable[[Observation, str], float]
"""Computes a score from a clip and the id of the metric's extractor."""

FLAGGED: Final = 0.5
"""Probability of a classifier's flagged kinds from which a frame is flagged."""


def _against_start(score: Callable[[Frames, Frames], float]) -> Score:
    return lambda clip, _: score(*clip.beside_start())


def _words(clip: Observation, model: str) -> float:
    return clip_score(clip.frame_embeddings(model), clip.text_embedding(model))


def _consistency(clip: Observation, model: str) -> float:
    return frame_consistency(clip.frame_embeddings(model))


def _mean_frame_score(clip: Observation, model: str) -> float:
    return float(clip.frame_scores(model).mean())


def _flagged(clip: Observation, model: str) -> float:
    """Return 1 where any frame is flagged, else 0; NaN where the classifier fails."""
    chances = clip.frame_scores(model)
    return float(np.nan) if not np.isfinite(chances).all() else float((chances > FLAGGED).any())


def _sound_and_words(clip: Observation, model: str) -> float:
    return float(clip.sound_embedding(model) @ clip.text_embedding(model))


def _perceptual(clip: Observation, model: str) -> float:
    return float(clip.distances_from_start(model).mean())


SCORES: Final[Mapping[str, Score]] = {
    "temporal-flickering@1": lambda clip, _: temporal_flickering(clip.frames),
    "motion-smoothness-dis@1": lambda clip, _: motion_smoothness(clip.frames),
    "dynamic-degree-dis@1": lambda clip, _: dynamic_degree(clip.frames, clip.fps),
    "motion-magnitude-dis@1": lambda clip, _: motion_magnitude(clip.frames),
    "warping-error-dis@1": lambda clip, _: warping_error(clip.frames),
    "subject-consistency@1": _consistency,
    "subject-consistency-dinov2@1": _consistency,
    "background-consistency@1": _consistency,
    "clip-temp@1": lambda clip, model: clip_temporal_consistency(clip.frame_embeddings(model)),
    "clip-score@1": _words,
    "siglip-score@1": _words,
    "video-text@1": lambda clip, model: clip.text_cosine(model),
    "aesthetic@1": _mean_frame_score,
    "imaging-quality@1": _mean_frame_score,
    "clip-iqa@1": _mean_frame_score,
    "safety-flag@1": _flagged,
    "psnr@1": _against_start(psnr),
    "ssim@1": _against_start(ssim),
    "ms-ssim@1": _against_start(ms_ssim),
    "fsim@1": _against_start(fsim),
    "fsimc@1": _against_start(fsimc),
    "lpips-alex@1": _perceptual,
    "lpips-vgg@1": _perceptual,
    "dists@1": _perceptual,
    "text-audio@1": _sound_and_words,
    "audio-video-correlation@1": lambda clip, _: audio_video_correlation(clip.frames, clip.sound, clip.fps),
    "audio-video-offset@1": lambda clip, _: audio_video_offset(clip.frames, clip.sound, clip.fps),
    "latency@1": lambda clip, _: latency(clip.seconds),
    "frames-per-second@1": lambda clip, _: frames_per_second(len(clip.frames), clip.seconds),
}
