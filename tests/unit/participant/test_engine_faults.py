"""What goes wrong: memory that runs out, a model that fails again and again, a crash in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from testkit.crashes import Crash
from testkit.resumable_pipelines import TinyGenerator, spec_of
from testkit.specs import small_spec
from testkit.tiny import PaintingGenerator
from vdb_participant.data.video import Frames
from vdb_participant.generation.breaker import FAILURES_IN_A_ROW, Breaker, try_again
from vdb_participant.generation.checkpoints import Interval
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import Clip, GenerationError
from vdb_participant.generation.store import ClipStore
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, public_tasks

SHAPE = (9, 32, 32, 3)


def _tasks(spec: Spec, count: int) -> list[ClipTask]:
    model = spec.models[0].id
    return [ClipTask(model, f"prompt {number}", 0) for number in range(count)]


def _ignore(done: int, total: int) -> None:
    pass


class Hungry(TinyGenerator):
    """A generator that runs out of memory until certain switches are on."""

    def __init__(self, wanted: set[str], steps: int = 2) -> None:
        super().__init__("wan-euler", steps)
        self.wanted = wanted
        self.tries = 0

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        self.tries += 1
        on = {"vae-slicing"} if self.pipeline.vae.use_slicing else set()
        if not self.wanted <= on:
            raise GenerationError("no memory is left") from torch.OutOfMemoryError("no memory is left")
        return super().generate(prompt, seed)


def test_memory_that_runs_out_turns_switches_on_and_is_recorded(tmp_path: Path) -> None:
    spec = spec_of(["wan-euler"], prompts=2, steps=2)
    calm = Engine(spec, ClipStore(tmp_path / "calm"))
    calm.run(public_tasks(spec), lambda: TinyGenerator("wan-euler", 2), _ignore)
    store = ClipStore(tmp_path / "hungry")
    engine = Engine(spec, store)
    generator = Hungry({"vae-slicing"})
    outcomes = engine.run(public_tasks(spec), lambda: generator, _ignore)
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert generator.tries == 3
    for outcome in outcomes:
        made, expected = store.get(outcome.key), ClipStore(tmp_path / "calm").get(outcome.key)
        assert made is not None
        assert expected is not None
        assert made.record["stepped_down"] == ["vae-slicing"]
        assert made.record["class"] == "exact"
        assert expected.record["stepped_down"] == []
        np.testing.assert_array_equal(made.frames, expected.frames)


def test_no_step_down_leaves_the_class(tmp_path: Path) -> None:
    """Tiling would save the memory, but it changes pixels: the clip fails instead."""
    spec = spec_of(["wan-euler"], prompts=1, steps=2)
    generator = Hungry({"vae-tiling"})
    outcomes = Engine(spec, ClipStore(tmp_path)).run(public_tasks(spec), lambda: generator, _ignore)
    assert [outcome.failure for outcome in outcomes] == ["no memory is left"]
    assert not generator.pipeline.vae.use_tiling
    assert generator.tries == 3  # the first, and twice with slicing


def test_other_failures_turn_nothing_on(tmp_path: Path) -> None:
    class Failing(Hungry):
        def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
            self.tries += 1
            raise GenerationError("no memory of this prompt")

    spec = spec_of(["wan-euler"], prompts=1, steps=2)
    generator = Failing(set())
    Engine(spec, ClipStore(tmp_path)).run(public_tasks(spec), lambda: generator, _ignore)
    assert generator.tries == 2
    assert not generator.pipeline.vae.use_slicing


def test_a_model_that_fails_again_and_again_is_stopped(tmp_path: Path) -> None:
    spec = small_spec()
    tasks = _tasks(spec, 6)
    generator = PaintingGenerator(SHAPE, failing={task.prompt: 99 for task in tasks})
    outcomes = Engine(spec, ClipStore(tmp_path)).run(tasks, lambda: generator, _ignore)
    stopped = "the model was stopped after 3 clips in a row failed; the last: out of paint"
    assert [outcome.failure for outcome in outcomes] == ["out of paint"] * 3 + [stopped] * 3
    assert len(generator.calls) == 2 * FAILURES_IN_A_ROW
    other = [ClipTask(spec.models[1].id, "prompt", 0)]
    assert Engine(spec, ClipStore(tmp_path)).run(other, lambda: PaintingGenerator(SHAPE), _ignore)[0].failure is None


def test_failures_in_a_row_are_counted_over_restarts_and_a_success_ends_the_row(tmp_path: Path) -> None:
    spec = small_spec()
    tasks = _tasks(spec, 8)
    failing = {tasks[number].prompt: 99 for number in (0, 1, 3, 4, 5)}
    for task in tasks[:5]:
        Engine(spec, ClipStore(tmp_path)).run([task], lambda: PaintingGenerator(SHAPE, dict(failing)), _ignore)
    breaker = Breaker(ClipStore(tmp_path), spec.models[0].manifest)
    assert breaker.stopped() is None
    Engine(spec, ClipStore(tmp_path)).run([tasks[5]], lambda: PaintingGenerator(SHAPE, dict(failing)), _ignore)
    assert breaker.stopped() is not None
    (last,) = Engine(spec, ClipStore(tmp_path)).run([tasks[6]], lambda: PaintingGenerator(SHAPE), _ignore)
    assert last.failure is not None
    assert last.failure.startswith("the model was stopped after 3 clips in a row")


def test_a_stopped_model_is_tried_again_when_somebody_says_so(tmp_path: Path) -> None:
    spec = small_spec()
    tasks = _tasks(spec, 5)
    store = ClipStore(tmp_path)
    other = ClipTask(spec.models[1].id, "prompt", 0)
    Engine(spec, store).run([other], lambda: PaintingGenerator(SHAPE, {"prompt": 99}), _ignore)
    failing = {task.prompt: 99 for task in tasks}
    Engine(spec, store).run(tasks, lambda: PaintingGenerator(SHAPE, failing), _ignore)
    assert try_again(store, spec.models[0].manifest) == 5
    outcomes = Engine(spec, store).run(tasks, lambda: PaintingGenerator(SHAPE), _ignore)
    assert [outcome.failure for outcome in outcomes] == [None] * 5
    assert Engine(spec, store).run([other], lambda: PaintingGenerator(SHAPE), _ignore)[0].failure == "out of paint"


def test_a_damaged_breaker_counts_from_the_beginning(tmp_path: Path) -> None:
    breaker = Breaker(ClipStore(tmp_path), "sha256:" + "a" * 64, limit=1)
    breaker.failed("x")
    assert breaker.stopped() is not None
    (path,) = tmp_path.glob("*.breaker")
    path.write_bytes(b"[")
    assert breaker.stopped() is None


def test_a_crash_costs_the_steps_since_the_checkpoint_and_leaves_the_same_clip(tmp_path: Path) -> None:
    spec = spec_of(["ltx"], prompts=1, steps=6)
    calm = Engine(spec, ClipStore(tmp_path / "calm")).run(public_tasks(spec), lambda: TinyGenerator("ltx", 6), _ignore)
    store = ClipStore(tmp_path / "store")
    first = Engine(spec, store, interval=Interval(2, 0))
    with pytest.raises(Crash):
        first.run(public_tasks(spec), lambda: _dying(first, 5)[0], _ignore)
    second = Engine(spec, store, interval=Interval(2, 0))
    generator, calls = _dying(second, 10**6)
    (outcome,) = second.run(public_tasks(spec), lambda: generator, _ignore)
    assert len(calls) == 1 + 2  # the warm-up, and the last two of six steps
    made, expected = store.get(outcome.key), ClipStore(tmp_path / "calm").get(calm[0].key)
    assert made is not None
    assert expected is not None
    assert made.digest == expected.digest
    assert made.record["resumed_steps"] == "4"
    assert store.steps(outcome.key) is None


def _dying(engine: Engine, steps: int) -> tuple[TinyGenerator, list[int]]:
    """Return a generator that crashes after so many denoising steps of its clips, and what it counts."""
    generator = TinyGenerator("ltx", 6, engine.watch)
    calls: list[int] = []

    def count(*_: Any) -> None:
        if len(calls) == steps + 1:
            raise Crash
        calls.append(1)

    generator.pipeline.transformer.time_embed.register_forward_pre_hook(count)
    return generator, calls


def test_a_clip_that_failed_begins_at_its_beginning(tmp_path: Path) -> None:
    """What made it fail may stand in its checkpoint."""
    spec = spec_of(["ltx"], prompts=1, steps=6)
    store = ClipStore(tmp_path)
    engine = Engine(spec, store, interval=Interval(1, 0))

    class Poisoned(TinyGenerator):
        resumed: list[bool]

        def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
            self.resumed.append(bool(list(tmp_path.glob("??/*.steps"))))
            clip = super().generate(prompt, seed)
            if len(self.resumed) == 1:
                raise GenerationError("values that are not finite")
            return clip

    generator = Poisoned("ltx", 6, engine.watch)
    generator.resumed = []
    (outcome,) = engine.run(public_tasks(spec), lambda: generator, _ignore)
    assert outcome.failure is None
    assert generator.resumed == [False, False]
    clip = store.get(outcome.key)
    assert clip is not None
    assert clip.record["attempts"] == "2"


def test_stages_add_up_to_less_than_the_whole(tmp_path: Path) -> None:
    spec = spec_of(["wan-two-experts"], prompts=1, steps=3)
    store = ClipStore(tmp_path)
    engine = Engine(spec, store)
    (outcome,) = engine.run(public_tasks(spec), lambda: TinyGenerator("wan-two-experts", 3, engine.watch), _ignore)
    clip = store.get(outcome.key)
    assert clip is not None
    stages = {name: float(seconds) for name, seconds in clip.record["stages"].items()}
    assert set(stages) == {"text encoding", "denoising", "decoding"}
    assert 0 < sum(stages.values()) < clip.seconds
    assert clip.record["energy"] == {"joules": None, "source": "not measured"}
    assert int(clip.record["peak_memory"]["bytes"]) > 10**6
    assert clip.record["peak_memory"]["kind"].startswith("resident in the process")
