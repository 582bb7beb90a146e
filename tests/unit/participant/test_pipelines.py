"""A tiny WanPipeline: a clip follows from weights, prompt, seed and settings. `test_every_class.py` runs the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from testkit.tiny import tiny_spec
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.settings import GenerationError, GenerationSettings
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Spec

PROMPT = "a red circle moving left"


@pytest.fixture(scope="session")
def spec(tiny_models: Path) -> Spec:
    return tiny_spec(tiny_models, pipelines=("tiny-wan-a", "tiny-wan-b", "tiny-wan-c"), steps=4)


def _load(folder: Path, spec: Spec, name: str = "tiny-wan-a") -> DiffusersGenerator:
    (model,) = (model for model in spec.models if model.id == name)
    return DiffusersGenerator.load(inspect_weights(folder / name), model, GenerationSettings.of(spec, model), "cpu")


def test_a_clip_is_what_diffusers_makes(tiny_models: Path, spec: Spec) -> None:
    pipeline = WanPipeline.from_pretrained(tiny_models / "tiny-wan-a", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=PROMPT,
        negative_prompt="",
        height=32,
        width=32,
        num_frames=9,
        num_inference_steps=4,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(5),
        max_sequence_length=64,
        output_type="pil",
    ).frames[0]
    made = _load(tiny_models, spec).generate(PROMPT, 5).frames
    assert made.dtype == np.uint8
    assert made.shape == (9, 32, 32, 3)
    np.testing.assert_array_equal(made, np.stack([np.asarray(picture) for picture in expected]))


def test_the_same_clip_again_whatever_came_before(tiny_models: Path, spec: Spec) -> None:
    generator = _load(tiny_models, spec)
    first = generator.generate(PROMPT, 5).frames
    generator.warm_up()
    other = generator.generate("a blue square bouncing", 2**63 - 1).frames
    np.testing.assert_array_equal(generator.generate(PROMPT, 5).frames, first)
    np.testing.assert_array_equal(_load(tiny_models, spec).generate(PROMPT, 5).frames, first)
    assert not np.array_equal(other, first)
    assert not np.array_equal(generator.generate(PROMPT, 6).frames, first)


def test_the_three_models_differ_visibly(tiny_models: Path, spec: Spec) -> None:
    names = [model.id for model in spec.models]
    clips = [_load(tiny_models, spec, name).generate(PROMPT, 5).frames.astype(float) for name in names]
    for one in range(3):
        for other in range(one):
            assert np.abs(clips[one] - clips[other]).mean() > 20


def test_a_pipeline_of_another_class_is_refused(tiny_models: Path, spec: Spec, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_models / "tiny-wan-a", tmp_path / "tiny-wan-a"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "LTXPipeline"}))
    with pytest.raises(ModelError, match="expected pipeline WanPipeline as in the spec, found 'LTXPipeline'"):
        _load(tmp_path, spec)
    (folder / "model_index.json").write_text("[]")
    with pytest.raises(ModelError, match="expected the index of a diffusers pipeline"):
        _load(tmp_path, spec)


@pytest.mark.parametrize("part", ["vae/diffusion_pytorch_model.safetensors", "vae/config.json", "tokenizer"])
def test_an_incomplete_directory_is_refused_in_one_line(
    tiny_models: Path, spec: Spec, tmp_path: Path, part: str
) -> None:
    folder = Path(shutil.copytree(tiny_models / "tiny-wan-a", tmp_path / "tiny-wan-a"))
    path = folder / part
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(ModelError, match="cannot be loaded") as refusal:
        _load(tmp_path, spec)
    assert "\n" not in str(refusal.value)


def test_a_clip_of_another_shape_is_a_failure(tiny_models: Path, spec: Spec) -> None:
    settings = GenerationSettings.of(spec, spec.models[0])
    wrong = GenerationSettings(8, 32, 32, settings.steps, settings.guidance, "", "exact")
    generator = DiffusersGenerator.load(inspect_weights(tiny_models / "tiny-wan-a"), spec.models[0], wrong, "cpu")
    with pytest.raises(GenerationError, match="expected frames of shape"):
        generator.generate(PROMPT, 1)
    generator.warm_up()


def test_values_that_are_not_finite_are_a_failure(tiny_models: Path, spec: Spec, tmp_path: Path) -> None:
    pipeline = WanPipeline.from_pretrained(tiny_models / "tiny-wan-a", local_files_only=True)
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    pipeline.save_pretrained(tmp_path / "tiny-wan-a")
    with pytest.raises(GenerationError, match="not finite"):
        _load(tmp_path, spec).generate(PROMPT, 1)


def test_precisions_are_those_that_are_asked_for(tiny_models: Path, spec: Spec) -> None:
    weights, model = inspect_weights(tiny_models / "tiny-wan-a"), spec.models[0]
    settings = GenerationSettings.of(spec, model)
    exact = DiffusersGenerator.load(weights, model, settings, "cpu").generate(PROMPT, 5).frames
    mixed = DiffusersGenerator.load(
        weights, model, settings, "cpu", precisions={"default": "float32", "transformer": "bfloat16"}
    )
    assert not np.array_equal(mixed.generate(PROMPT, 5).frames, exact)


def test_every_call_is_watched(tiny_models: Path, spec: Spec) -> None:
    seen: list[tuple[str, str, object]] = []

    @contextmanager
    def watch(pipeline: Any, noise: torch.Generator, key: tuple[str, int] | None) -> Iterator[None]:
        seen.append(("begins", type(pipeline).__name__, key))
        assert torch.equal(noise.get_state(), torch.Generator().manual_seed(key[1] if key else 0).get_state())
        yield
        seen.append(("ends", "", key))

    model = spec.models[0]
    settings = GenerationSettings.of(spec, model)
    generator = DiffusersGenerator.load(
        inspect_weights(tiny_models / "tiny-wan-a"), model, settings, "cpu", watch=watch
    )
    generator.warm_up()
    generator.generate(PROMPT, 5)
    key = (PROMPT, 5)
    assert seen == [
        ("begins", "WanPipeline", None),
        ("ends", "", None),
        ("begins", "WanPipeline", key),
        ("ends", "", key),
    ]
