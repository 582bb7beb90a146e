"""The real WanPipeline, tiny: a clip follows from weights, prompt, seed and settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from testkit.tiny import tiny_spec
from vdb_participant.generation.pipelines import WanGenerator
from vdb_participant.generation.settings import GenerationError, GenerationSettings
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Spec

PROMPT = "a red circle moving left"


@pytest.fixture(scope="session")
def spec(tiny_models: Path) -> Spec:
    return tiny_spec(tiny_models, pipelines=("tiny-wan-a", "tiny-wan-b", "tiny-wan-c"), steps=4)


def _load(folder: Path, spec: Spec, name: str = "tiny-wan-a") -> WanGenerator:
    (model,) = (model for model in spec.models if model.id == name)
    return WanGenerator.load(inspect_weights(folder / name), model, GenerationSettings.of(spec), "cpu")


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
    made = _load(tiny_models, spec).generate(PROMPT, 5)
    assert made.dtype == np.uint8
    assert made.shape == (9, 32, 32, 3)
    np.testing.assert_array_equal(made, np.stack([np.asarray(picture) for picture in expected]))


def test_the_same_clip_again_whatever_came_before(tiny_models: Path, spec: Spec) -> None:
    generator = _load(tiny_models, spec)
    first = generator.generate(PROMPT, 5)
    generator.warm_up()
    other = generator.generate("a blue square bouncing", 2**63 - 1)
    np.testing.assert_array_equal(generator.generate(PROMPT, 5), first)
    np.testing.assert_array_equal(_load(tiny_models, spec).generate(PROMPT, 5), first)
    assert not np.array_equal(other, first)
    assert not np.array_equal(generator.generate(PROMPT, 6), first)


def test_the_three_models_differ_visibly(tiny_models: Path, spec: Spec) -> None:
    names = [model.id for model in spec.models]
    clips = [_load(tiny_models, spec, name).generate(PROMPT, 5).astype(float) for name in names]
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
    settings = GenerationSettings.of(spec)
    wrong = GenerationSettings(8, 32, 32, settings.steps, settings.guidance, "", "exact")
    generator = WanGenerator.load(inspect_weights(tiny_models / "tiny-wan-a"), spec.models[0], wrong, "cpu")
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
