"""Ratings by made-up people: lines of ratings.jsonl, and specs that ask for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from testkit.metric_specs import make_spec
from vdb_shared.spec import Spec

MODELS = ("alpha", "beta", "gamma")
PREFERENCE: dict[str, Any] = {"id": "preference-bt@1", "inputs": "ratings"}
CORRELATION: dict[str, Any] = {"id": "human-correlation@1", "inputs": "ratings", "of": "temporal-flickering@1"}

Line = Mapping[str, Any]


def rated_spec(metrics: Sequence[dict[str, Any]] = (PREFERENCE, CORRELATION), **changes: Any) -> Spec:
    """Return a spec with metrics of people's ratings: three models, four prompts, two samples."""
    return make_spec(metrics, models=MODELS, generation={"samples": 2}, **changes)


def vote(spec: Spec, rater: str, choice: str, /, **changes: Any) -> Line:
    """Return a vote between alpha and beta."""
    return {
        "spec": spec.digest, "rater": rater, "prompt": "p0", "sample": 0, "first": "alpha", "second": "beta", "choice": choice
    } | changes  # fmt: skip


def score(spec: Spec, rater: str, value: float, /, **changes: Any) -> Line:
    """Return a score of a clip of alpha on five points."""
    return {
        "spec": spec.digest, "rater": rater, "prompt": "p0", "sample": 0, "model": "alpha", "score": value, "lowest": 1,
        "highest": 5,
    } | changes  # fmt: skip


def written(folder: Path, lines: Sequence[Line]) -> Path:
    """Write ratings.jsonl into a data folder, which is made where it is missing; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ratings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def opinions(spec: Spec, seed: int, raters: Sequence[str]) -> list[Line]:
    """Return votes and scores of people who like earlier models better and disagree a little, of any of a spec's clips."""
    generator = np.random.default_rng(seed)
    models, found = [model.id for model in spec.models], list[Line]()
    for rater in raters:
        for prompt in spec.prompts:
            for sample in range(spec.generation.samples):
                where = {"spec": spec.digest, "rater": rater, "prompt": prompt.id, "sample": sample}
                liked = {model: -place + 1.5 * generator.normal() for place, model in enumerate(models)}
                first, second = generator.choice(models, 2, replace=False).tolist()
                choice = "first" if liked[first] > liked[second] else "second"
                found.append(where | {"first": first, "second": second, "choice": choice})
                shown = models[int(generator.integers(len(models)))]
                given = int(np.clip(round(4 + liked[shown]), 1, 5))
                found.append(where | {"model": shown, "score": given, "lowest": 1, "highest": 5})
    return found
