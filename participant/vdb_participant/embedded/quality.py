"""How good the embedded pipelines are, in the eyes of the embedded extractors.

Promises figures by the code paths of a real benchmark: inspected weights, one clip a call, the catalogue's scores. Used by the
model cards, the tests and benchmarks/embedded.py; it says nothing about real models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from vdb_participant.data.video import Frames
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.recipes import CLIP, HEADS_NAME, VIDEO_FEATURES, VIDEOMAE, WORD_FEATURES
from vdb_participant.embedded.scenes import FRAMES, PROPERTIES, SIZE, Scene, every_scene, labels_of, render
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.settings import GenerationSettings
from vdb_participant.measure.alignment import clip_score
from vdb_participant.measure.extractors.images import ImageTextExtractor
from vdb_participant.measure.extractors.projection import Projection
from vdb_participant.measure.extractors.video import load_videomae, pooled_features
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import inspect_weights
from vdb_shared.metrics.frechet import Moments, frechet_distance
from vdb_shared.spec import Extractor, Model

Values = NDArray[np.float64]

STEPS: Final = 12
GUIDANCE: Final = 2.5

SETTINGS: Final = GenerationSettings(
    frames=FRAMES, height=SIZE, width=SIZE, steps=STEPS, guidance=GUIDANCE, negative_prompt="", profile="exact"
)
"""With what the pipelines are near their best."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the video encoder makes of clips.

    Attributes:
        features: projected, (N, d).
        named: places of shape, colour, motion and background among their kind, (N, 4).
    """

    features: Values
    named: NDArray[np.int64]


class Scorers:
    """The embedded extractors."""

    def __init__(self, folder: Path) -> None:
        words, video = inspect_weights(folder / CLIP), inspect_weights(folder / VIDEOMAE)
        extractor = Extractor(id=CLIP, architecture="CLIPModel", manifest=words.manifest, dimension=WORD_FEATURES)
        self.words = ImageTextExtractor.load(words, extractor, "cpu")
        self._encoder: Any = load_videomae(video.directory, "cpu")
        self._projection = Projection.load(video.directory, VIDEO_FEATURES)
        self._preprocessing = Preprocessing.load(video.directory)
        self._heads = load_file(video.directory / HEADS_NAME)

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> Scorers:
        """Return the extractors of a folder of models.

        Raises:
            ModelError: they are missing or broken.
        """
        return cls(folder)

    def see(self, clips: Sequence[Frames]) -> Seen:
        """Return features of clips, and what the classifier names in them."""
        hidden = np.stack([pooled_features(self._encoder, self._preprocessing, frames, "cpu") for frames in clips])
        named = [
            (hidden @ self._heads[f"{place}.weight"].T.astype(np.float64) + self._heads[f"{place}.bias"]).argmax(axis=1)
            for place in range(len(PROPERTIES))
        ]
        return Seen(self._projection(hidden), np.stack(named, axis=1))

    def alignment(self, clips: Sequence[Frames], captions: Sequence[str]) -> Values:
        """Return the CLIP score of each clip with its caption, (N,), in [0, 100]."""
        texts = {caption: self.words.embed_text(caption) for caption in set(captions)}
        return np.array(
            [
                clip_score(self.words.embed_frames(frames), texts[caption])
                for frames, caption in zip(clips, captions, strict=True)
            ]
        )


@dataclass(frozen=True, slots=True)
class Quality:
    """How good one pipeline is.

    Attributes:
        distance: squared Fréchet distance of projected features to fresh rendered clips of many scenes.
        right, shuffled: mean CLIP score with the clips' own prompts, and with each other's.
        shape, colour, motion, all: share of clips in which the classifier sees what was asked for.
        seconds: for a clip.
    """

    distance: float
    right: float
    shuffled: float
    shape: float
    colour: float
    motion: float
    all: float
    seconds: float


REFERENCE_CLIPS: Final = 512


def measured_quality(name: str, scorers: Scorers, *, folder: Path = WEIGHTS, prompts: int) -> Quality:
    """Return the quality of a pipeline over so many prompts, a fixed choice, with fixed seeds."""
    scenes = some_scenes(prompts)
    clips, seconds = generated(load_pipeline(name, folder), [scene.caption for scene in scenes], seed=0)
    seen = scorers.see(clips)
    reference = scorers.see(fresh_clips(some_scenes(min(REFERENCE_CLIPS, 8 * prompts)), "fresh"))
    captions = [scene.caption for scene in scenes]
    right = seen.named == np.array([labels_of(scene) for scene in scenes])
    return Quality(
        distance=distance(seen.features, reference.features),
        right=float(scorers.alignment(clips, captions).mean()),
        shuffled=float(scorers.alignment(clips, shuffled(captions)).mean()),
        shape=float(right[:, 0].mean()),
        colour=float(right[:, 1].mean()),
        motion=float(right[:, 2].mean()),
        all=float(right[:, :3].all(axis=1).mean()),
        seconds=seconds,
    )


def scorer_quality(scorers: Scorers, count: int) -> tuple[dict[str, float], tuple[float, float]]:
    """Return how well the extractors do on rendered clips of held-out combinations.

    Returns:
        Share of clips named rightly by property, and the mean CLIP score with right and with shuffled captions.
    """
    held_out = [scene for scene in every_scene() if scene.held_out]
    scenes = [held_out[place] for place in np.random.default_rng(7).integers(len(held_out), size=count)]
    clips = fresh_clips(scenes, "held out")
    right = scorers.see(clips).named == np.array([labels_of(scene) for scene in scenes])
    captions = [scene.caption for scene in scenes]
    scores = scorers.alignment(clips, captions).mean(), scorers.alignment(clips, shuffled(captions)).mean()
    names = ("shape", "colour", "motion", "background")
    return dict(zip(names, right.mean(axis=0).tolist(), strict=True)), (float(scores[0]), float(scores[1]))


def some_scenes(count: int) -> list[Scene]:
    """Return a fixed choice of scenes, evenly from all, those held out of training among them."""
    every = every_scene()
    order = np.random.default_rng(5).permutation(len(every))
    return [every[order[place % len(every)]] for place in range(count)]


def shuffled(captions: Sequence[str]) -> list[str]:
    """Return other clips' captions: each gets that of the clip half the way round."""
    half = len(captions) // 2
    return [*captions[half:], *captions[:half]]


def load_pipeline(name: str, folder: Path = WEIGHTS) -> DiffusersGenerator:
    """Return an embedded pipeline.

    Raises:
        ModelError: it is missing or broken.
    """
    weights = inspect_weights(folder / name)
    model = Model(id=name, pipeline="WanPipeline", manifest=weights.manifest)
    return DiffusersGenerator.load(weights, model, SETTINGS, "cpu")


def generated(pipeline: DiffusersGenerator, prompts: Sequence[str], *, seed: int) -> tuple[list[Frames], float]:
    """Return one clip for each prompt, and the seconds for a clip; seeds count on from `seed`."""
    pipeline.warm_up()
    began = time.perf_counter()
    clips = [pipeline.generate(prompt, seed + number).frames for number, prompt in enumerate(prompts)]
    return clips, (time.perf_counter() - began) / len(clips)


def fresh_clips(scenes: Sequence[Scene], name: str) -> list[Frames]:
    """Return rendered clips that no model saw, one for each scene."""
    return [render(scene, f"{name}/{number}") for number, scene in enumerate(scenes)]


def distance(first: Values, second: Values) -> float:
    """Return the squared Fréchet distance between two sets of projected features, (N, d) and (M, d)."""
    return frechet_distance(_moments(first), _moments(second))


def _moments(features: Values) -> Moments:
    centred = features - features.mean(axis=0)
    return Moments(features.mean(axis=0), centred.T @ centred / len(features))
