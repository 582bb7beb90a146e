"""Workers: two processes on one store make what one makes, and the death of one costs little."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testkit.resumable_pipelines import TinyGenerator, spec_of
from testkit.tiny import PaintingGenerator
from vdb_participant.data.video import Frames
from vdb_participant.generation.checkpoints import Interval
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.instruments import denoisers_of
from vdb_participant.generation.progress import Event
from vdb_participant.generation.settings import Clip, Generator
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.generation.watching import Watch
from vdb_participant.generation.workers import Job, devices_of, run_workers
from vdb_shared.errors import ModelError, SpecError, UsageError
from vdb_shared.tasks import public_tasks

KINDS = ("wan-euler", "ltx")
STEPS = 4
SPEC = spec_of(KINDS, prompts=3, steps=STEPS)
TASKS = public_tasks(SPEC)


@dataclass(frozen=True)
class Loading:
    """Loads tiny pipelines in a worker; writes down who made what in `diary`, and dies where `deadly` says."""

    diary: Path
    deadly: str = ""
    deaths: int = 0
    after: int = 0

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        if model == "none":
            raise ModelError("there is no such model")
        if model == "misfit":
            raise SpecError("9 frames cannot be made", field="video.frames")
        return _Mortal(self, model, watch)


class _Mortal(TinyGenerator):
    """A generator that kills its process in the middle of a clip, a number of times in all."""

    def __init__(self, loading: Loading, kind: str, watch: Watch) -> None:
        super().__init__(kind, STEPS, watch)
        self._loading = loading
        self._clip = ""
        self._computed = 0
        for module in denoisers_of(self.pipeline).values():
            part: Any = module
            inner = part.time_embed if hasattr(part, "time_embed") else part.condition_embedder
            inner.register_forward_pre_hook(self._compute)

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        self._clip, self._computed = prompt, 0
        self._write("begun")
        return super().generate(prompt, seed)

    def _compute(self, *_: object) -> None:
        if not self._clip:
            return
        loading = self._loading
        if loading.deadly == self._clip and self._computed == loading.after:
            dead = loading.diary.read_text().count(f"died {self._clip}")
            if dead < loading.deaths:
                self._write("died")
                os.kill(os.getpid(), signal.SIGKILL)
        self._computed += 1
        self._write("step")

    def _write(self, what: str) -> None:
        with self._loading.diary.open("a") as stream:
            stream.write(f"{what} {self._clip}\n")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of all clips, made in this process."""
    store = ClipStore(tmp_path_factory.mktemp("calm"))
    engine = Engine(SPEC, store)
    for kind in KINDS:
        tasks = [task for task in TASKS if task.model == kind]
        engine.run(tasks, partial(TinyGenerator, kind, STEPS), lambda _done, _total: None)
    return digests(store)


def digests(store: ClipStore) -> dict[str, str]:
    engine = Engine(SPEC, store)
    clips = {engine.key(task).name: store.get(engine.key(task)) for task in TASKS}
    return {name: clip.digest for name, clip in clips.items() if clip is not None}


def test_two_workers_make_what_one_makes_and_each_clip_once(tmp_path: Path, calm: dict[str, str]) -> None:
    settled: list[tuple[ClipKey, str | None]] = []
    events: list[Event] = []
    job = Job(SPEC, tmp_path / "store", TASKS, Loading(tmp_path / "diary"))
    run_workers(job, ("cpu", "cpu"), lambda key, failure: settled.append((key, failure)), events.append)
    assert digests(ClipStore(tmp_path / "store")) == calm
    lines = (tmp_path / "diary").read_text().splitlines()
    assert sum(line.startswith("begun") for line in lines) == len(TASKS)
    assert sorted(key.name for key, _ in settled) == sorted(calm)
    assert all(failure is None for _, failure in settled)
    assert {event.kind for event in events} >= {"begun", "step", "finished"}
    assert max(event.done for event in events) <= 3


def test_the_death_of_a_worker_costs_steps_of_one_clip(tmp_path: Path, calm: dict[str, str]) -> None:
    deadly = TASKS[4].prompt
    loading = Loading(tmp_path / "diary", deadly, deaths=1, after=2)
    (tmp_path / "diary").touch()
    tasks = tuple(task for task in TASKS if task.model == "ltx")
    job = Job(SPEC, tmp_path / "store", tasks, loading, interval=Interval(1, 0))
    run_workers(job, ("cpu", "cpu"), lambda _key, _failure: None)
    found = digests(ClipStore(tmp_path / "store"))
    assert found == {name: digest for name, digest in calm.items() if name in found}
    assert len(found) == len(tasks)
    lines = (tmp_path / "diary").read_text().splitlines()
    assert lines.count(f"died {deadly}") == 1
    assert lines.count(f"step {deadly}") == STEPS
    assert sum(line.startswith("begun") for line in lines) == len(tasks) + 1


def test_a_clip_over_which_workers_die_is_given_up(tmp_path: Path) -> None:
    deadly = TASKS[0].prompt
    (tmp_path / "diary").touch()
    tasks = tuple(task for task in TASKS if task.model == "wan-euler")
    settled: dict[str, str | None] = {}
    job = Job(SPEC, tmp_path / "store", tasks, Loading(tmp_path / "diary", deadly, deaths=9))
    run_workers(job, ("cpu",), lambda key, failure: settled.update({key.prompt: failure}))
    assert settled.pop(deadly) == "2 workers died while they made it (signal 9)"
    assert set(settled.values()) == {None}
    assert len(settled) == 2


def test_a_model_that_cannot_be_loaded_stops_the_work_with_its_reason(tmp_path: Path) -> None:
    spec = spec_of(["none"], prompts=1, steps=1)
    job = Job(spec, tmp_path / "store", public_tasks(spec), Loading(tmp_path / "diary"))
    with pytest.raises(ModelError, match="there is no such model"):
        run_workers(job, ("cpu",), lambda _key, _failure: None)


def test_an_error_arrives_as_what_it_was(tmp_path: Path) -> None:
    spec = spec_of(["misfit"], prompts=1, steps=1)
    job = Job(spec, tmp_path / "store", public_tasks(spec), Loading(tmp_path / "diary"))
    with pytest.raises(SpecError, match=r"video\.frames: 9 frames cannot be made"):
        run_workers(job, ("cpu",), lambda _key, _failure: None)


def _exit(model: str, device: str, watch: Watch) -> Generator:
    os._exit(3)
    return PaintingGenerator((1, 1, 1, 3))


def test_workers_that_die_before_they_work_are_not_hired_for_ever(tmp_path: Path) -> None:
    job = Job(SPEC, tmp_path / "store", TASKS, _exit)
    with pytest.raises(ModelError, match=r"workers die \(exit status 3\) before they make a clip"):
        run_workers(job, ("cpu",), lambda _key, _failure: None)


def test_the_cpu_has_as_many_workers_as_asked() -> None:
    assert devices_of("cpu", 3) == ("cpu", "cpu", "cpu")
    with pytest.raises(UsageError, match="expected a device"):
        devices_of("tpu")
