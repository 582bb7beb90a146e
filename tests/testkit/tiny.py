"""Tiny models, and specs that use them: everything a site needs to measure for real in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import Clip, GenerationError
from vdb_participant.models import manifest_digest
from vdb_shared.spec import Spec, parse_spec_toml

_HEAD = """\
version = "vdb-spec/1"
title = "Tiny"
purpose = "Measured by tests."
[cohort]
minimum = 4
collusion = 1
dropout = 0.2
[privacy]
epsilon = 8
delta = 1e-6
maximum_records = 64
[deadlines]
joining = 60
computing = 600
round = 10
countersigning = 30
[video]
frames = {frames}
height = {size}
width = {size}
fps = 8
[generation]
steps = {steps}
guidance = 2.0
samples = {samples}
private_share = 0.1
"""

METRICS = {
    "temporal-flickering@1": "",
    "clip-score@1": 'extractor = "tiny-clip"',
    "clip-temp@1": 'extractor = "tiny-clip"',
    "latency@1": "limit = 10",
    "frames-per-second@1": "limit = 1000",
    "frechet-videomae@1": 'extractor = "tiny-videomae"\nlimit = 2',
    "mmd-rff@1": 'extractor = "tiny-videomae"\nfeatures = 32\nbandwidth = 1.5',
}
"""Every metric with settings that suit the tiny extractors."""


def tiny_spec(
    models: Path,
    *,
    pipelines: Sequence[str] = ("tiny-wan-a", "tiny-wan-b"),
    metrics: Sequence[str] = tuple(METRICS),
    inputs: Sequence[str] = ("public", "private"),
    prompts: Sequence[str] = ("a red circle moving left", "a blue square bouncing"),
    frames: int = 9,
    size: int = 32,
    steps: int = 1,
    samples: int = 1,
) -> Spec:
    """Return a spec of tiny models and extractors, with the digests of the weights in a folder."""
    parts = [_HEAD.format(frames=frames, size=size, steps=steps, samples=samples)]
    parts += [f'[[prompts]]\nid = "p{number}"\ntext = "{text}"\n' for number, text in enumerate(prompts)]
    parts += [
        f'[[models]]\nid = "{name}"\npipeline = "WanPipeline"\nmanifest = "{manifest_digest(models / name)}"\n'
        for name in pipelines
    ]
    for name, architecture, dimension in (("tiny-clip", "CLIPModel", 32), ("tiny-videomae", "VideoMAEModel", 16)):
        parts.append(
            f'[[extractors]]\nid = "{name}"\narchitecture = "{architecture}"\n'
            f'manifest = "{manifest_digest(models / name)}"\ndimension = {dimension}\n'
        )
    parts += [
        f'[[metrics]]\nid = "{metric}"\ninputs = "{side}"\n{METRICS[metric]}\n' for side in inputs for metric in metrics
    ]
    return parse_spec_toml("".join(parts))


class PaintingGenerator:
    """A generator without a model: frames that follow from prompt and seed.

    Attributes:
        calls: prompts and seeds it was asked for, in order.
        failing: how often each prompt fails before it succeeds.
    """

    device = "cpu"

    def __init__(self, shape: tuple[int, int, int, int], failing: dict[str, int] | None = None) -> None:
        self.calls: list[tuple[str, int]] = []
        self.warmed = 0
        self.failing = dict(failing or {})
        self._shape = shape

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        self.calls.append((prompt, seed))
        if self.failing.get(prompt, 0) > 0:
            self.failing[prompt] -= 1
            raise GenerationError("out of paint")
        count = int(np.prod(self._shape))
        values = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed % 2**32)) >> np.uint64(8)
        return Clip((values % np.uint64(256)).astype(np.uint8).reshape(self._shape))

    def warm_up(self) -> None:
        self.warmed += 1
