"""A run of 20 clips over three tiny pipelines, killed again and again: what the store holds then, and what was done twice.

    PYTHONPATH=tests python -m testkit.killing --kills 30 --seed 1 DIR

Each life is a process that SIGKILL ends at a random moment of its work. Prints one line of JSON and returns 1 when the store is
not that of an undisturbed run, a finished clip was begun again, or a death cost more than k denoising steps.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from testkit.resumable_pipelines import TinyGenerator, spec_of
from vdb_participant.data.video import Frames
from vdb_participant.generation.checkpoints import Interval
from vdb_participant.generation.claims import FRESH_SECONDS, remove_leftovers
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.instruments import denoisers_of
from vdb_participant.generation.settings import Clip
from vdb_participant.generation.store import ClipStore
from vdb_shared.tasks import ClipTask, public_tasks

KINDS = ("wan-unipc", "cogvideox", "animatediff")
CLIPS = 20
STEPS = 12
EVERY = 3
SPEC = spec_of(KINDS, prompts=7, steps=STEPS)
TASKS = public_tasks(SPEC)[:CLIPS]
_PARTS = ("time_proj", "time_embed", "condition_embedder")
_SHARE = 1.0
"""Lives last at most this share of the work divided by their number, so that half of the work is left for the last."""


@dataclass(slots=True)
class Diary:
    """What a life did, one line each, written before it is done."""

    path: Path
    first: Callable[[], None]
    clip: str = ""
    steps: int = 0

    def begin(self, name: str) -> None:
        """A clip is begun; of the first, `first` is told."""
        if not self.clip:
            self.first()
        self.clip, self.steps = name, 0
        self._write("begun", 0)

    def compute(self, *_: object) -> None:
        """A denoiser really computes."""
        self._write("step", self.steps)

    def _write(self, what: str, step: int) -> None:
        with self.path.open("a") as stream:
            stream.write(f"{what} {self.clip} {step}\n")


class DiaryGenerator(TinyGenerator):
    """A tiny generator that keeps a diary."""

    def __init__(self, kind: str, engine: Engine, diary: Diary, names: dict[int, str]) -> None:
        super().__init__(kind, STEPS, engine.watch)
        self._diary = diary
        self._names = names

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        self._diary.begin(self._names[seed])
        handles = [_part_of(module).register_forward_pre_hook(self._diary.compute) for module in self._denoisers()]
        try:
            return super().generate(prompt, seed)
        finally:
            for handle in handles:
                handle.remove()

    def _denoisers(self) -> list[Any]:
        return list(denoisers_of(self.pipeline).values())


def _part_of(module: Any) -> Any:
    return next(getattr(module, name) for name in _PARTS if hasattr(module, name))


def live(folder: Path, diary: Diary) -> None:
    """Do what is left of the work."""

    def note(event: Any) -> None:
        diary.steps = event.step

    engine = Engine(SPEC, ClipStore(folder), interval=Interval(EVERY, 0), tell=note)
    names = {engine.key(task).seed: engine.key(task).name for task in TASKS}
    for kind in KINDS:
        tasks: list[ClipTask] = [task for task in TASKS if task.model == kind]
        engine.run(tasks, partial(DiaryGenerator, kind, engine, diary, names), lambda _done, _total: None)


def life(folder: Path, number: int, longest: float | None, dice: random.Random) -> bool:
    """Live once in a process of its own, killed at a moment after its first clip is begun; return whether it was."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _child(folder, number, writing)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    if longest is not None:
        time.sleep(dice.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError("a life failed by itself")
    return False


def _child(folder: Path, number: int, writing: int) -> NoReturn:
    code = 1
    try:
        live(folder, Diary(folder.with_name(f"{folder.name}-diary-{number}"), lambda: os.close(writing)))
        code = 0
    finally:
        os._exit(code)


@dataclass(slots=True)
class Findings:
    """What was found out about all lives."""

    kills: int = 0
    lives: int = 0
    begun_again: list[str] = field(default_factory=list)
    most_steps_again: int = 0
    steps_again: int = 0
    differing: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.begun_again or self.differing or self.left_behind) and self.most_steps_again <= EVERY


def campaign(folder: Path, kills: int, seed: int) -> Findings:
    """Kill a run so many times and compare it with one that nobody disturbed."""
    dice = random.Random(seed)  # noqa: S311 (moments, no secrets)
    calm, killed = folder / "calm", folder / "killed"
    began = time.monotonic()
    life(calm, 0, None, dice)
    work = time.monotonic() - began
    found = Findings()
    reached: dict[str, int] = defaultdict(int)
    while True:
        finished = {path.stem for path in killed.glob("??/*.clip")}
        longest = _SHARE * work / kills if found.kills < kills else None
        was_killed = life(killed, found.lives, longest, dice)
        _read(killed.with_name(f"{killed.name}-diary-{found.lives}"), finished, reached, found)
        found.lives += 1
        found.kills += was_killed
        if not was_killed:
            break
    _compare(ClipStore(calm), ClipStore(killed), found)
    remove_leftovers(killed, time.time() + 2 * FRESH_SECONDS)  # as who opens the store two minutes later
    found.left_behind = sorted(path.name for path in killed.rglob("*") if path.is_file() and path.suffix != ".clip")
    return found


def _read(diary: Path, finished: set[str], reached: dict[str, int], found: Findings) -> None:
    """Check a life's diary: no clip that was finished before it, at most k steps that others had made."""
    if not diary.exists():
        return
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for line in diary.read_text().splitlines():
        what, clip, step = line.split()
        if what == "begun" and clip in finished:
            found.begun_again.append(clip)
        if what == "step":
            first.setdefault(clip, int(step))
            last[clip] = int(step)
    for clip, begun in first.items():
        again = max(0, reached[clip] - begun)
        found.most_steps_again = max(found.most_steps_again, again)
        found.steps_again += again
    for clip, ended in last.items():
        reached[clip] = max(reached[clip], ended + 1)  # the step under way counts as made


def _compare(calm: ClipStore, killed: ClipStore, found: Findings) -> None:
    engine = Engine(SPEC, calm)
    for task in TASKS:
        one, other = calm.get(engine.key(task)), killed.get(engine.key(task))
        if one is None or other is None or one.digest != other.digest:
            found.differing.append(f"{task.model}: {task.prompt}")


def main() -> int:
    """Run the campaign; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description="Kill a run of 20 clips again and again.")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    found = campaign(chosen.folder, chosen.kills, chosen.seed)
    sys.stdout.write(json.dumps({name: getattr(found, name) for name in Findings.__slots__}) + "\n")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
