"""One worker for each GPU, all on one store: processes of this machine, or whatever else a `Workplace` hires.

Promises that the death of a worker costs the unfinished steps of one clip and nothing else: another takes the clip up where
its checkpoint is. A clip over which workers die twice is given up. Workers share no queue whose lock a dead one could keep:
each tells for itself, and who makes which clip is decided by claims in the store. Leaves the number of threads to the
caller, and workers on other machines to `cluster.py`. Processes are spawned: CUDA does not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
import torch

from vdb_participant.device import resolve_device
from vdb_participant.environment import forget_others
from vdb_participant.generation.breaker import Breaker
from vdb_participant.generation.checkpoints import Interval
from vdb_participant.generation.engine import ATTEMPTS, Engine
from vdb_participant.generation.progress import Consumer, Event, nobody
from vdb_participant.generation.settings import GenerationSettings, Generator
from vdb_participant.generation.starts import Starts
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.generation.watching import Watch
from vdb_participant.logs import log_to_stderr
from vdb_shared.errors import DatasetError, ModelError, SpecError, StoreError, UsageError, VdbError
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask

_STEP_SECONDS: Final = 0.1
"""Steps that follow each other faster are not all told: with two workers that would cost a core some percent."""

_LOG = structlog.get_logger("vdb_participant")

_ERRORS: Final[Mapping[str, type[VdbError]]] = {
    kind.__name__: kind for kind in (DatasetError, ModelError, SpecError, StoreError, UsageError)
}
"""What a worker may raise; it arrives as the same."""


class Load(Protocol):
    """Loads models in a worker; sent there, so it is a module's function or a value of plain data."""

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        """Return the generator of a model.

        Args:
            model: its id.
            device: where it computes.
            watch: to be opened around the call of its pipeline.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What workers do.

    Attributes:
        spec: the spec.
        store: folder of the clip store.
        tasks: of one model or several.
        load: loads a model.
        settings: of each model's clips, the same in all workers; see `Engine`.
        interval: of checkpoints.
        starts: files that clips start from.
        private: tasks of private prompts alone; see `Engine.run`.
        tokens: variables with tokens of endpoints by the id of the model; a process keeps those of its models alone.
    """

    spec: Spec
    store: Path
    tasks: tuple[ClipTask, ...]
    load: Load
    settings: Mapping[str, GenerationSettings] | None = None
    interval: Interval = field(default_factory=Interval)
    starts: Starts = field(default_factory=Starts)
    private: frozenset[ClipTask] = frozenset()
    tokens: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of the models of the tasks, in their order."""
        return tuple(dict.fromkeys(task.model for task in self.tasks))


def devices_of(wanted: str, workers: int = 1) -> tuple[str, ...]:
    """Return the device of each worker: every GPU for "auto" and "cuda", the CPU as often as asked.

    Raises:
        UsageError: no such device, or several workers on one GPU, whose memory is for one.
    """
    device = resolve_device(wanted)
    if device == "cpu":
        return ("cpu",) * workers
    if workers > 1:
        raise UsageError(f"{workers} workers on {device}: a GPU has one worker; take --device cuda for all GPUs")
    if device == "cuda":
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return (device,)


Message = tuple[str, Any, Any]
"""What a worker tells: its kind, and two things that belong to it; see `work_through`."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker tells nothing any more.

    Attributes:
        cause: of its death in words; "" when it found nothing left to do.
        machine: whether its whole machine is gone, which is no clip's fault.
    """

    cause: str = ""
    machine: bool = False


class Worker(Protocol):
    """Somebody at work."""

    @property
    def device(self) -> str:
        """Its own device."""
        ...

    def dismiss(self) -> None:
        """End it, whatever it does, and wait until it is gone."""
        ...


class Workplace(Protocol):
    """Where workers are."""

    def hire(self, job: Job, device: str) -> Worker:
        """Return a worker that works through a job on a device."""
        ...

    def listen(self, workers: Sequence[Any]) -> Iterable[tuple[Any, Message | Gone]]:
        """Return what some of the workers tell next, after waiting until one does; nobody speaks after `Gone`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Process:
    """A worker that is a process of this machine; see `Worker`."""

    device: str
    process: BaseProcess
    pipe: Connection

    def dismiss(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclass(frozen=True, slots=True)
class Processes:
    """Workers that are processes of this machine; see `Workplace`."""

    def hire(self, job: Job, device: str) -> _Process:
        """Start a process."""
        reading, writing = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_work, args=(job, device, writing), name=f"vdb {device}", daemon=True)
        process.start()
        writing.close()
        return _Process(device, process, reading)

    def listen(self, workers: Sequence[_Process]) -> Iterator[tuple[_Process, Message | Gone]]:
        """Yield a message of each process that has one."""
        for pipe in wait([worker.pipe for worker in workers]):
            worker = next(worker for worker in workers if worker.pipe is pipe)
            try:
                message = worker.pipe.recv()
            except EOFError:
                worker.process.join()
                yield worker, Gone(_words(worker.process.exitcode))
            else:
                yield worker, message


def run_workers(
    job: Job,
    devices: Sequence[str],
    settled: Callable[[ClipKey, str | None], None],
    tell: Consumer = nobody,
    workplace: Workplace | None = None,
) -> None:
    """Make what is missing of a job's clips, on all devices at once.

    Args:
        job: what to do.
        devices: of each worker.
        settled: told what became of each different clip: None, or why it was given up.
        tell: told of every step and clip.
        workplace: where workers are; processes of this machine by default.

    Raises:
        ModelError: a model cannot be loaded.
        DatasetError: what a clip starts from is gone or not what it was.
        SpecError, UsageError: a model or this machine cannot do what the spec asks.
        StoreError: a clip cannot be kept.
    """
    crew = _Crew(job, settled, tell, workplace or Processes())
    try:
        for device in devices:
            crew.hire(device)
        crew.work()
    finally:
        crew.dismiss()


class _Crew:
    """All workers of a job."""

    def __init__(
        self, job: Job, settled: Callable[[ClipKey, str | None], None], tell: Consumer, workplace: Workplace
    ) -> None:
        self._job = job
        self._settled = settled
        self._tell = tell
        self._workplace = workplace
        self._store = ClipStore(job.store)
        engine = Engine(job.spec, self._store, job.settings)
        self._keys = {key.name: key for key in map(engine.key, job.tasks)}
        self._models = {engine.key(task).name: task.model for task in job.tasks}
        self._private = {engine.key(task).name for task in job.private}
        self._totals = Counter(self._models.values())
        self._settled_of: Counter[str] = Counter()
        self._began = time.perf_counter()
        self._made = 0
        self._left = set(self._keys)
        self._deaths: Counter[str] = Counter()
        self._idle_deaths = 0
        self._workers: dict[Worker, str | None] = {}
        """With the name of the key of the clip under way, or None."""

    def hire(self, device: str) -> None:
        """Start a worker."""
        self._workers[self._workplace.hire(self._job, device)] = None

    def work(self) -> None:
        """Listen to workers until all is settled."""
        while self._workers and self._left:
            for worker, message in self._workplace.listen(tuple(self._workers)):
                if isinstance(message, Gone):
                    self._over(worker, message)
                else:
                    self._hear(worker, message)

    def dismiss(self) -> None:
        """End workers that are still there; their clips go on from their checkpoints some day."""
        for worker in self._workers:
            worker.dismiss()

    def _hear(self, worker: Worker, message: Message) -> None:
        match message:
            case ("begun", str(name), _):
                self._workers[worker] = name
            case ("settled", str(name), failure):
                self._settle(name, failure, made=self._workers[worker] == name)
                self._workers[worker] = None
            case ("event", Event(kind="begun" | "step") as event, _):
                self._tell(replace(event, **self._counts(event.model)))
            case ("event", Event(), _):
                pass  # clips are counted when they are settled: each worker knows of its own
            case ("log", str(level), words):
                getattr(_LOG, level)(**words)
            case ("error", str(kind), str(text)):
                raise _ERRORS.get(kind, StoreError)(text)
            case _:
                raise RuntimeError(f"a worker sent {message!r}")

    def _counts(self, model: str) -> dict[str, Any]:
        """Return what an event says of all workers together: clips settled, clips in all, seconds left."""
        total, done = self._totals[model], self._settled_of[model]
        left = total - done
        elapsed = time.perf_counter() - self._began
        return {
            "done": done,
            "total": total,
            "seconds_left": elapsed / self._made * left if self._made else None,
        }

    def _settle(self, name: str, failure: str | None, *, made: bool) -> None:
        if name not in self._left:
            return
        self._left.remove(name)
        self._idle_deaths = 0
        self._settled_of[self._models[name]] += 1
        self._made += made
        self._settled(self._keys[name], failure)
        model = self._models[name]
        self._tell(Event("finished" if failure is None else "failed", model, **self._counts(model)))

    def _over(self, worker: Worker, gone: Gone) -> None:
        """A worker is gone: because all is settled, or it died."""
        worker.dismiss()
        clip = self._workers.pop(worker)
        if not gone.cause:
            return
        _LOG.warning("a worker died", device=worker.device, cause=gone.cause, clip=clip)
        if gone.machine:
            pass
        elif clip is None:
            self._idle_deaths += 1
            if self._idle_deaths >= ATTEMPTS:
                raise ModelError(f"workers die ({gone.cause}) before they make a clip; see doctor")
        else:
            self._count(clip, gone.cause)
        if self._left:
            self.hire(worker.device)

    def _count(self, name: str, cause: str) -> None:
        """Give a clip up over which workers die again and again."""
        self._deaths[name] += 1
        if self._deaths[name] < ATTEMPTS:
            return
        key = self._keys[name]
        reason = f"{self._deaths[name]} workers died while they made it ({cause})"
        with self._store.claim(key) as mine:
            if not mine or self._store.has(key):
                return
            self._store.give_up(key, reason)
        if name not in self._private:
            Breaker(self._store, key.model).failed(reason)
        self._settle(name, reason, made=True)


def _words(code: int | None) -> str:
    if not code:
        return ""
    return f"signal {-code}" if code < 0 else f"exit status {code}"


class _Telling:
    """Sends a worker's events, of steps no more than somebody who watches could follow."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        now = time.perf_counter()
        if event.kind == "step" and event.step < event.steps and now - self._last < _STEP_SECONDS:
            return
        self._last = now
        self._send(("event", event, None))


def _work(job: Job, device: str, pipe: Connection) -> None:
    """Work through a job in a process of its own."""
    forget_others(job.tokens, job.models)
    log_to_stderr()
    work_through(job, device, pipe.send)


def work_through(job: Job, device: str, send: Callable[[Message], None]) -> None:
    """Make what others leave of a job's clips; what every worker does, wherever it is.

    Args:
        job: what to do.
        device: where to compute.
        send: takes ("begun", name of a clip's key, None), ("settled", name, why it was given up or None), ("event", event,
            None) and, last, ("error", class of the error, its words).
    """
    engine = Engine(
        job.spec,
        ClipStore(job.store),
        job.settings,
        job.interval,
        tell=_Telling(send),
        begun=lambda key: send(("begun", key.name, None)),
        starts=job.starts,
    )
    try:
        for model in job.models:
            engine.run(
                [task for task in job.tasks if task.model == model],
                partial(job.load, model, device, engine.watch),
                lambda _done, _total: None,
                lambda key, failure: send(("settled", key.name, failure)),
                job.private,
            )
    except VdbError as error:
        send(("error", type(error).__name__, str(error)))
