"""A tiny WanPipeline: a clip follows from weights, prompt, seed and settings. `test_every_class.py` runs the others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from testkit.tiny import tiny_spec
from vdb_participant.generation.checkpoints import Checkpoints
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.profiles import is_out_of_memory, profiles_of
from vdb_participant.generation.settings import GenerationError, GenerationSettings, settings_of
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.generation.watching import Watch
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError, UsageError
from vdb_shared.registry.rows import Scheduler, load_registry
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


def test_clips_are_watched_and_warm_ups_are_not(tiny_models: Path, spec: Spec, tmp_path: Path) -> None:
    model = spec.models[0]
    settings = GenerationSettings.of(spec, model)
    weights = inspect_weights(tiny_models / "tiny-wan-a")
    watch = Watch(Checkpoints(ClipStore(tmp_path)))
    generator = DiffusersGenerator.load(weights, model, settings, "cpu", watch=watch)
    steps: list[tuple[int, int]] = []
    generator.warm_up()
    key = ClipKey(model.manifest, PROMPT, 5, ())
    with watch.clip(key, "cpu", generator.switches, lambda step, total: steps.append((step, total))) as taken:
        made = generator.generate(PROMPT, 5).frames
        stages = taken().stages
    assert steps == [(number, settings.steps) for number in range(1, settings.steps + 1)]
    assert {"text encoding", "denoising", "decoding"} <= set(stages)
    bare = DiffusersGenerator.load(weights, model, settings, "cpu")
    np.testing.assert_array_equal(bare.generate(PROMPT, 5).frames, made)


def test_noise_of_the_global_generator_follows_from_the_seed(tiny_models: Path, spec: Spec, tmp_path: Path) -> None:
    """WanPipeline hands its scheduler no generator, so that a stochastic one draws from torch's own."""
    model = spec.models[0]
    settings = replace(GenerationSettings.of(spec, model), steps=3)
    stochastic = Scheduler(
        name="DPMSolverMultistepScheduler",
        settings={
            "algorithm_type": "sde-dpmsolver++",
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": 3.0,
        },
    )
    row = load_registry().rows["wan2.1-t2v-1.3b"].model_copy(update={"scheduler": stochastic})
    weights = inspect_weights(tiny_models / "tiny-wan-a")
    generator = DiffusersGenerator.load(weights, model, settings, "cpu", row=row)
    torch.manual_seed(1)
    first = generator.generate(PROMPT, 5).frames
    state = torch.get_rng_state()
    torch.manual_seed(2)
    np.testing.assert_array_equal(generator.generate(PROMPT, 5).frames, first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_memory_that_runs_out_can_be_told_from_the_failure(tiny_models: Path, spec: Spec) -> None:
    class Full(torch.nn.Module):
        def forward(self, *_: object, **__: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

    generator = _load(tiny_models, spec)
    generator.pipeline.text_encoder.forward = Full().forward
    with pytest.raises(GenerationError, match="out of memory") as failure:
        generator.generate(PROMPT, 1)
    assert is_out_of_memory(failure.value)


@pytest.mark.parametrize("name", ["fast", "auto"])
def test_profiles_load_in_their_precision_but_for_pinned_parts(tiny_models: Path, spec: Spec, name: str) -> None:
    grade = "accelerated" if name == "auto" else None
    generation = spec.generation.model_copy(update={"profile": name, "grade": grade})
    wanted = spec.model_copy(update={"generation": generation})
    model = wanted.models[0]
    settings = settings_of(wanted, load_registry(), profiles_of(wanted, load_registry(), ("cpu",)))[model.id]
    assert settings.profile == "fast"
    generator = DiffusersGenerator.load(inspect_weights(tiny_models / "tiny-wan-a"), model, settings, "cpu")
    assert generator.pipeline.transformer.dtype in (torch.bfloat16, torch.float8_e4m3fn)
    assert generator.pipeline.text_encoder.dtype == torch.bfloat16
    assert generator.pipeline.vae.dtype == torch.float32
    assert "first-block-cache" in generator.switches
    assert generator.generate(PROMPT, 5).frames.shape == settings.shape


def test_a_profile_that_the_machine_lacks_is_refused(tiny_models: Path, spec: Spec) -> None:
    settings = replace(GenerationSettings.of(spec, spec.models[0]), profile="low-memory")
    with pytest.raises(UsageError, match="needs a CUDA device"):
        DiffusersGenerator.load(inspect_weights(tiny_models / "tiny-wan-a"), spec.models[0], settings, "cpu")
