"""What the engine costs: its overhead over a bare diffusers loop, profiles side by side, two workers against one.

    python benchmarks/generation.py [--json FILE] [--clips N]

Bare loop and engine take turns, clip by clip, and change who begins, so that what else the machine does meets both; figures
are medians. The engine does all it always does: claims, steps told, stages timed, checkpoints where five steps and twenty
seconds have passed, the clip compressed, digested and on the disk. Full-size models (full_size.py) need a CUDA device.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import WanPipeline
from full_size import full_size_rows
from rows import Row, report

from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.profiles import PROFILES, apply
from vdb_participant.generation.settings import Clip, Generator
from vdb_participant.generation.store import ClipStore
from vdb_participant.generation.watching import Watch
from vdb_participant.generation.workers import Job, run_workers
from vdb_participant.synthetic.models import PIPELINES, build_wan
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import UsageError
from vdb_shared.spec import Prompt, Spec, parse_spec_toml
from vdb_shared.tasks import ClipTask, public_tasks

CLIPS: Final = 50
STEPS: Final = 50
"""The default of Wan and of most models; with fewer, what is done once for each clip would weigh more than it does."""

OVERHEAD: Final = 2.0
WORKERS_GAIN: Final = 1.8
WORKER_CLIPS: Final = 24
UNSETTLED: Final = 6
"""Clips left out at the beginning, while workers start one after the other."""

_SPEC: Final = """\
version = "vdb-spec/1"
title = "Benchmark"
purpose = "Measures generation."
[cohort]
minimum = 4
collusion = 1
dropout = 0.2
[privacy]
epsilon = 8
delta = 1e-6
maximum_records = 64
[deadlines]
joining = 60
computing = 600
round = 10
countersigning = 30
[video]
frames = 17
height = 48
width = 48
fps = 8
[generation]
steps = {steps}
guidance = 2.0
[[prompts]]
id = "p"
text = "p"
[[models]]
id = "{model}"
pipeline = "WanPipeline"
manifest = "{manifest}"
[[metrics]]
id = "temporal-flickering@1"
inputs = "public"
"""


class BareGenerator:
    """A pipeline, called as anybody would.

    Attributes:
        pipeline: a WanPipeline.
        switches: that are on.
    """

    device = "cpu"

    def __init__(self, folder: Path, watch: Watch | None = None, profile: str = "exact") -> None:
        self.pipeline: Any = WanPipeline.from_pretrained(folder, local_files_only=True, dtype=PROFILES[profile].dtype)
        self.pipeline.vae.to(torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)
        self.switches = apply(profile, self.pipeline, self.device)
        self._watch: Callable[[Any, Any], AbstractContextManager[None]] = watch or _unwatched

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:  # noqa: ARG002 (words only)
        """Return a clip."""
        return self._run(prompt, seed, STEPS)

    def warm_up(self) -> None:
        """Make a clip that is thrown away."""
        self._run("warm-up", 0, 1)

    def _run(self, prompt: str, seed: int, steps: int) -> Clip:
        generator = torch.Generator("cpu").manual_seed(seed)
        with exact_arithmetic(), self._watch(self.pipeline, generator):
            video = self.pipeline(
                prompt=prompt,
                height=48,
                width=48,
                num_frames=17,
                num_inference_steps=steps,
                guidance_scale=2.0,
                generator=generator,
                max_sequence_length=64,
                output_type="np",
            ).frames[0]
        frames: Frames = np.rint(np.clip(video, 0.0, 1.0) * np.float32(255)).astype(np.uint8)
        return Clip(frames)


@contextmanager
def _unwatched(_pipeline: Any, _generator: Any) -> Iterator[None]:
    yield


class Warm(BareGenerator):
    """A generator that is warm already: the engine is asked for one clip at a time here."""

    def warm_up(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Loading:
    """Loads the tiny pipeline in a worker."""

    folder: Path

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:  # noqa: ARG002 (one model, on the CPU)
        """Return the generator."""
        return BareGenerator(self.folder, watch)


def spec_of(clips: int) -> Spec:
    """Return a spec with so many prompts."""
    name = PIPELINES[0].name
    spec = parse_spec_toml(_SPEC.format(steps=STEPS, model=name, manifest=sha256_digest(name.encode())))
    prompts = tuple(Prompt(id=f"p{number}", text=f"a red circle, number {number}") for number in range(clips))
    return spec.model_copy(update={"prompts": prompts})


def overhead(folder: Path, clips: int) -> list[Row]:
    """Return how much longer a clip takes with the engine than with a bare loop."""
    spec = spec_of(clips)
    wall: dict[str, list[float]] = {"bare": [], "engine": []}
    cpu: dict[str, list[float]] = {"bare": [], "engine": []}
    with tempfile.TemporaryDirectory() as store:
        engine = Engine(spec, ClipStore(Path(store)))
        bare, watched = BareGenerator(folder), Warm(folder, engine.watch)
        for generator in (bare, watched):
            generator.generate("warm-up", 0)
        for number, task in enumerate(public_tasks(spec)):
            turns = (("bare", _bare(bare, engine, task)), ("engine", _engine(watched, engine, task)))
            for name, make in turns if number % 2 else turns[::-1]:
                began, used = time.perf_counter(), time.process_time()
                make()
                cpu[name].append(time.process_time() - used)
                wall[name].append(time.perf_counter() - began)
    return [
        *_compared("wall", wall, None if _busy() else OVERHEAD),
        *_compared("CPU", cpu, OVERHEAD),
    ]


def _compared(kind: str, seconds: dict[str, list[float]], bound: float | None) -> list[Row]:
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    excess = 100 * (medians["engine"] / medians["bare"] - 1)
    why = f" (no bound: {_busy()})" if bound is None else ""
    return [
        *(Row(f"one clip, {name}, median {kind}", 1000 * value, "ms") for name, value in medians.items()),
        Row(f"overhead of the engine, {kind}, {len(seconds['bare'])} clips{why}", excess, "%", bound),
    ]


def _bare(generator: BareGenerator, engine: Engine, task: ClipTask) -> Callable[[], object]:
    return lambda: generator.generate(task.prompt, engine.key(task).seed)


def _engine(generator: BareGenerator, engine: Engine, task: ClipTask) -> Callable[[], object]:
    return lambda: engine.run([task], lambda: generator, lambda _done, _total: None)


def profiles(folder: Path) -> list[Row]:
    """Return seconds for a tiny clip under each profile that applies here."""
    rows = []
    for name in PROFILES:
        if name == "balanced":
            rows.append(Row("tiny Wan, balanced: not measured, compiling takes longer than all clips", None, "ms"))
            continue
        try:
            generator = BareGenerator(folder, profile=name)
        except UsageError as error:
            rows.append(Row(f"tiny Wan, {name}: {error}"[:72], None, "ms"))
            continue
        generator.generate("warm-up", 0)
        taken = []
        for seed in range(5):
            began = time.perf_counter()
            generator.generate("a red circle", seed)
            taken.append(time.perf_counter() - began)
        rows.append(Row(f"tiny Wan, {name} ({', '.join(generator.switches) or 'nothing on'})", 1000 * min(taken), "ms"))
    return rows


def workers(folder: Path) -> list[Row]:
    """Return how many times as many clips two workers make as one."""
    if reason := _busy():
        return [Row(f"two local workers against one: not measured, {reason}", None, "times", WORKERS_GAIN, True)]
    rates = {count: _rate(folder, count) for count in (1, 2)}
    return [
        *(Row(f"clips a second, {count} local workers", rate, "1/s") for count, rate in rates.items()),
        Row("two local workers against one", rates[2] / rates[1], "times", WORKERS_GAIN, at_least=True),
    ]


def _rate(folder: Path, count: int) -> float:
    spec = spec_of(WORKER_CLIPS)
    moments: list[float] = []
    with tempfile.TemporaryDirectory() as store:
        job = Job(spec, Path(store), public_tasks(spec), Loading(folder))
        run_workers(job, ("cpu",) * count, lambda _key, _failure: moments.append(time.perf_counter()))
    steady = moments[UNSETTLED:]
    return (len(steady) - 1) / (steady[-1] - steady[0])


def _busy() -> str:
    """Return why this machine has no two free cores, or ""."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    if cores < 2:
        return "one core only"
    # this benchmark itself is a load of one
    return f"load {load:.1f} on {cores} cores" if load > cores - 0.8 else ""


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--clips", type=int, default=CLIPS, help="of bare loop and engine each")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        build_wan(Path(name), PIPELINES[0])
        folder = Path(name) / PIPELINES[0].name
        rows = [*workers(folder), *overhead(folder, chosen.clips), *profiles(folder), *full_size_rows()]
    return report(rows, f"torch {torch.__version__}, tiny Wan 17x48x48, {STEPS} steps", chosen.json)


if __name__ == "__main__":
    sys.exit(main())
