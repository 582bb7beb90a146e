"""The clips of one model after another, made on all devices and measured meanwhile.

Promises that the sums are the same however many devices there are and whether clips are measured while others are made or
afterwards. Leaves making a clip to `generation/engine.py` and measuring it to whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from vdb_participant.device import exact_kernels, release_memory
from vdb_participant.generation.engine import Engine, Outcome
from vdb_participant.generation.generators import load_generator
from vdb_participant.generation.parallel import ParallelGenerator
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.progress import Consumer, Event
from vdb_participant.generation.settings import GenerationSettings, Generator
from vdb_participant.generation.store import ClipKey
from vdb_participant.generation.watching import Watch
from vdb_participant.generation.workers import Job, Workplace, run_workers
from vdb_participant.measure.following import Follower
from vdb_participant.models import Weights, verify_model
from vdb_shared.registry.classes import EXTERNAL
from vdb_shared.registry.rows import Row, load_registry
from vdb_shared.spec import Model
from vdb_shared.tasks import ClipTask

Progress = Callable[[str, int, int], None]
"""Told of progress: the stage in plain words, steps done, steps in all."""


class Measuring(Protocol):
    """Takes clips in.

    Attributes:
        timed: whether it measures how long clips take.
    """

    timed: bool

    def generated(self, side: str, made: Outcome) -> None:
        """Measure a clip, or note its failure."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """Loads models from verified weights, here and in workers; implements workers.Load.

    Attributes:
        weights, models, settings, rows: by id of the model.
        again: folders of weights and of the site's registry (or None), for a worker on another machine: it verifies what it has
            there before it loads it. None on this machine, where that is done.
        together: GPUs that make each clip together.
        egress: journal of what leaves for endpoints.
        withheld: variables with tokens of endpoints, which a command or a group of processes does not get.
    """

    weights: Mapping[str, Weights]
    models: Mapping[str, Model]
    settings: Mapping[str, GenerationSettings]
    rows: Mapping[str, Row | None]
    again: tuple[Path, Path | None] | None = None
    together: int = 1
    egress: Path | None = None
    withheld: frozenset[str] = frozenset()

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        """Return the generator of a model; see `workers.Load`."""
        weights = self.weights[model]
        if self.again is not None:
            folder, registry = self.again
            weights = verify_model(self.models[model], folder, load_registry(registry))
        chosen, settings, row = self.models[model], self.settings[model], self.rows[model]
        if self.together > 1 and chosen.pipeline != EXTERNAL:
            return ParallelGenerator(
                partial(DiffusersGenerator.load, weights, chosen, settings, row=row),
                self.together,
                withheld=self.withheld,
            )
        return load_generator(weights, chosen, settings, device, row, watch, self.egress, self.withheld)


@dataclass(frozen=True, slots=True)
class Generation:
    """What all models need to be put to work.

    Attributes:
        engine: for one device.
        job: for several; its tasks are replaced.
        devices: of each worker.
        progress: told of stages.
        tell: told of every step and clip.
        workplace: where workers are, if not on this machine.
    """

    engine: Engine
    job: Job
    devices: tuple[str, ...]
    progress: Progress
    tell: Consumer
    workplace: Workplace | None = None

    def and_measure(self, model: str, tasks: Sequence[tuple[str, ClipTask]], measuring: Measuring) -> None:
        """Generate what is missing of a model's clips and measure all in the order of the tasks.

        Both at once, unless time is measured: that is the time of a clip which has the device for itself.

        Args:
            model: its id.
            tasks: with the side of each, "public" or "private".
            measuring: takes the clips in.
        """
        if not tasks:  # stages that the lead is told must not say whether there are any
            for stage in (f"generating with {model}", f"measuring {model}"):
                self.progress(stage, 0, 0)
            return
        keys = [self.engine.key(task) for _, task in tasks]

        def measure(number: int, failure: str | None) -> None:
            side, task = tasks[number]
            measuring.generated(side, Outcome(task, keys[number], failure))

        follower = Follower(keys, measure)
        with exact_kernels():
            if measuring.timed:
                self._generate(model, tasks, follower.settled)
            with follower.following():
                if not measuring.timed:
                    self._generate(model, tasks, follower.settled)
                self.progress(f"measuring {model}", 0, len(tasks))
                follower.finish(lambda done: self.progress(f"measuring {model}", done, len(tasks)))

    def _generate(
        self, model: str, tasks: Sequence[tuple[str, ClipTask]], settled: Callable[[ClipKey, str | None], None]
    ) -> None:
        mine = tuple(dict.fromkeys(task for _, task in tasks))
        private = frozenset(mine) - {task for side, task in tasks if side == "public"}
        stage = f"generating with {model}"
        if self.workplace is not None or len(self.devices) > 1:

            def tell(event: Event) -> None:
                self.progress(stage, event.done, event.total)
                self.tell(event)

            run_workers(replace(self.job, tasks=mine, private=private), self.devices, settled, tell, self.workplace)
            return
        (device,) = self.devices
        load = partial(self.job.load, model, device, self.engine.watch)
        self.engine.run(mine, load, lambda done, total: self.progress(stage, done, total), settled, private)
        release_memory(device)
