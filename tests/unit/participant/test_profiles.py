"""Profiles: switches that a machine or pipeline lacks are refused, and none that changes pixels is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from testkit.resumable_pipelines import BUILDERS, frames_of
from testkit.specs import small_spec
from vdb_participant.generation.profiles import (
    PROFILES,
    SLOWEST_FIRST,
    SWITCHES,
    apply,
    choose,
    is_out_of_memory,
    next_step_down,
    profile,
    profiles_of,
)
from vdb_shared.errors import UsageError
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Spec

GIB = 2**30


def test_an_exact_profile_has_exact_switches_only() -> None:
    assert set(SLOWEST_FIRST) == set(PROFILES)
    for name, found in PROFILES.items():
        used = {*found.switches, *found.where_possible}
        assert used | set(found.ladder) <= set(SWITCHES)
        if found.grade == "exact":
            assert all(SWITCHES[switch].exact for switch in {*used, *found.ladder}), name


@pytest.mark.parametrize("kind", ["wan-euler", "animatediff"])
def test_the_exact_profile_changes_nothing(kind: str) -> None:
    pipeline = BUILDERS[kind]()
    expected = frames_of(pipeline, kind, "x", 1, 2)
    assert apply("exact", pipeline, "cpu") == ()
    np.testing.assert_array_equal(frames_of(pipeline, kind, "x", 1, 2), expected)


@pytest.mark.parametrize("kind", ["wan-euler", "ltx", "cogvideox", "animatediff", "text-to-video-sd"])
def test_switches_that_are_called_exact_keep_every_byte(kind: str) -> None:
    pipeline = BUILDERS[kind]()
    expected = frames_of(pipeline, kind, "x", 1, 2)
    on: list[str] = []
    while (found := next_step_down("exact", on, pipeline, "cpu")) is not None:
        SWITCHES[found].turn_on(pipeline, "cpu")
        on.append(found)
        np.testing.assert_array_equal(frames_of(pipeline, kind, "x", 1, 2), expected)
    assert on == ["vae-slicing"]


def test_fast_is_really_another_class() -> None:
    pipeline = BUILDERS["wan-euler"]()
    expected = frames_of(pipeline, "wan-euler", "x", 1, 6)
    on = apply("fast", pipeline, "cpu")
    assert on == ("first-block-cache", "float8-storage")
    assert profile("fast").grade == "accelerated"
    made = frames_of(pipeline, "wan-euler", "x", 1, 6)
    assert not np.array_equal(made, expected)
    assert pipeline.transformer.is_cache_enabled


def test_what_a_pipeline_lacks_is_left_out_of_what_is_on() -> None:
    pipeline = BUILDERS["text-to-video-sd"]()
    assert "first-block-cache" not in apply("fast", pipeline, "cpu")


def test_what_a_machine_lacks_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"profile low-memory: group-offload needs a CUDA device, and this is cpu"):
        apply("low-memory", BUILDERS["wan-euler"](), "cpu")
    with pytest.raises(UsageError, match="expected a profile among exact, balanced, fast, low-memory, or auto"):
        profile("quick")


def test_the_ladder_ends_within_its_class() -> None:
    pipeline = BUILDERS["wan-euler"]()
    assert next_step_down("exact", ["vae-slicing"], pipeline, "cpu") is None
    assert next_step_down("exact", ["vae-slicing"], pipeline, "cuda:0") == "model-offload"
    assert next_step_down("exact", ["vae-slicing", "model-offload"], pipeline, "cuda:0") == "group-offload"
    assert next_step_down("fast", ["vae-slicing"], pipeline, "cpu") == "vae-tiling"


def test_auto_is_the_fastest_that_fits() -> None:
    peaks = {"fast": 30 * GIB, "balanced": 40 * GIB, "exact": 60 * GIB, "low-memory": 10 * GIB}
    assert choose("exact", "cuda:0", 80 * GIB, peaks) == "exact"
    assert choose("accelerated", "cuda:0", 80 * GIB, peaks) == "fast"
    assert choose("accelerated", "cuda:0", 24 * GIB, peaks) == "low-memory"
    assert choose("accelerated", "cpu", None, {}) == "fast"
    with pytest.raises(UsageError, match="no profile of class exact fits"):
        choose("exact", "cuda:0", 24 * GIB, peaks)


def test_what_means_that_memory_ran_out() -> None:
    def chained(cause: Exception) -> Exception:
        error = ValueError("could not be made")
        error.__cause__ = cause
        return error

    assert is_out_of_memory(chained(torch.OutOfMemoryError("CUDA out of memory")))
    assert is_out_of_memory(chained(MemoryError()))
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(2**60)  # more than any machine has
    assert is_out_of_memory(chained(refusal.value))
    assert not is_out_of_memory(chained(RuntimeError("shapes differ")))


def test_what_a_profile_means_is_known_before_any_work() -> None:
    spec = small_spec()
    registry = load_registry()

    def under(**changes: str) -> Spec:
        return spec.model_copy(update={"generation": spec.generation.model_copy(update=changes)})

    ids = [model.id for model in spec.models]
    assert profiles_of(spec, registry, ("cpu",)) == dict.fromkeys(ids, "exact")
    assert profiles_of(under(profile="auto", grade="exact"), registry, ("cpu",)) == dict.fromkeys(ids, "exact")
    assert profiles_of(under(profile="auto", grade="accelerated"), registry, ("cpu",)) == dict.fromkeys(ids, "fast")
    with pytest.raises(UsageError, match="profile low-memory: group-offload needs a CUDA device, and this is cpu"):
        profiles_of(under(profile="low-memory"), registry, ("cpu",))
