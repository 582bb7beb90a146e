"""Features of clips instead of made-up ones: rendered scenes, clips of the packaged models, and spoilt clips.

Promises features of the packaged encoder (64 numbers, before any map), public maps by `metrics fit-map`'s own code, and five
models: vdb-tiny-1 to -3, and rendered clips with noise and with flicker. Numbers of clips are limited by the time that it takes
to make them; samples are drawn from them with replacement, so that the pools are the populations and their order is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from diffusers.utils import logging
from dp_estimators import Estimator, Map, dp_fvd, naive
from dp_worlds import Values
from embedded import NAMES, made_together
from rows import Row

from vdb_participant.data.video import Frames
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.quality import fresh_clips, some_scenes
from vdb_participant.embedded.recipes import VIDEOMAE
from vdb_participant.measure.extractors.fitting import PublicFeatures
from vdb_participant.measure.extractors.video import load_videomae, pooled_features
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.synthetic.degradations import DEGRADATIONS
from vdb_shared.evaluation import COARSE_NOISE, VALUE_NOISE

TOGETHER: Final = 24
"""Clips that a model makes in one call."""

SPOILT: Final = (("noise", 3), ("flicker", 4))
"""Defects and strengths that the encoder sees."""

AXES: Final = (16, 32)

Estimated = Callable[..., Values]


@dataclass(frozen=True, slots=True)
class Pools:
    """Features, (n, 64) each.

    Attributes:
        public: what maps are fitted to.
        reference: of rendered clips.
        models: by name, in the order of their true distances.
    """

    public: Values
    reference: Values
    models: Mapping[str, Values]


def made_pools(reference: int, generated: int) -> Pools:
    """Return the features of so many rendered clips, twice, and of so many clips of each model."""
    logging.disable_progress_bar()
    encoder = load_videomae(WEIGHTS / VIDEOMAE, "cpu")
    preprocessing = Preprocessing.load(WEIGHTS / VIDEOMAE)

    def seen(clips: Sequence[Frames]) -> Values:
        return np.stack([pooled_features(encoder, preprocessing, frames, "cpu") for frames in clips])

    scenes = some_scenes(generated)
    captions = [scene.caption for scene in scenes]
    models: dict[str, Values] = {}
    for number, name in enumerate(NAMES):
        starts = range(0, generated, TOGETHER)
        clips = [
            clip
            for start in starts
            for clip in made_together(name, captions[start : start + TOGETHER], 1000 * number + start)
        ]
        models[name] = seen(clips)
    fresh = fresh_clips(scenes, "spoilt")
    for defect, strength in SPOILT:
        spoilt = [DEGRADATIONS[defect](frames, strength, number) for number, frames in enumerate(fresh)]
        models[f"{defect} {strength}"] = seen(spoilt)
    every = some_scenes(reference)
    return Pools(seen(fresh_clips(every, "public")), seen(fresh_clips(every, "reference")), models)


def clip_rows(
    pools: Pools, estimated: Estimated, tau_of: Callable[[Values, Values], float], z: float, seeds: int
) -> Iterator[Row]:
    """Return what real features say at either threshold: the order of the models, and the error of values.

    Args:
        pools: the features.
        estimated: an estimator's values under noise, `dp_utility.estimated`.
        tau_of: Kendall's tau.
        z: noise multiplier; the numbers of clips follow from it and from the thresholds.
        seeds: samples and noises.
    """
    public = PublicFeatures.of(pools.public)
    sides = [pools.reference, *pools.models.values()]
    truth = _exact(dp_fvd, Map.of(public, 64), 64, sides)
    for name, value in zip(pools.models, truth, strict=True):
        yield Row(f"clips: {name}, distance in all 64 dimensions, squared clipping norms", float(value), "")
    for private in (False, True):
        for level in (VALUE_NOISE / 2, VALUE_NOISE, COARSE_NOISE, 2 * COARSE_NOISE):
            count = round(z * np.sqrt(len(sides) if private else 1) / level)
            words = f"clips: noise {level:g}, {'private' if private else 'public'} prompts, n={count}"
            for axes in AXES:
                mapping = Map.of(public, axes)
                exact = _exact(dp_fvd, mapping, axes, sides)
                for name, estimator in (("dp-fvd", dp_fvd(axes)), ("naive", naive(axes))):
                    taus, errors = [], []
                    for seed in range(seeds):
                        draws = np.random.default_rng([13, seed, axes])
                        sums = [estimator.sums(mapping(draws.choice(pool, size=count))) for pool in sides]
                        found = estimated(estimator, sums, count, z, draws, private=private)
                        taus.append(tau_of(found, truth))
                        errors.append(np.abs(found - exact) / exact)
                    yield Row(f"{words}: {name}, {axes} axes", float(np.mean(taus)), "tau")
                    yield Row(f"{words}: value of {name}, {axes} axes", float(np.median(errors)), "rel")


def _exact(make: Callable[[int], Estimator], mapping: Map, axes: int, sides: Sequence[Values]) -> Values:
    """Return the distances of the pools themselves, without noise."""
    estimator = make(axes)
    means = [estimator.sums(mapping(pool)) / len(pool) for pool in sides]
    return estimator.values(means[0], means[1:], 1, (0.0, 0.0))
