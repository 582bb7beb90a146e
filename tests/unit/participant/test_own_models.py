"""A model of one's own needs a file and weights, no code: it is added, verified and run by the commands alone."""

from __future__ import annotations

import importlib.util
import json
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from testkit.agent_cli import run
from testkit.tiny import tiny_spec
from testkit.tiny_pipelines import build
from vdb_participant.commands.models import add
from vdb_participant.data.dataset import Dataset
from vdb_participant.embedded import WEIGHTS
from vdb_participant.generation.breaker import FAILURES_IN_A_ROW, Breaker
from vdb_participant.generation.generators import load_generator
from vdb_participant.generation.settings import GenerationSettings
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.models import verify_model, weights_of
from vdb_participant.site.config import StateFolder
from vdb_shared.errors import ModelError
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Model, Prompt, Spec
from vdb_shared.tasks import public_tasks

FACTS = 'licence = { name = "ours" }\nsteps = 2\nguidance = 2\nframes = 9\nfps = 8\nheight = 32\nwidth = 32\n'


def own(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text('version = "vdb-registry/1"\n' + text)
    return path


def written(spec: Spec, path: Path) -> Path:
    path.write_bytes(spec.canonical())
    return path


def test_a_model_of_another_class_runs_without_code(tmp_path: Path, tiny_models: Path, site_data: Path) -> None:
    state = tmp_path / "state"
    models = tmp_path / "models"
    models.mkdir()
    for name in ("tiny-clip", "tiny-videomae"):
        (models / name).symlink_to(tiny_models / name)
    build("CogVideoXPipeline", models / "my-cog")
    file = own(tmp_path, '[[models]]\nid = "my-cog"\nclass = "CogVideoXPipeline"\n' + FACTS)
    assert run("--dir", state, "models", "add", file).stdout == "added my-cog\n"
    digests = json.loads(run("--dir", state, "models", "verify", models, "--json").stdout)
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=("temporal-flickering@1",), inputs=("public",))
    model = Model(id="my-cog", pipeline="CogVideoXPipeline", manifest=digests["my-cog"]["manifest"], steps=2)
    spec = spec.model_copy(update={"models": (model,), "extractors": ()})
    arguments = ("run", written(spec, tmp_path / "spec.json"), "--data", site_data, "--models", models, "--json")
    refused = run("--dir", state, *arguments)
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "my-cog: licence: ours (not verified: read it at the repository)",
        "error: my-cog: licence: ours (not verified: read it at the repository); read it and say --accept-licence",
    ]
    done = run("--dir", state, *arguments, "--accept-licence")
    assert done.returncode == 0, done.stderr
    assert "generating with my-cog 2/2" in done.stderr
    (again,) = json.loads(run("--dir", state, *arguments).stdout)["results"]  # accepted once is enough
    (result,) = json.loads(done.stdout)["results"]
    assert result["model"] == "my-cog"
    assert result["value"] is not None
    assert again == result


def test_a_command_runs_as_a_model(tmp_path: Path, site_data: Path, tiny_models: Path) -> None:
    program = tmp_path / "paint.py"
    program.write_text(
        "import sys, numpy\nfrom pathlib import Path\nfrom vdb_participant.data.video import encode_mp4\n"
        "frames = numpy.full((9, 32, 32, 3), int(sys.argv[1]) % 256, dtype=numpy.uint8)\n"
        "encode_mp4(Path(sys.argv[2]), frames, fps=8)\n"
    )
    words = json.dumps([sys.executable, str(program), "{seed32}", "{output}"])
    text = (
        f'[[models]]\nid = "painter"\nclass = "external"\n{FACTS}[models.external]\nkind = "command"\nargv = {words}\n'
    )
    state = StateFolder(tmp_path / "state")
    assert add(state, own(tmp_path, text)) == ["painter"]
    row = load_registry(state.registry).rows["painter"]
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=("temporal-flickering@1",), inputs=("public",))
    model = Model(id="painter", pipeline="external", manifest=row.external_digest())
    spec = spec.model_copy(update={"models": (model,), "extractors": ()})
    arguments = ("run", written(spec, tmp_path / "spec.json"), "--data", site_data, "--models", tmp_path, "--json")
    done = run("--dir", state.path, *arguments, "--accept-licence")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert (result["model"], result["count"]) == ("painter", "2")


@pytest.mark.parametrize("workers", [1, 2])
def test_private_prompts_that_a_model_cannot_take_stop_it_for_nobody(
    tmp_path: Path, site_data: Path, tiny_models: Path, workers: int
) -> None:
    program = tmp_path / "paint.py"
    program.write_text(
        "import sys, numpy\nfrom pathlib import Path\nfrom vdb_participant.data.video import encode_mp4\n"
        "if not sys.argv[1].startswith('public'): sys.exit(3)\n"
        "encode_mp4(Path(sys.argv[2]), numpy.zeros((9, 32, 32, 3), dtype=numpy.uint8), fps=8)\n"
    )
    words = json.dumps([sys.executable, str(program), "{prompt}", "{output}"])
    how = (
        f'[[models]]\nid = "painter"\nclass = "external"\n{FACTS}[models.external]\nkind = "command"\nargv = {words}\n'
    )
    (tmp_path / "registry").mkdir()
    own(tmp_path / "registry", how)
    row = load_registry(tmp_path / "registry").rows["painter"]
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=("temporal-flickering@1",))
    spec = spec.model_copy(
        update={
            "models": (Model(id="painter", pipeline="external", manifest=row.external_digest()),),
            "extractors": (),
            "prompts": tuple(Prompt(id=f"p{number}", text=f"public {number}") for number in range(2)),
            "generation": spec.generation.model_copy(update={"private_share": Decimal("0.5"), "samples": 1}),
        }
    )
    store = ClipStore(tmp_path / "store")
    equipment = Equipment(tmp_path, tmp_path, "cpu", tmp_path / "registry", workers=workers)
    found = measure_site(spec, public_tasks(spec), Dataset.open(site_data, frames=9), equipment, store)
    made, failed = found.statistics["private/painter/count"].tolist()
    assert made == 0
    assert failed > FAILURES_IN_A_ROW
    assert found.statistics["public/painter/count"].tolist() == [2.0, 0.0]
    assert Breaker(store, row.external_digest()).stopped() is None


@pytest.fixture
def lora(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of models with a base and a LoRA over it, and a registry directory that names both."""
    models, registry = tmp_path / "models", tmp_path / "registry"
    build("WanPipeline", models / "base")
    (models / "style").mkdir()
    torch.manual_seed(1)
    weights = {}
    for layer in ("to_q", "to_k", "to_v"):
        name = f"transformer.blocks.0.attn1.{layer}"
        weights[f"{name}.lora_A.weight"] = torch.randn(4, 24)
        weights[f"{name}.lora_B.weight"] = torch.randn(24, 4)
    save_file(weights, models / "style" / "style.safetensors")
    registry.mkdir()
    text = f'[[models]]\nid = "base"\nclass = "WanPipeline"\n{FACTS}'
    for name, scale in (("style", 1.0), ("faint", 0.25)):
        text += f'[[models]]\nid = "{name}"\nbase = "base"\nlora = "style.safetensors"\nscale = {scale}\n'
    own(registry, text)
    (models / "faint").symlink_to(models / "style")
    return models, registry


def test_a_lora_is_its_base_its_file_and_its_scale(lora: tuple[Path, Path]) -> None:
    models, directory = lora
    registry = load_registry(directory)
    found = {name: weights_of(name, models, registry) for name in ("base", "style", "faint")}
    assert len({item.manifest for item in found.values()}) == 3
    assert found["style"].directory == models / "base"
    assert found["style"].lora == models / "style" / "style.safetensors"
    model = Model(id="style", pipeline="WanPipeline", manifest=found["style"].manifest)
    assert verify_model(model, models, registry) == found["style"]
    config = models / "base" / "vae" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(ModelError, match="with its registry row"):
        verify_model(model, models, registry)
    (models / "style" / "style.safetensors").rename(models / "style" / "other.safetensors")
    with pytest.raises(ModelError, match="expected the LoRA that the registry names"):
        verify_model(model, models, registry)


def test_a_lora_over_a_packaged_model_needs_no_copy_of_it(tmp_path: Path) -> None:
    models, registry = tmp_path / "models", tmp_path / "registry"
    (models / "mine").mkdir(parents=True)
    registry.mkdir()
    save_file({"x": torch.zeros(1)}, models / "mine" / "x.safetensors")
    lines = 'id = "mine"\nbase = "vdb-tiny-1"\nlora = "x.safetensors"\nlicence = { name = "ours" }\n'
    own(registry, f"[[models]]\n{lines}")
    assert weights_of("mine", models, load_registry(registry)).directory == WEIGHTS / "vdb-tiny-1"


@pytest.mark.skipif(importlib.util.find_spec("peft") is not None, reason="peft is installed")
def test_a_lora_without_peft_is_refused(lora: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match="WanPipeline: needs peft; install it"):
        _clip("style", lora)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_a_lora_changes_the_clip_by_its_scale(lora: tuple[Path, Path]) -> None:
    clips = {name: _clip(name, lora) for name in ("base", "style", "faint")}
    np.testing.assert_array_equal(_clip("style", lora), clips["style"])
    assert not np.array_equal(clips["style"], clips["base"])
    assert not np.array_equal(clips["style"], clips["faint"])


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_a_lora_of_another_model_is_refused(lora: tuple[Path, Path]) -> None:
    save_file({"unet.down.0.lora_A.weight": torch.zeros(4, 4)}, lora[0] / "style" / "style.safetensors")
    with pytest.raises(ModelError, match="WanPipeline cannot be loaded: "):
        _clip("style", lora)


def _clip(name: str, lora: tuple[Path, Path]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    registry = load_registry(lora[1])
    weights = weights_of(name, lora[0], registry)
    model = Model(id=name, pipeline="WanPipeline", manifest=weights.manifest)
    settings = GenerationSettings(5, 32, 32, 2, 2.0, "", "exact")
    return load_generator(weights, model, settings, "cpu", registry.get(name)).generate("a red circle", 5).frames
