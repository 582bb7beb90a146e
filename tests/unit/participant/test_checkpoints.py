"""Checkpoints inside a clip: whenever a clip is interrupted, its frames are those of an undisturbed run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import torch
from diffusers import FirstBlockCacheConfig

from testkit.crashes import Crash
from testkit.resumable_pipelines import BUILDERS, frames_of
from vdb_participant.data.video import Frames
from vdb_participant.generation.checkpoints import Checkpoints, Interval
from vdb_participant.generation.instruments import denoisers_of
from vdb_participant.generation.stopwatch import Stopwatch
from vdb_participant.generation.store import ClipKey, ClipStore

KEY = ClipKey("sha256:" + "0" * 64, "a red circle", 7, (("steps", 5),))
STEPS = 5
EVERY_STEP = Interval(steps=1, seconds=0)
PROMPT = "a red circle moving left"

Watch = Callable[[Any, Any], AbstractContextManager[Any]]


@contextmanager
def dying(pipeline: Any, calls: int) -> Iterator[list[int]]:
    """Let a pipeline's denoisers compute so many times and then crash; yields a count of what was computed."""
    computed: list[int] = []

    def count(_module: Any, _arguments: Any) -> None:
        if len(computed) == calls:
            raise Crash
        computed.append(1)

    # a hook of the innermost part: the denoiser's own hooks run in a replay too, its parts do not
    handles = [_part_of(module).register_forward_pre_hook(count) for module in denoisers_of(pipeline).values()]
    try:
        yield computed
    finally:
        for handle in handles:
            handle.remove()


def _part_of(module: Any) -> Any:
    names = ("time_proj", "time_embed", "condition_embedder")
    return next(getattr(module, name) for name in names if hasattr(module, name))


def watching(folder: Path, interval: Interval = EVERY_STEP, key: ClipKey = KEY) -> Watch:
    """Return the watch of a new process on a store."""
    checkpoints = Checkpoints(ClipStore(folder), interval)
    return lambda pipeline, generator: checkpoints.watch(pipeline, generator, key, Stopwatch("cpu"))


def undisturbed(kind: str) -> tuple[Frames, int]:
    """Return the frames and how often denoisers compute for them."""
    pipeline = BUILDERS[kind]()
    with dying(pipeline, 10**6) as computed:
        frames = frames_of(pipeline, kind, PROMPT, 3, STEPS)
    return frames, len(computed)


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_a_clip_interrupted_at_any_step_is_the_same_clip(tmp_path: Path, kind: str) -> None:
    expected, calls = undisturbed(kind)
    for interrupted in range(1, calls):
        folder = tmp_path / str(interrupted)
        pipeline = BUILDERS[kind]()
        with pytest.raises(Crash), dying(pipeline, interrupted) as before:
            frames_of(pipeline, kind, PROMPT, 3, STEPS, watching(folder))
        pipeline = BUILDERS[kind]()
        torch.manual_seed(99)
        with dying(pipeline, 10**6) as after:
            made = frames_of(pipeline, kind, PROMPT, 3, STEPS, watching(folder))
        np.testing.assert_array_equal(made, expected)
        per_step = calls // STEPS
        assert len(before) + len(after) <= calls + per_step - 1, "more than the step under way was computed again"


@pytest.mark.parametrize("every", [2, 3])
def test_at_most_k_steps_are_computed_again(tmp_path: Path, every: int) -> None:
    expected, calls = undisturbed("wan-unipc")
    for interrupted in range(1, calls):
        folder = tmp_path / str(interrupted)
        pipeline = BUILDERS["wan-unipc"]()
        with pytest.raises(Crash), dying(pipeline, interrupted) as before:
            frames_of(pipeline, "wan-unipc", PROMPT, 3, STEPS, watching(folder, Interval(every, 0)))
        with dying(pipeline, 10**6) as after:
            made = frames_of(pipeline, "wan-unipc", PROMPT, 3, STEPS, watching(folder, Interval(every, 0)))
        np.testing.assert_array_equal(made, expected)
        assert len(before) + len(after) <= calls + every * calls // STEPS - 1


@pytest.mark.parametrize("left_out", ["generators", "random", "states", "returns"])
def test_everything_that_is_kept_is_needed(tmp_path: Path, left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resuming with part of the state of another moment gives another clip: nothing of it may be left out."""
    kind = {"generators": "animatediff", "random": "wan-sde", "states": "wan-unipc", "returns": "ltx"}[left_out]
    expected, calls = undisturbed(kind)
    per_step = calls // STEPS
    heads = {}
    for finished in (1, 3):
        pipeline = BUILDERS[kind]()
        with pytest.raises(Crash), dying(pipeline, finished * per_step):
            frames_of(pipeline, kind, PROMPT, 3, STEPS, watching(tmp_path / str(finished)))
        heads[finished] = _read(tmp_path / str(finished))
    np.testing.assert_array_equal(_resumed(kind, tmp_path / "whole", *heads[3]), expected)
    mixed, tensors = dict(heads[3][0]), list(heads[3][1])
    shift = len(tensors)
    mixed[left_out] = _moved(heads[1][0][left_out], shift)
    made = _resumed(kind, tmp_path / "mixed", mixed, tensors + heads[1][1])
    assert not np.array_equal(made, expected)


def _read(folder: Path) -> tuple[dict[str, Any], list[torch.Tensor]]:
    checkpoints = Checkpoints(ClipStore(folder))
    fields = ClipStore(folder).steps(KEY)
    assert fields is not None
    identity = json.loads(fields[0])["identity"]
    kept = checkpoints.read(KEY, identity)
    assert kept is not None
    return kept.head, kept.tensors


def _moved(value: Any, shift: int) -> Any:
    if isinstance(value, dict):
        return {
            name: item + shift if name in ("tensor", "array") else _moved(item, shift) for name, item in value.items()
        }
    return [_moved(item, shift) for item in value] if isinstance(value, list) else value


def _resumed(kind: str, folder: Path, head: dict[str, Any], tensors: list[torch.Tensor]) -> Frames:
    Checkpoints(ClipStore(folder)).write(KEY, head, tensors)
    pipeline = BUILDERS[kind]()
    with dying(pipeline, 10**6) as computed:
        made: Frames = frames_of(pipeline, kind, PROMPT, 3, STEPS, watching(folder, Interval(100)))
    assert computed, "nothing was left to compute"
    return made


def test_reentering_with_latents_is_not_enough() -> None:
    """The naive way: a multistep solver started again from the latents of step 3 has lost its history."""
    kind = "wan-unipc"
    expected, _ = undisturbed(kind)
    pipeline = BUILDERS[kind]()
    seen: list[torch.Tensor] = []

    def remember(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen.append(values["latents"])
        return values

    call = {
        "prompt": PROMPT,
        "negative_prompt": "dull",
        "num_frames": 5,
        "height": 16,
        "width": 16,
        "max_sequence_length": 32,
    }
    with torch.inference_mode():
        pipeline(
            num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(3),
            guidance_scale=2.0,
            callback_on_step_end=remember,
            **call,
        )
        left = STEPS - 3
        original = type(pipeline.scheduler).set_timesteps

        def later(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            original(scheduler, *args, **kwargs)
            scheduler.timesteps = scheduler.timesteps[-left:]
            scheduler.set_begin_index(STEPS - left)

        pipeline.scheduler.set_timesteps = later.__get__(pipeline.scheduler)
        video = pipeline(
            num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(3),
            guidance_scale=2.0,
            latents=seen[2],
            output_type="np",
            **call,
        ).frames[0]
    made = np.rint(np.clip(video, 0, 1) * 255).astype(np.uint8)
    assert not np.array_equal(made, expected)


def test_checkpoints_of_anything_else_are_ignored(tmp_path: Path) -> None:
    expected, calls = undisturbed("ltx")
    pipeline = BUILDERS["ltx"]()
    with pytest.raises(Crash), dying(pipeline, calls - 1):
        frames_of(pipeline, "ltx", PROMPT, 3, STEPS, watching(tmp_path))
    head, tensors = _read(tmp_path)
    strangers: list[dict[str, Any]] = [
        head["identity"] | {"libraries": head["identity"]["libraries"] | {"diffusers": "0.1"}},
        head["identity"] | {"switches": ["vae-tiling"]},
        head["identity"] | {"device": ["cuda", "another", "1"]},
    ]
    for number, identity in enumerate(strangers):
        folder = tmp_path / str(number)
        Checkpoints(ClipStore(folder)).write(KEY, head | {"identity": identity}, tensors)
        with dying(pipeline, 10**6) as computed:
            made = frames_of(pipeline, "ltx", PROMPT, 3, STEPS, watching(folder, Interval(100)))
        np.testing.assert_array_equal(made, expected)
        assert len(computed) == calls
    other = ClipKey(KEY.model, KEY.prompt, KEY.seed, (("steps", 4),))
    with dying(pipeline, 10**6) as computed:
        frames_of(pipeline, "ltx", PROMPT, 3, STEPS, watching(tmp_path, key=other))
    assert len(computed) == calls


def test_a_damaged_checkpoint_is_as_none(tmp_path: Path) -> None:
    expected, calls = undisturbed("ltx")
    pipeline = BUILDERS["ltx"]()
    with pytest.raises(Crash), dying(pipeline, calls - 1):
        frames_of(pipeline, "ltx", PROMPT, 3, STEPS, watching(tmp_path))
    (path,) = tmp_path.glob("??/*.steps")
    whole = path.read_bytes()
    for position in (0, 40, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert ClipStore(tmp_path).steps(KEY) is None
    with dying(pipeline, 10**6) as computed:
        np.testing.assert_array_equal(frames_of(pipeline, "ltx", PROMPT, 3, STEPS, watching(tmp_path)), expected)
    assert len(computed) == calls


def test_a_pipeline_that_does_something_else_in_a_replay_starts_anew_next_time(tmp_path: Path) -> None:
    pipeline = BUILDERS["wan-euler"]()
    expected, calls = undisturbed("wan-euler")
    with pytest.raises(Crash), dying(pipeline, calls - 1):
        frames_of(pipeline, "wan-euler", PROMPT, 3, STEPS, watching(tmp_path))
    head, tensors = _read(tmp_path)
    head["loop"]["calls"][1].append([0, 0])
    Checkpoints(ClipStore(tmp_path)).write(KEY, head, tensors)
    with pytest.raises(RuntimeError, match="step 1 is not the one that the checkpoint has"):
        frames_of(pipeline, "wan-euler", PROMPT, 3, STEPS, watching(tmp_path))
    np.testing.assert_array_equal(frames_of(pipeline, "wan-euler", PROMPT, 3, STEPS, watching(tmp_path)), expected)


def test_a_pipeline_is_as_before_when_it_was_watched(tmp_path: Path) -> None:
    pipeline = BUILDERS["animatediff"]()
    before = [(type(part), set(vars(part))) for part in pipeline.components.values() if hasattr(part, "__dict__")]
    timesteps = type(pipeline.scheduler)
    frames_of(pipeline, "animatediff", PROMPT, 3, STEPS, watching(tmp_path))
    after = [(type(part), set(vars(part))) for part in pipeline.components.values() if hasattr(part, "__dict__")]
    assert type(pipeline.scheduler) is timesteps
    assert [kind for kind, _ in after] == [kind for kind, _ in before]
    assert all("forward" not in names and "step" not in names for _, names in after)


def test_no_checkpoints_with_a_lossy_cache_and_it_is_said_once(tmp_path: Path) -> None:
    pipeline = BUILDERS["wan-euler"]()
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.2))
    checkpoints = Checkpoints(ClipStore(tmp_path), EVERY_STEP)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            frames_of(
                pipeline,
                "wan-euler",
                PROMPT,
                3,
                STEPS,
                lambda one, generator: checkpoints.watch(one, generator, KEY, Stopwatch("cpu")),
            )
    assert not list(tmp_path.glob("??/*.steps"))
    assert [entry["reason"] for entry in logs] == ["a cache carries values of transformer from step to step"]


def test_no_checkpoints_of_a_scheduler_that_remembers_something_unknown(tmp_path: Path) -> None:
    pipeline = BUILDERS["ltx"]()
    pipeline.scheduler.noise = open  # any object
    expected, _ = undisturbed("ltx")
    with structlog.testing.capture_logs() as logs:
        np.testing.assert_array_equal(frames_of(pipeline, "ltx", PROMPT, 3, STEPS, watching(tmp_path)), expected)
    assert not list(tmp_path.glob("??/*.steps"))
    assert [entry["reason"] for entry in logs] == ["a value of type builtins.builtin_function_or_method cannot be kept"]


def test_several_loops_in_a_clip_keep_no_checkpoint_of_a_later_loop(tmp_path: Path) -> None:
    pipeline = BUILDERS["animatediff"]()
    pipeline.enable_free_init(num_iters=2, use_fast_sampling=False)
    with structlog.testing.capture_logs() as logs:
        frames_of(pipeline, "animatediff", PROMPT, 3, STEPS, watching(tmp_path))
    assert [entry["reason"] for entry in logs] == ["it makes a clip in several denoising loops"]
    assert _read(tmp_path)[0]["loop"]["finished"] == STEPS - 1


def test_seconds_of_a_resumed_clip_are_those_of_its_own_steps(tmp_path: Path) -> None:
    pipeline = BUILDERS["ltx"]()
    with pytest.raises(Crash), dying(pipeline, 3):
        frames_of(pipeline, "ltx", PROMPT, 3, STEPS, watching(tmp_path))
    head, tensors = _read(tmp_path)
    head["seconds"], head["stages"] = {"float": (1000.0).hex()}, {"dict": [["denoising", {"float": (7.0).hex()}]]}
    checkpoints = Checkpoints(ClipStore(tmp_path))
    checkpoints.write(KEY, head, tensors)
    clock = Stopwatch("cpu")
    frames_of(pipeline, "ltx", PROMPT, 3, STEPS, lambda one, item: checkpoints.watch(one, item, KEY, clock))
    assert clock.seconds() > 1000
    assert clock.stages() == {"denoising": 7.0}
