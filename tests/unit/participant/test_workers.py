"""Workers: two processes on one store make what one makes, and the death of one costs little."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from testkit.mortal import Loading
from testkit.resumable_pipelines import TinyGenerator, spec_of
from testkit.tiny import PaintingGenerator
from vdb_participant.data.video import Frames
from vdb_participant.generation.checkpoints import Interval
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.progress import Event
from vdb_participant.generation.settings import Clip, Generator
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.generation.watching import Watch
from vdb_participant.generation.workers import Gone, Job, Message, devices_of, run_workers
from vdb_shared.errors import ModelError, SpecError, UsageError
from vdb_shared.tasks import public_tasks

KINDS = ("wan-euler", "ltx")
STEPS = 4
SPEC = spec_of(KINDS, prompts=3, steps=STEPS)
TASKS = public_tasks(SPEC)


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
    job = Job(SPEC, tmp_path / "store", TASKS, Loading(STEPS, tmp_path / "diary"))
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
    loading = Loading(STEPS, tmp_path / "diary", deadly, deaths=1, after=2)
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
    job = Job(SPEC, tmp_path / "store", tasks, Loading(STEPS, tmp_path / "diary", deadly, deaths=9))
    run_workers(job, ("cpu",), lambda key, failure: settled.update({key.prompt: failure}))
    assert settled.pop(deadly) == "2 workers died while they made it (signal 9)"
    assert set(settled.values()) == {None}
    assert len(settled) == 2


def test_a_model_that_cannot_be_loaded_stops_the_work_with_its_reason(tmp_path: Path) -> None:
    spec = spec_of(["none"], prompts=1, steps=1)
    job = Job(spec, tmp_path / "store", public_tasks(spec), Loading(STEPS, tmp_path / "diary"))
    with pytest.raises(ModelError, match="there is no such model"):
        run_workers(job, ("cpu",), lambda _key, _failure: None)


def test_an_error_arrives_as_what_it_was(tmp_path: Path) -> None:
    spec = spec_of(["misfit"], prompts=1, steps=1)
    job = Job(spec, tmp_path / "store", public_tasks(spec), Loading(STEPS, tmp_path / "diary"))
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


@dataclass(frozen=True)
class Tiring:
    """Every second worker dies before it works, every other one when it has begun its second clip."""

    diary: Path

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        with self.diary.open("a") as stream:
            stream.write("loaded\n")
        if self.diary.read_text().count("loaded") % 2 == 0:
            os._exit(3)
        return _Tired((5, 16, 16, 3))


class _Tired(PaintingGenerator):
    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        if self.calls:
            os._exit(3)
        return super().generate(prompt, seed, condition)


def test_workers_that_die_idle_are_replaced_while_clips_get_done(tmp_path: Path) -> None:
    tasks = tuple(task for task in TASKS if task.model == "wan-euler")
    settled: list[str | None] = []
    job = Job(SPEC, tmp_path / "store", tasks, Tiring(tmp_path / "diary"))
    run_workers(job, ("cpu",), lambda _key, failure: settled.append(failure))
    assert settled == [None, None, None]
    assert (tmp_path / "diary").read_text().count("loaded") == 5


@dataclass(frozen=True)
class Lent:
    """A worker of a workplace that is not this machine."""

    device: str

    def dismiss(self) -> None:
        """It is gone already."""


@dataclass
class Losing:
    """A workplace that loses so many workers over one clip, and their whole machines if it says so."""

    clip: str
    losses: int
    machine: bool
    hired: int = 0

    def hire(self, job: Job, device: str) -> Lent:
        self.hired += 1
        return Lent(device)

    def listen(self, workers: Sequence[Lent]) -> Iterator[tuple[Lent, Message | Gone]]:
        (worker,) = workers
        if self.hired <= self.losses:
            yield worker, ("begun", self.clip, None)
            yield worker, Gone("the power is gone", machine=self.machine)
        else:
            yield worker, ("settled", self.clip, None)


@pytest.mark.parametrize(
    ("machine", "expected"), [(True, None), (False, "2 workers died while they made it (the power is gone)")]
)
def test_a_machine_that_is_lost_is_no_clips_fault(tmp_path: Path, machine: bool, expected: str | None) -> None:
    job = Job(SPEC, tmp_path / "store", TASKS[:1], Loading(STEPS, tmp_path / "diary"))
    place = Losing(Engine(SPEC, ClipStore(job.store)).key(TASKS[0]).name, 5, machine)
    settled: list[str | None] = []
    run_workers(job, ("cpu",), lambda _key, failure: settled.append(failure), workplace=place)
    assert settled == [expected]
