"""The embedded models: how good each grade is, and whether a demo-like benchmark ranks them in their true order.

    python benchmarks/embedded.py [--json FILE] [--seeds 20]

Quality by the package's own clips and scorers. Then many seeds of a benchmark like the demo's: five sites with private clips,
one of which drops out, 24 public prompts; ranked by CLIP score and by Fréchet distance, without noise and with the noise
that the demo's budget gives. Layout, calibration and finish are the real ones. Approximated: the noise is a continuous Gaussian
of the real deviation, not a discrete one; the clips of a seed are made in one call; the sites' clips do not pass through an
MP4 file; the clips of private prompts are drawn from those of public ones; seeds share ten sites' clips.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import WanPipeline
from diffusers.utils import logging
from numpy.typing import NDArray
from rows import Row, report

from vdb_coordinator.commands.presets import read_preset
from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.quality import (
    GUIDANCE,
    STEPS,
    Scorers,
    measured_quality,
    some_scenes,
)
from vdb_participant.embedded.recipes import GRADES
from vdb_participant.embedded.scenes import FRAMES, SIZE, render, scenes
from vdb_participant.embedded.words import LONGEST
from vdb_participant.measure.shares import frechet_share
from vdb_shared.layout import count_block, generated_block, layout_of, promise_of, reference_block
from vdb_shared.metrics.features import score_moments
from vdb_shared.metrics.frechet import MomentSums, fit
from vdb_shared.metrics.scores import ScoreSums
from vdb_shared.privacy.calibration import calibrate
from vdb_shared.privacy.mechanism import NoiseLevel, noise_level
from vdb_shared.secagg.parameters import smallest_cohort
from vdb_shared.spec import Spec, parse_spec_toml

Values = NDArray[np.float64]

NAMES: Final = tuple(grade.name for grade in GRADES)
"""From the worst to the best."""

QUALITY_PROMPTS: Final = 96
PROMPTS: Final = 24
SITES, SURVIVORS, CLIPS = 5, 4, 200
POOL: Final = 10
"""Sites whose clips are rendered; each seed has five of them."""

FRECHET: Final = "dp-fvd@1"
CLIP_SCORE: Final = "clip-score@1"
LEAST_NOISED: Final = 0.9
"""Share of seeds that must rank rightly under the demo's noise; without noise all must."""


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--seeds", type=int, default=20, help="of the ranking study")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    scorers = Scorers.load()
    rows = [row for name in NAMES for row in quality_rows(name, scorers)]
    rows += ranking_rows(Study(scorers, chosen.seeds), chosen.seeds)
    size = sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file())
    rows.append(Row("all weights in the package", size / 2**20, "MiB", 12.0))
    return report(rows, f"{STEPS} steps, guidance {GUIDANCE}, one thread", chosen.json)


def quality_rows(name: str, scorers: Scorers) -> list[Row]:
    """Return the figures of one grade."""
    found = measured_quality(name, scorers, prompts=QUALITY_PROMPTS)
    shares = (("shape", found.shape), ("colour", found.colour), ("motion", found.motion), ("all", found.all))
    return [
        Row(f"{name}, Fréchet distance to fresh clips", found.distance, ""),
        Row(f"{name}, CLIP score of right prompts", found.right, ""),
        Row(f"{name}, CLIP score of shuffled prompts", found.shuffled, "", found.right),
        *(Row(f"{name}, clips with {kind} right", 100 * share, "%") for kind, share in shares),
        Row(f"{name}, seconds for a clip", found.seconds, "s"),
    ]


def demo_spec() -> Spec:
    """Return the demo's preset."""
    return parse_spec_toml(read_preset("demo"))


@dataclass(frozen=True, slots=True)
class Found:
    """The values of one seed by model: CLIP score and Fréchet distance, exact and noised."""

    score: Mapping[str, float]
    noised_score: Mapping[str, float]
    distance: Mapping[str, float]
    noised_distance: Mapping[str, float]


class Study:
    """A benchmark like the demo's, many times over."""

    def __init__(self, scorers: Scorers, seeds: int) -> None:
        self.spec = demo_spec()
        self.noise = self._noise_level()
        self._limit = next(float(metric.limit or 1) for metric in self.spec.metrics if metric.id == FRECHET)
        self._sites = [
            self._moments(scorers, [render(scene, site) for scene in scenes(site, CLIPS)]) for site in range(POOL)
        ]
        chosen = some_scenes(PROMPTS * seeds)
        captions = [scene.caption for scene in chosen]
        self._moments_of: dict[str, Values] = {}
        self._scores_of: dict[str, Values] = {}
        for number, name in enumerate(NAMES):
            clips = [
                clip
                for seed in range(seeds)
                for clip in made_together(name, captions[seed * PROMPTS : (seed + 1) * PROMPTS], number * seeds + seed)
            ]
            self._moments_of[name] = self._shares(scorers, clips)
            self._scores_of[name] = scorers.alignment(clips, captions) / 100

    def run(self, seed: int) -> Found:
        """Return the values of one seed."""
        draws = np.random.default_rng(seed)
        mine = slice(seed * PROMPTS, (seed + 1) * PROMPTS)
        sites = draws.choice(POOL, SURVIVORS, replace=False)
        reference = MomentSums(np.sum([self._sites[site] for site in sites], axis=0), float(SURVIVORS * CLIPS))
        models = {name: MomentSums(self._moments_of[name][mine].sum(axis=0), float(PROMPTS)) for name in NAMES}
        return Found(
            score={name: 100 * float(self._scores_of[name][mine].mean()) for name in NAMES},
            noised_score={name: 100 * self._private_score(name, draws).mean for name in NAMES},
            distance=fit(reference, models).distances,
            noised_distance=fit(self._noised(reference, draws), models).distances,
        )

    def _noise_level(self) -> NoiseLevel:
        layout = layout_of(self.spec)
        smallest = smallest_cohort(SITES, self.spec.cohort.collusion, self.spec.cohort.dropout)
        calibration = calibrate(promise_of(self.spec, joined=SITES, smallest_cohort=smallest), layout)
        found = noise_level(layout, calibration, SURVIVORS)
        if found is None:
            raise ValueError("the demo's spec has no noise")
        return found

    def _noised(self, reference: MomentSums, draws: np.random.Generator) -> MomentSums:
        deviation = self.noise.of(reference_block(FRECHET, "moments"))
        of_count = self.noise.of(count_block("reference"))
        return MomentSums(
            reference.sums + deviation * draws.standard_normal(reference.sums.shape),
            reference.count + of_count * draws.standard_normal(),
            deviation,
            of_count,
        )

    def _private_score(self, name: str, draws: np.random.Generator) -> ScoreSums:
        """Return noised sums of as many clips as the survivors' private prompts are, drawn from those of public ones."""
        count = round(SURVIVORS * CLIPS * float(self.spec.generation.private_share))
        scores = draws.choice(self._scores_of[name], count)
        sums = np.sum([score_moments(float(score)) for score in scores], axis=0)
        deviation = self.noise.of(generated_block("private", name, CLIP_SCORE, "moments"))
        of_count = self.noise.of(count_block("private", name))
        noised = sums + deviation * draws.standard_normal(2)
        return ScoreSums(noised, count + of_count * draws.standard_normal(), deviation, of_count)

    def _shares(self, scorers: Scorers, clips: Sequence[Frames]) -> Values:
        return np.stack([frechet_share(features, self._limit) for features in scorers.see(clips).features])

    def _moments(self, scorers: Scorers, clips: Sequence[Frames]) -> Values:
        return np.asarray(self._shares(scorers, clips).sum(axis=0), dtype=np.float64)


def made_together(name: str, captions: Sequence[str], seed: int) -> list[Frames]:
    """Return clips of a pipeline, one for each caption, all in one call: several times as fast as one by one."""
    pipeline = WanPipeline.from_pretrained(WEIGHTS / name, local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with exact_arithmetic():
        video = pipeline(
            prompt=list(captions),
            negative_prompt=[""] * len(captions),
            height=SIZE,
            width=SIZE,
            num_frames=FRAMES,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=torch.Generator("cpu").manual_seed(seed),
            max_sequence_length=LONGEST,
            output_type="np",
        ).frames
    return list(np.rint(video * 255).astype(np.uint8))


def ranking_rows(study: Study, seeds: int) -> list[Row]:
    """Return in how many seeds the grades rank rightly, and the mean values."""
    found = [study.run(seed) for seed in range(seeds)]
    kinds = (
        ("CLIP score, public prompts, no noise", [each.score for each in found], True, 1.0),
        ("CLIP score, private prompts, the demo's noise", [each.noised_score for each in found], True, LEAST_NOISED),
        ("Fréchet distance, no noise", [each.distance for each in found], False, 1.0),
        ("Fréchet distance, the demo's noise", [each.noised_distance for each in found], False, LEAST_NOISED),
    )
    rows = []
    for title, values, higher, least in kinds:
        right = sum(rightly_ranked(each, higher=higher) for each in values)
        rows.append(Row(f"{title}: seeds in true order, of {seeds}", right, "", least * seeds, at_least=True))
        for name in NAMES:
            rows.append(Row(f"  {name}, mean over seeds", float(np.mean([each[name] for each in values])), ""))
    return rows


def rightly_ranked(values: Mapping[str, float], *, higher: bool) -> bool:
    """Whether each grade is strictly better than the one before it."""
    ordered = [values[name] if higher else -values[name] for name in NAMES]
    return all(better > worse for worse, better in pairwise(ordered))


if __name__ == "__main__":
    sys.exit(main())
