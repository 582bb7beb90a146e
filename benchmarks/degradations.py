"""Which metric sees which defect: clips spoilt in seven ways at five strengths, through the whole path from frames to values.

    python benchmarks/degradations.py [--json FILE] [--clips 48] [--markdown FILE]

The clean clips and the five strengths of a defect take the places of six models in one spec; shares, sums and evaluation are
the product's, without noise, with the packaged extractors. A metric *sees* a defect if its value gets worse with every
strength (Kendall's τ of at least 0.9 between strength and loss) and clips of the greatest strength are told apart from clean
ones; it is *fooled* if the same holds for getting better; else it is *blind*. Bounds are asked of the pairs that `EXPECTED`
names, because of what the metrics are made to see. `--markdown` writes the table of docs/metrics-blindness.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from rows import Row, report
from scipy.stats import kendalltau

from vdb_coordinator.commands.presets import read_preset
from vdb_participant.data.video import Frames
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.scenes import render, scenes
from vdb_participant.measure.extractors.interface import LoadedExtractor
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.shares import shares
from vdb_participant.models import inspect_weights
from vdb_participant.synthetic.degradations import DEGRADATIONS, STRENGTHS
from vdb_shared.evaluation import Evaluation, evaluate
from vdb_shared.layout import count_block, generated_block, layout_of, reference_block
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.features import outcome
from vdb_shared.metrics.statistic import Statistics, Tally
from vdb_shared.spec import Metric, Spec, parse_spec_toml

Vector = NDArray[np.float64]
Verdict = Literal["sees", "fooled", "blind"]

FRAMES, SIZE = 17, 32

METRICS: Final[Mapping[str, Mapping[str, Any]]] = {
    "frechet-videomae@1": {"extractor": "VideoMAEModel"},
    "jedi@1": {"extractor": "VideoMAEModel", "limit": 4},
    "kvd3@1": {"extractor": "VideoMAEModel", "limit": 4, "features": 1024},
    "mmd-rff@1": {"extractor": "VideoMAEModel", "features": 1024, "bandwidth": 1},
    "fd-clip@1": {"extractor": "CLIPModel"},
    "fvmd-dis@1": {"limit": 64},
    "rke@1": {"extractor": "VideoMAEModel"},
    "vendi@1": {"extractor": "VideoMAEModel"},
    "temporal-flickering@1": {},
    "motion-smoothness-dis@1": {},
    "warping-error-dis@1": {"limit": 1},
    "dynamic-degree-dis@1": {},
    "background-consistency@1": {"extractor": "CLIPModel"},
    "clip-temp@1": {"extractor": "CLIPModel"},
    "clip-score@1": {"extractor": "CLIPModel"},
    "psnr@1": {},
    "ssim@1": {},
    "fsim@1": {},
}
"""The metrics that the packaged extractors serve, and their settings."""

EXPECTED: Final[Mapping[str, tuple[str, ...]]] = {
    "frechet-videomae@1": ("noise", "flicker"),
    "fvmd-dis@1": ("noise", "frame drop", "shuffle", "flicker"),
    "temporal-flickering@1": ("noise", "flicker", "shuffle"),
    "motion-smoothness-dis@1": ("noise", "flicker", "shuffle"),
    "warping-error-dis@1": ("noise", "flicker"),
    "background-consistency@1": ("noise", "flicker"),
    "clip-temp@1": ("noise", "flicker"),
    "clip-score@1": ("noise", "colour shift"),
    "psnr@1": ("noise", "blur", "frame drop", "shuffle", "freeze", "flicker", "colour shift"),
    "ssim@1": ("noise", "blur", "frame drop", "shuffle", "freeze", "flicker"),
    "fsim@1": ("noise", "blur", "frame drop", "shuffle", "freeze"),
}
"""Defects that a metric must see, by what it is made of. Whether distances of features see blur or other colours depends on
what their extractor has learned: the packaged ones have not, and the colours of these clips turn into one another."""

NAMES: Final = ("clean", *(f"strength-{strength}" for strength in STRENGTHS))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a metric makes of a defect.

    Attributes:
        tau: Kendall's, of strength and loss.
        apart: whether the greatest strength is told from clean clips.
        values: clean, then by strength.
    """

    tau: float
    apart: bool
    values: tuple[float, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether the metric sees the defect, is fooled by it, or is blind to it."""
        if not self.apart or abs(self.tau) < 0.9:
            return "blind"
        return "sees" if self.tau > 0 else "fooled"


def main() -> int:
    """Run, print, and return 1 when a metric does not see what it must."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--markdown", type=Path, help="also write the table of verdicts here")
    parser.add_argument("--clips", type=int, default=48)
    chosen = parser.parse_args()
    found = findings(chosen.clips)
    rows = [
        Row(f"{metric}, {defect}: {finding.verdict}", finding.tau, "τ", _bound(metric, defect), at_least=True)
        for (metric, defect), finding in found.items()
    ]
    if chosen.markdown is not None:
        chosen.markdown.write_text(page(found, chosen.clips), encoding="utf-8")
    return report(rows, f"{chosen.clips} clips of {FRAMES} frames of {SIZE}x{SIZE} a strength", chosen.json)


def findings(clips: int) -> dict[tuple[str, str], Finding]:
    """Return what every metric makes of every defect."""
    spec = _spec()
    layout = layout_of(spec)
    extractors: Mapping[str, LoadedExtractor] = {
        extractor.id: load_extractor(inspect_weights(WEIGHTS / extractor.id), extractor, "cpu")
        for extractor in spec.extractors
    }
    clean = [
        (render(scene, number, frames=FRAMES, size=SIZE), scene.caption)
        for number, scene in enumerate(scenes(0, clips))
    ]
    others = [render(scene, number, frames=FRAMES, size=SIZE) for number, scene in enumerate(scenes(1, clips))]
    found: dict[tuple[str, str], Finding] = {}
    references = [_shares(spec, Observation(frames, extractors), reference=True) for frames in others]
    fps = float(spec.video.fps)
    unspoilt = [_shares(spec, Observation(frames, extractors, words, fps=fps, start=frames)) for frames, words in clean]
    for name, spoil in DEGRADATIONS.items():
        tally = Tally(layout, capacity=clips)
        for share in references:
            tally.add(count_block("reference"), np.ones(1))
            for (metric, part), vector in share.items():
                tally.add(reference_block(metric, part), vector)
        for seed, (frames, words) in enumerate(clean):
            for strength, model in enumerate(NAMES):
                share = unspoilt[seed]
                if strength:
                    spoilt: Frames = spoil(frames, strength, seed)
                    share = _shares(spec, Observation(spoilt, extractors, words, fps=fps, start=frames))
                tally.add(count_block("public", model), outcome(True))
                for (metric, part), vector in share.items():
                    tally.add(generated_block("public", model, metric, part), vector)
        sums = tally.sums()
        found |= {(metric.id, name): _finding(_alone(spec, metric, sums), metric.id) for metric in spec.metrics}
    return {(metric, name): found[metric, name] for metric in METRICS for name in DEGRADATIONS}


def page(found: Mapping[tuple[str, str], Finding], clips: int) -> str:
    """Return the table of verdicts as a page."""
    lines = [
        "# What the metrics do not see",
        "",
        f"Made by `python benchmarks/degradations.py --markdown`: {clips} procedural clips of {FRAMES} frames of {SIZE}x{SIZE}",
        "pixels, clean and with seven defects at five strengths each, with the packaged extractors. **sees**: worse with every",
        "strength (Kendall's τ ≥ 0.9), the strongest told from clean clips. **fooled**: the same, but better. –: blind, or not",
        "steadily. What distances of features see depends on what the extractor has learned: the packaged tiny ones are blind",
        "to blur and to turned colours. No metric sees everything, and several praise a frozen clip: ask for several.",
        "",
        "| metric | " + " | ".join(DEGRADATIONS) + " |",
        "| --- |" + " --- |" * len(DEGRADATIONS),
    ]
    shown = {"sees": "sees", "fooled": "**fooled**", "blind": "–"}
    for metric in METRICS:
        cells = [f"{shown[found[metric, name].verdict]} {found[metric, name].tau:+.1f}" for name in DEGRADATIONS]
        lines.append(f"| `{metric}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _bound(metric: str, defect: str) -> float | None:
    return 0.9 if defect in EXPECTED.get(metric, ()) else None


def _spec() -> Spec:
    """The demo's spec with all metrics, and with six models that start from a video."""
    demo = parse_spec_toml(read_preset("demo"))
    values: dict[str, Any] = demo.model_dump()
    eyes = {extractor.architecture: extractor.id for extractor in demo.extractors}
    digest = demo.models[0].manifest
    values["models"] = tuple(
        {"id": name, "pipeline": "CogVideoXVideoToVideoPipeline", "manifest": digest} for name in NAMES
    )
    values["video"] = {**values["video"], "frames": FRAMES}
    values["prompts"] = tuple(prompt | {"condition": digest} for prompt in values["prompts"])
    values["metrics"] = tuple(
        {"id": name, "inputs": "public"}
        | {key: eyes[value] if key == "extractor" else value for key, value in given.items()}
        for name, given in METRICS.items()
    )
    return Spec.model_validate(values)


def _alone(spec: Spec, metric: Metric, sums: Statistics) -> Evaluation:
    """What is told of a metric in a session of its own: among all of them at once every comparison is more cautious."""
    one = spec.model_copy(update={"metrics": (metric,)})
    return evaluate(one, {block.name: sums[block.name] for block in layout_of(one).blocks}, None)


def _shares(spec: Spec, clip: Observation, *, reference: bool = False) -> dict[tuple[str, str], Vector]:
    return {
        (metric.id, part): vector
        for metric in spec.metrics
        if not reference or definition_of(metric.id).compares_with_reference
        for part, vector in shares(spec, metric, clip, private=reference)
    }


def _finding(evaluated: Evaluation, metric: str) -> Finding:
    by_model = {result.model: result.value for result in evaluated.results if result.metric == metric}
    values = [by_model[name] for name in NAMES]
    if any(value is None for value in values):
        raise RuntimeError(f"{metric}: a value is withheld; take more clips")
    numbers = [float(value) for value in values if value is not None]
    sign = -1.0 if definition_of(metric).direction == "higher" else 1.0
    tau = kendalltau(range(len(numbers)), sign * np.array(numbers)).statistic
    pairs = evaluated.not_apart[metric, "public"]
    apart = (NAMES[0], NAMES[-1]) not in pairs and (NAMES[-1], NAMES[0]) not in pairs
    return Finding(0.0 if np.isnan(tau) else float(tau), apart, tuple(numbers))


if __name__ == "__main__":
    sys.exit(main())
