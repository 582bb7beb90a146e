"""The benchmark of the sessions in which whole lives are killed: small enough for seconds, real in every part."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from testkit.tiny import tiny_spec
from vdb_shared.spec import Deadlines, Spec

SITES = 4
STEPS = 8
EVERY = 3
"""Steps between two checkpoints; the shipped interval has seconds as well, which tiny models never need."""

PRIVATE = 3
"""Private prompts of each institution."""

MODELS = ("tiny-wan-a", "tiny-wan-b")
EXTRACTORS = ("tiny-clip", "tiny-videomae")


def life_spec(models: Path) -> Spec:
    """Return the spec over the weights in a folder: eight public prompts, every private one, nobody is given up."""
    prompts = [f"a circle that moves, number {number}" for number in range(2 * SITES)]
    metrics = ("temporal-flickering@1", "clip-score@1")
    spec = tiny_spec(models, pipelines=MODELS, metrics=metrics, prompts=prompts, steps=STEPS)
    generation = spec.generation.model_copy(update={"private_share": Decimal(1), "checked_share": Decimal(0)})
    patient = Deadlines(joining=3600, computing=3600, round=3600, countersigning=3600)
    return spec.model_copy(update={"generation": generation, "deadlines": patient})
