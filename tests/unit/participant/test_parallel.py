"""Context parallelism, with two processes of the CPU in the place of GPUs: real torchrun, real collectives (gloo)."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from testkit.parallel_on_cpu import DEADLY, load_mortal, load_nothing
from testkit.specs import small_spec
from testkit.tiny import tiny_spec
from vdb_participant.device import device_name
from vdb_participant.generation.parallel import ParallelGenerator, parallel_profiles, split
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.record import peak
from vdb_participant.generation.settings import GenerationError, settings_of
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError, UsageError
from vdb_shared.spec import Spec

PROGRAM = ("-m", "testkit.parallel_on_cpu")


@pytest.fixture(autouse=True)
def _found_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def under(**wanted: str) -> Spec:
    spec = small_spec()
    return spec.model_copy(update={"generation": spec.generation.model_copy(update=wanted)})


def test_two_processes_make_the_clip_of_one_and_survive_a_death(tiny_models: Path) -> None:
    spec = tiny_spec(tiny_models, pipelines=["tiny-wan-a"], steps=3)
    (model,) = spec.models
    settings = settings_of(spec, profiles={model.id: "fast"})[model.id]
    weights = inspect_weights(tiny_models / model.id)
    group = ParallelGenerator(partial(load_mortal, weights, model, settings), 2, "cpu", PROGRAM)
    assert "context-parallel-2" in group.switches
    assert "first-block-cache" not in group.switches
    assert device_name(group.device).startswith("2 x CPU")
    assert peak(group.device) is None  # nothing here can be measured there
    clip = group.generate("a red ball", 7)

    alone = DiffusersGenerator.load(weights, model, settings, "cpu")
    alone.pipeline.transformer.disable_cache()
    expected = alone.generate("a red ball", 7).frames
    assert clip.frames.shape == expected.shape
    assert (
        np.abs(clip.frames.astype(int) - expected.astype(int)).mean() < 1
    )  # the last bits may differ, a picture may not

    with pytest.raises(GenerationError):  # in the words of whoever noticed first
        group.generate(DEADLY, 7)
    assert (group.generate("a red ball", 7).frames == clip.frames).all()  # a new group


def test_a_model_that_cannot_be_loaded_says_why_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VDB_PASSPHRASE", "VENDOR_TOKEN", "CUDA_HOME"):
        monkeypatch.setenv(name, "secret")
    with pytest.raises(ModelError, match=r"there is no such model; the environment has \['CUDA_HOME'\]"):
        ParallelGenerator(load_nothing, 2, "cpu", PROGRAM, ("VENDOR_TOKEN",))


def test_a_class_without_a_plan_is_named(tiny_models: Path) -> None:
    spec = tiny_spec(tiny_models, pipelines=["tiny-wan-a"])
    (model,) = spec.models
    loaded = DiffusersGenerator.load(inspect_weights(tiny_models / model.id), model, settings_of(spec)[model.id], "cpu")
    loaded.pipeline.transformer._cp_plan = None
    with pytest.raises(ModelError, match="WanTransformer3DModel: this diffusers has no plan to split it"):
        split(loaded, 2)


def test_only_accelerated_clips_are_made_together() -> None:
    gpus = ("cuda:0", "cuda:1")
    named = under(profile="fast")
    assert set(parallel_profiles(named, 2, gpus).values()) == {"fast"}
    assert set(parallel_profiles(under(profile="auto", grade="accelerated"), 2, gpus).values()) == {"fast"}
    for spec in (under(profile="exact"), under(profile="auto", grade="exact")):
        with pytest.raises(UsageError, match="this spec's are exact"):
            parallel_profiles(spec, 2, gpus)
    with pytest.raises(UsageError, match="this spec's is low-memory"):
        parallel_profiles(under(profile="low-memory"), 2, gpus)
    with pytest.raises(UsageError, match="--context-parallel 4: needs so many GPUs, and --device gives 2"):
        parallel_profiles(named, 4, gpus)
    with pytest.raises(UsageError, match="--context-parallel 2: needs so many GPUs, and --device gives 0"):
        parallel_profiles(named, 2, ("cpu",))
