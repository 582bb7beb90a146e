"""One clip on several GPUs: the tokens of every denoising step are split over processes (context parallelism of diffusers).

A group of processes, started by torchrun, loads the same model; the first of them takes requests and gives clips, and all
compute each of them together. Promises that what is made so is never of class "exact", since sums run in another order; that
whatever goes wrong in one process ends the group and fails the clip, and that the next clip has a new group. Such a clip has no
checkpoints: a resumed process would leave the others waiting. Weights are whole on every GPU: what is split are activations.
Leaves everything else about a clip to `pipelines.py`.

Source: diffusers 0.42, `ModelMixin.enable_parallelism` with `ContextParallelConfig` (Ulysses).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from diffusers import ContextParallelConfig
from torch import distributed

from vdb_participant.data.video import Frames
from vdb_participant.device import ELSEWHERE, device_name
from vdb_participant.environment import for_child
from vdb_participant.generation.instruments import denoisers_of
from vdb_participant.generation.loading import first_line
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.settings import Clip, GenerationError
from vdb_shared.errors import ModelError, UsageError, VdbError
from vdb_shared.spec import Spec

PROFILE: Final = "fast"
"""The one profile that demands no switch, so that it can do without those that cannot be split."""

_ASK_SECONDS: Final = 1.0
_END_SECONDS: Final = 60.0
_HANGING: Final = timedelta(minutes=30)
"""A process that waits so long for the others ends the group."""

_AWAKE_SECONDS: Final = 60.0
"""While there is nothing to do, the group meets so often."""

_CACHE: Final = "first-block-cache"
"""Each process would decide by its own tokens whether to compute, and some would wait for others forever."""


class Loads(Protocol):
    """Loads a model in a process of the group; sent there, so it is a module's function or a partial of one."""

    def __call__(self, *, device: str) -> DiffusersGenerator:
        """Return the generator of a model on a device."""
        ...


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Group:
    """Processes that compute together."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    switches: tuple[str, ...]


def parallel_profiles(spec: Spec, size: int, devices: Sequence[str]) -> Mapping[str, str]:
    """Return the profile of each model by its id, when every clip is computed by so many GPUs.

    Args:
        spec: the spec.
        size: GPUs for each clip.
        devices: of this machine.

    Raises:
        UsageError: fewer GPUs, or clips of another class or profile.
    """
    there = sum(device.startswith("cuda") for device in devices)
    if there < size:
        raise UsageError(
            f"--context-parallel {size}: needs so many GPUs, and --device gives {there}; take cuda, and see doctor"
        )
    if spec.generation.clip_class == "exact":
        raise UsageError(
            f"--context-parallel {size}: changes the last bits of clips, and this spec's are exact; leave it out"
        )
    if spec.generation.profile not in ("auto", PROFILE):
        raise UsageError(
            f"--context-parallel {size}: goes with the profiles {PROFILE} and auto, and this spec's is "
            f"{spec.generation.profile}; leave it out"
        )
    return {model.id: PROFILE for model in spec.models}


class ParallelGenerator:
    """A model on several GPUs; a `settings.Generator`.

    Attributes:
        device: the words for what makes the clips; nothing in this process can be measured on it.
        switches: names of those that are on.
    """

    def __init__(
        self,
        load: Loads,
        size: int,
        kind: str = "cuda",
        program: tuple[str, ...] = ("-m", __name__),
        withheld: Collection[str] = (),
    ) -> None:
        """Start the group and load the model in it.

        Args:
            load: loads it, in each process.
            size: number of processes.
            kind: of device: "cuda"; "cpu" in tests.
            program: of each process, as arguments of torchrun.
            withheld: variables with tokens, which no process of the group has a use for.

        Raises:
            ModelError: it cannot be loaded, or its class cannot be split.
            UsageError: the device or the pipeline lacks what the profile needs.
        """
        self.device = f"{ELSEWHERE}: {size} x {device_name('cuda:0' if kind == 'cuda' else 'cpu')}"
        self._load = load
        self._arguments = (size, kind, program, tuple(withheld))
        self._group: _Group | None = None
        self.switches = self._started().switches

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        """Return a clip; see `settings.Generator`."""
        try:
            group = self._started()
            group.pipe.send((prompt, seed, condition))
            kind, made, _ = group.pipe.recv()
        except (EOFError, OSError, VdbError) as error:
            self._group = None
            raise GenerationError(f"a process of the group died ({first_line(error)})") from error
        if kind != "clip":
            self._group = None  # the others may be in the middle of the clip
            raise GenerationError(str(made))
        clip: Clip = made
        return clip

    def warm_up(self) -> None:
        """Do nothing: each group warms up when it starts."""

    def _started(self) -> _Group:
        if self._group is None:
            self._group = _start(self._load, *self._arguments)
            weakref.finalize(self._group, _end, self._group.process, self._group.pipe)
        return self._group


def _start(load: Loads, size: int, kind: str, program: tuple[str, ...], withheld: tuple[str, ...]) -> _Group:
    """Start a group, and return it when it has loaded the model."""
    folder = Path(tempfile.mkdtemp(prefix="vdb-group-"))  # 0700: nobody else can connect
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        listening.listen(1)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*torchrun, *program, str(folder / "socket"), kind], stdin=subprocess.DEVNULL, env=for_child(withheld)
        )
        try:
            pipe = _accepted(listening, process, size)
        finally:
            shutil.rmtree(folder)
    try:
        pipe.send(load)
        message, value, words = pipe.recv()
    except (EOFError, OSError) as error:
        raise ModelError(f"--context-parallel {size}: a process died while it loaded the model; see above") from error
    if message == "error":
        raise (UsageError if value == "UsageError" else ModelError)(words)
    return _Group(process, pipe, value)


def _accepted(listening: socket.socket, process: subprocess.Popen[bytes], size: int) -> Connection:
    listening.settimeout(_ASK_SECONDS)
    while process.poll() is None:
        try:
            found, _ = listening.accept()
        except TimeoutError:
            continue
        found.setblocking(True)
        return Connection(found.detach())
    raise ModelError(f"--context-parallel {size}: torchrun ended with exit status {process.returncode}; see above")


def _end(process: subprocess.Popen[bytes], pipe: Connection) -> None:
    """End a group and wait until its memory is free."""
    pipe.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends those that it started
        process.wait()


def main() -> None:
    """Be one process of a group: `ADDRESS KIND` on the command line, the rest from torchrun."""
    address, kind = sys.argv[1:]
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = f"cuda:{rank}" if kind == "cuda" else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=_HANGING)
    post = _Post(_connected(address) if rank == 0 else None)
    load: Loads = post.next()
    try:
        generator = load(device=device)
        switches = split(generator, size)
        generator.warm_up()
    except VdbError as error:
        post.tell("error", type(error).__name__, str(error))
        raise SystemExit(1) from error
    post.tell("ready", switches, None)
    while (asked := post.next()) is not None:
        try:
            clip = generator.generate(*asked)
        except GenerationError as error:
            post.tell("failed", str(error), None)
            raise SystemExit(1) from error
        post.tell("clip", clip, None)
    distributed.destroy_process_group()


def split(generator: DiffusersGenerator, size: int) -> tuple[str, ...]:
    """Split the tokens of a loaded model over a group; return the names of all switches that are on.

    Raises:
        ModelError: diffusers has no plan for its class.
    """
    parts: Iterable[Any] = denoisers_of(generator.pipeline).values()
    for module in parts:
        name = type(module).__name__
        if getattr(module, "_cp_plan", None) is None:
            raise ModelError(f"{name}: this diffusers has no plan to split it; leave out --context-parallel")
        if _CACHE in generator.switches:
            module.disable_cache()
        try:
            module.enable_parallelism(config=ContextParallelConfig(ulysses_degree=size))
        except (RuntimeError, ValueError, ArithmeticError) as error:
            raise ModelError(f"{name}: cannot be split over {size} processes: {first_line(error)}") from error
    return tuple(sorted({*generator.switches, f"context-parallel-{size}"} - {_CACHE}))


@dataclass(frozen=True, slots=True)
class _Post:
    """What the first process has from the worker, for all; and what it answers."""

    pipe: Connection | None

    def next(self) -> Any:
        """Return what comes next; None when nothing will."""
        while True:
            waiting = self.pipe is not None and not self.pipe.poll(_AWAKE_SECONDS)
            shared: list[Any] = [("wait", None) if waiting else ("take", self._receive())]
            distributed.broadcast_object_list(shared, src=0, device=torch.device("cpu"))
            kind, value = shared[0]
            if kind == "take":
                return value

    def tell(self, *message: Any) -> None:
        """Send an answer, in the first process."""
        if self.pipe is not None:
            self.pipe.send(message)

    def _receive(self) -> Any:
        try:
            return None if self.pipe is None else self.pipe.recv()
        except EOFError:
            return None


def _connected(address: str) -> Connection:
    found = socket.socket(socket.AF_UNIX)
    found.connect(address)
    return Connection(found.detach())


if __name__ == "__main__":
    main()
