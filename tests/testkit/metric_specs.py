"""Small specs for tests of metrics and privacy: any list of metrics on one valid base."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from vdb_shared.canonical import canonical_json
from vdb_shared.spec import Spec, parse_spec_json

DIGEST = "sha256:" + "a" * 64

CLIP_SCORE: dict[str, Any] = {"id": "clip-score@1", "inputs": "public", "extractor": "tiny-clip"}
FLICKERING: dict[str, Any] = {"id": "temporal-flickering@1", "inputs": "public"}
LATENCY: dict[str, Any] = {"id": "latency@1", "inputs": "public", "limit": "30"}
FRECHET: dict[str, Any] = {"id": "frechet-videomae@1", "inputs": "public", "extractor": "tiny-videomae"}
KERNEL: dict[str, Any] = {
    "id": "mmd-rff@1",
    "inputs": "public",
    "extractor": "tiny-videomae",
    "features": 64,
    "bandwidth": "1",
}


def make_spec(
    metrics: Sequence[dict[str, Any]],
    *,
    models: Sequence[str] = ("alpha", "beta"),
    dimension: int = 4,
    generation: dict[str, Any] | None = None,
    privacy: dict[str, Any] | None = None,
    extractors: Sequence[dict[str, Any]] | None = None,
    pipeline: str = "WanPipeline",
    video: dict[str, Any] | None = None,
) -> Spec:
    """Return a valid spec with these metrics; unless others are given, with a tiny CLIP and a tiny VideoMAE."""
    usual = [
        {"id": "tiny-clip", "architecture": "CLIPModel", "manifest": DIGEST, "dimension": 8},
        {"id": "tiny-videomae", "architecture": "VideoMAEModel", "manifest": DIGEST, "dimension": dimension},
    ]
    values: dict[str, Any] = {
        "version": "vdb-spec/1",
        "title": "A small benchmark",
        "purpose": "Tests",
        "cohort": {"minimum": 4, "collusion": 1, "dropout": "0.25"},
        "privacy": {"epsilon": "4", "delta": "0.000001", "maximum_records": 1000} | (privacy or {}),
        "deadlines": {"joining": 1, "computing": 1, "round": 1, "countersigning": 1},
        "video": {"frames": 9, "height": 32, "width": 32, "fps": 8} | (video or {}),
        "generation": {"steps": 2, "guidance": "1"} | (generation or {}),
        "prompts": [
            {"id": f"p{number}", "text": f"prompt {number}"}
            | ({} if pipeline == "WanPipeline" else {"condition": DIGEST})
            for number in range(4)
        ],
        "models": [{"id": model, "pipeline": pipeline, "manifest": DIGEST} for model in models],
        "extractors": list(usual if extractors is None else extractors),
        "metrics": list(metrics),
    }
    spec = Spec.model_validate_json(canonical_json(values))
    return parse_spec_json(spec.canonical())


def edited(spec: Spec, change: Callable[[dict[str, Any]], object]) -> Spec:
    """Return the spec as its lead would change it, parsed anew and under its own digest."""
    values = json.loads(spec.canonical())
    change(values)
    return parse_spec_json(canonical_json(values))
