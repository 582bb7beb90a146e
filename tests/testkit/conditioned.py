"""A tiny site whose models start from pictures and videos: weights, public conditions, records, and specs over them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from testkit.tiny import tiny_spec
from testkit.tiny_pipelines import build
from vdb_participant.data.video import encode_mp4
from vdb_participant.embedded.scenes import Scene, render
from vdb_participant.models import CONDITIONS, manifest_digest
from vdb_shared.canonical import sha256_digest
from vdb_shared.spec import Model, Prompt, Spec

PIPELINES: Mapping[str, str] = {
    "tiny-wan-a": "WanPipeline",
    "tiny-i2v": "CogVideoXImageToVideoPipeline",
    "tiny-v2v": "CogVideoXVideoToVideoPipeline",
    "tiny-any": "LTXConditionPipeline",
}
"""One that takes words, one that starts from a picture, one from a video, and one that its task decides about."""

STEPS = 4
"""Some pipelines leave out a fifth of them when they start from a video."""


def write_models(folder: Path, tiny_models: Path) -> Path:
    """Write the folder of models with all of `PIPELINES`, and return it."""
    for name in ("tiny-wan-a", "tiny-clip", "tiny-videomae"):
        shutil.copytree(tiny_models / name, folder / name)
    for seed, name in enumerate(("tiny-i2v", "tiny-v2v", "tiny-any")):
        build(PIPELINES[name], folder / name, seed=seed)
    return folder


def clip_of(colour: str, frames: int = 9, size: int = 48, variant: int = 0) -> Any:
    """Return a moving circle."""
    return render(Scene("circle", colour, "circling", "dark"), variant, frames=frames, size=size)


def keep_condition(models: Path, source: Path) -> str:
    """Put a file where sites keep public conditions, and return its digest."""
    digest = sha256_digest(source.read_bytes())
    place = models / CONDITIONS / f"{digest.removeprefix('sha256:')}{source.suffix}"
    place.parent.mkdir(exist_ok=True)
    shutil.copy(source, place)
    return digest


def video_condition(models: Path, folder: Path, colour: str, frames: int = 9) -> str:
    """Keep a video and return its digest."""
    path = folder / f"{colour}-{frames}.mp4"
    encode_mp4(path, clip_of(colour, frames), fps=8)
    return keep_condition(models, path)


def picture_condition(models: Path, folder: Path, colour: str, suffix: str = ".png") -> str:
    """Keep a picture and return its digest."""
    path = folder / f"{colour}{suffix}"
    Image.fromarray(np.asarray(clip_of(colour))[0]).save(path)
    return keep_condition(models, path)


def write_records(
    folder: Path, lines: Sequence[tuple[str, str | None]], clips: Mapping[str, str], variant: int = 0
) -> Path:
    """Write a data directory and return it.

    Args:
        folder: made where missing.
        lines: words of each prompt and the clip that it names, if any.
        clips: colour of the circle in each clip, by name.
        variant: of the clips; others have other bytes.
    """
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for name, colour in clips.items():
        encode_mp4(folder / "clips" / f"{name}.mp4", clip_of(colour, variant=variant), fps=8)
    written = [
        {"id": f"r{number}", "prompt": words} | ({"clip": f"clips/{clip}.mp4"} if clip else {})
        for number, (words, clip) in enumerate(lines)
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written), encoding="utf-8")
    return folder


def conditioned_spec(
    models: Path,
    pipelines: Sequence[str],
    prompts: Sequence[tuple[str, str | None]],
    *,
    inputs: Sequence[str] = ("public", "private"),
    terms: Mapping[str, Any] | None = None,
    size: int = 32,
) -> Spec:
    """Return a spec over some of `PIPELINES`; every private prompt is used.

    Args:
        models: folder of models.
        pipelines: ids of the models.
        prompts: words and condition of each public prompt.
        inputs: of the metrics.
        terms: of all models that start from something.
        size: height and width.
    """
    spec = tiny_spec(
        models, pipelines=("tiny-wan-a",), metrics=("temporal-flickering@1",), inputs=inputs, steps=STEPS, size=size
    )
    found = [
        Model(id=name, pipeline=PIPELINES[name], manifest=manifest_digest(models / name))
        if name == "tiny-wan-a"
        else Model(id=name, pipeline=PIPELINES[name], manifest=manifest_digest(models / name), **(terms or {}))
        for name in pipelines
    ]
    listed = [Prompt(id=f"p{number}", text=words, condition=digest) for number, (words, digest) in enumerate(prompts)]
    generation = spec.generation.model_copy(update={"private_share": Decimal(1)})
    return spec.model_copy(update={"models": tuple(found), "prompts": tuple(listed), "generation": generation})
