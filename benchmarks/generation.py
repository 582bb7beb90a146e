"""What the engine costs: its overhead over a bare diffusers loop, profiles side by side, two workers against one.

    python benchmarks/generation.py [--json FILE] [--clips N]

Bare loop and engine take turns on one pipeline, clip by clip, and change who begins, so that what else the machine does meets
both; overhead is the median difference of pairs. The engine does all it always does: claims, steps told, stages timed,
checkpoints where five steps and twenty seconds have passed, the clip compressed, digested and on the disk. Full-size models
(full_size.py) need a CUDA device.
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
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.quality import GUIDANCE, STEPS
from vdb_participant.embedded.recipes import GRADES
from vdb_participant.embedded.scenes import FRAMES, SIZE
from vdb_participant.embedded.words import LONGEST
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

CLIPS: Final = 100

OVERHEAD: Final = 2.0
WORKERS_GAIN: Final = 1.8
WORKER_CLIPS: Final = 32
ROUNDS: Final = 3
"""One worker and two take turns so often, since a machine has slow minutes; rates are medians."""
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
frames = {case.frames}
height = {case.size}
width = {case.size}
fps = 8
[generation]
steps = {case.steps}
guidance = {case.guidance}
[[prompts]]
id = "p"
text = "p"
[[models]]
id = "{case.name}"
pipeline = "WanPipeline"
manifest = "{case.manifest}"
[[metrics]]
id = "temporal-flickering@1"
inputs = "public"
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A pipeline, and clips that it makes.

    Attributes:
        folder: of its weights.
        tokens: of a prompt.
    """

    folder: Path
    frames: int
    size: int
    steps: int
    guidance: float
    tokens: int

    @property
    def name(self) -> str:
        """Its id."""
        return self.folder.name

    @property
    def manifest(self) -> str:
        """A digest for the spec; nothing is loaded by it here."""
        return sha256_digest(self.name.encode())

    def __str__(self) -> str:
        return f"{self.name} {self.frames}x{self.size}x{self.size}, {self.steps} steps"


class BareGenerator:
    """A pipeline, called as anybody would.

    Attributes:
        pipeline: a WanPipeline.
        switches: that are on.
    """

    device = "cpu"

    def __init__(self, case: Case, watch: Watch | None = None, profile: str = "exact") -> None:
        self._case = case
        self.pipeline: Any = WanPipeline.from_pretrained(
            case.folder, local_files_only=True, dtype=PROFILES[profile].dtype
        )
        self.pipeline.vae.to(torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)
        self.switches = apply(profile, self.pipeline, self.device)
        self._watch: Callable[[Any, Any], AbstractContextManager[None]] = watch or _unwatched

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:  # noqa: ARG002 (words only)
        """Return a clip."""
        return self._run(prompt, seed, self._case.steps)

    def warm_up(self) -> None:
        """Make a clip that is thrown away."""
        self._run("warm-up", 0, 1)

    def _run(self, prompt: str, seed: int, steps: int) -> Clip:
        case, generator = self._case, torch.Generator("cpu").manual_seed(seed)
        with exact_arithmetic(), self._watch(self.pipeline, generator):
            video = self.pipeline(
                prompt=prompt,
                height=case.size,
                width=case.size,
                num_frames=case.frames,
                num_inference_steps=steps,
                guidance_scale=case.guidance,
                generator=generator,
                max_sequence_length=case.tokens,
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

    case: Case

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:  # noqa: ARG002 (one model, on the CPU)
        """Return the generator."""
        return BareGenerator(self.case, watch)


def spec_of(case: Case, clips: int) -> Spec:
    """Return a spec with so many prompts."""
    spec = parse_spec_toml(_SPEC.format(case=case))
    prompts = tuple(Prompt(id=f"p{number}", text=f"a red circle, number {number}") for number in range(clips))
    return spec.model_copy(update={"prompts": prompts})


def overhead(case: Case, clips: int) -> list[Row]:
    """Return how much longer a clip takes with the engine than with a bare loop."""
    spec = spec_of(case, clips)
    wall: dict[str, list[float]] = {"bare": [], "engine": []}
    cpu: dict[str, list[float]] = {"bare": [], "engine": []}
    with tempfile.TemporaryDirectory() as store:
        engine = Engine(spec, ClipStore(Path(store)))
        bare, watched = BareGenerator(case), Warm(case, engine.watch)
        watched.pipeline = bare.pipeline  # two of the same kind differ by a percent, by where they lie in memory
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
        *_compared(f"{case}, wall", wall, None if _busy() else OVERHEAD),
        *_compared(f"{case}, CPU", cpu, OVERHEAD),
    ]


def _compared(kind: str, seconds: dict[str, list[float]], bound: float | None) -> list[Row]:
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    pairs = zip(seconds["bare"], seconds["engine"], strict=True)
    excess = 100 * statistics.median(engine - bare for bare, engine in pairs) / medians["bare"]
    why = f" (no bound: {_busy()})" if bound is None else ""
    return [
        *(Row(f"{kind}: one clip, {name}", 1000 * value, "ms") for name, value in medians.items()),
        Row(f"{kind}: overhead of the engine, {len(seconds['bare'])} clips{why}", excess, "%", bound),
    ]


def _bare(generator: BareGenerator, engine: Engine, task: ClipTask) -> Callable[[], object]:
    return lambda: generator.generate(task.prompt, engine.key(task).seed)


def _engine(generator: BareGenerator, engine: Engine, task: ClipTask) -> Callable[[], object]:
    return lambda: engine.run([task], lambda: generator, lambda _done, _total: None)


def profiles(case: Case) -> list[Row]:
    """Return seconds for a tiny clip under each profile that applies here."""
    rows = []
    for name in PROFILES:
        if name == "balanced":
            rows.append(Row("tiny Wan, balanced: not measured, compiling takes longer than all clips", None, "ms"))
            continue
        try:
            generator = BareGenerator(case, profile=name)
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


def workers(case: Case) -> list[Row]:
    """Return how many times as many clips two workers make as one."""
    if reason := _busy():
        return [Row(f"two local workers against one: not measured, {reason}", None, "times", WORKERS_GAIN, True)]
    found: dict[int, list[float]] = {1: [], 2: []}
    for count in (1, 2) * ROUNDS:
        found[count].append(_rate(case, count))
    rates = {count: statistics.median(values) for count, values in found.items()}
    return [
        *(Row(f"clips a second, {count} local workers", rate, "1/s") for count, rate in rates.items()),
        Row("two local workers against one", rates[2] / rates[1], "times", WORKERS_GAIN, at_least=True),
    ]


def _rate(case: Case, count: int) -> float:
    spec = spec_of(case, WORKER_CLIPS)
    moments: list[float] = []
    with tempfile.TemporaryDirectory() as store:
        job = Job(spec, Path(store), public_tasks(spec), Loading(case))
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
        random = Case(Path(name) / PIPELINES[0].name, frames=17, size=48, steps=50, guidance=2.0, tokens=64)
        embedded = Case(WEIGHTS / GRADES[-1].name, FRAMES, SIZE, STEPS, GUIDANCE, LONGEST)
        rows = [*workers(random), *overhead(embedded, chosen.clips), *overhead(random, chosen.clips)]
        rows += [*profiles(random), *full_size_rows()]
    return report(rows, f"torch {torch.__version__}", chosen.json)


if __name__ == "__main__":
    sys.exit(main())
