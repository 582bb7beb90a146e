"""Workers that are actors of an existing Ray cluster, one for each GPU of it, or so many on CPUs.

Promises that no cluster is joined but the one whose address was given; that before any clip every machine of it was seen to
share the folder of clips, with its locks, and to run the same versions; that a worker does there what a process does here
(`workers.work_through`: the same claims, retries, checkpoints and breaker); that the death of an actor or of a machine costs
the unfinished steps of its clips; and that Ray's log files hold nothing that a worker or a library prints, which may be the
words of a private prompt. Leaves starting, guarding and encrypting the cluster to the institution.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import platform
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import grpc
import structlog

from vdb_participant.device import resolve_device
from vdb_participant.generation.versions import versions
from vdb_participant.generation.workers import Gone, Job, Message, work_through
from vdb_participant.site.storage import make_folder
from vdb_shared import __version__
from vdb_shared.errors import StoreError, UsageError

CONNECT_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 180.0
"""A machine that is asked for the first time starts a process and loads this program; on a busy one that takes a minute."""

_ADDRESS: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")
_BEGINNING: Final = ".token-"
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")
_PACKAGE: Final = "video-diffusion-bench"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a machine of the cluster sees.

    Attributes:
        token: whether the token that was written here is in the folder of clips there.
        locks: whether a lock that is held here is held there too.
        versions: of this program and of what can change a pixel.
        memory: bytes of each GPU; empty where none tells.
    """

    token: bool
    locks: bool
    versions: Mapping[str, str]
    memory: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Actor:
    """A worker that is an actor; see `workers.Worker`.

    Attributes:
        told: what it tells, as Ray's generator of references.
        place: id of the machine where it is; empty until it runs.
    """

    device: str
    ray: Any = field(repr=False)
    handle: Any = field(repr=False)
    told: Any = field(repr=False)
    place: list[str] = field(default_factory=list)

    def dismiss(self) -> None:
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.handle, no_restart=True)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Workers of a Ray cluster; a `workers.Workplace`.

    Attributes:
        devices: of each worker, as its actor sees it: Ray shows it no other GPU.
        memory: bytes of the GPUs, where known.
        here: device of this machine, for whatever is computed here.
    """

    devices: tuple[str, ...]
    memory: tuple[int, ...]
    here: str
    _ray: Any = field(repr=False)

    def hire(self, job: Job, device: str) -> _Actor:
        """Return an actor, which begins as soon as the cluster has a GPU, or a CPU, for it."""
        needs = {"num_gpus": 1} if device.startswith("cuda") else {"num_cpus": 1}
        handle = self._ray.remote(**needs, max_restarts=0)(_Hand).remote()
        told = handle.work.options(num_returns="streaming").remote(job, device)
        return _Actor(device, self._ray, handle, told)

    def listen(self, workers: Sequence[_Actor]) -> Iterator[tuple[_Actor, Message | Gone]]:
        """Yield what one actor tells next."""
        ready, _ = self._ray.wait([worker.told for worker in workers], num_returns=1)
        for told in ready:
            worker = next(worker for worker in workers if worker.told is told)
            message = self._next(worker)
            if isinstance(message, tuple) and message[0] == "at":
                worker.place.append(message[1])
            else:
                yield worker, message

    def _next(self, worker: _Actor) -> Message | Gone:
        try:
            message: Message = self._ray.get(next(worker.told))
        except StopIteration:
            return Gone()
        except self._ray.exceptions.RayError as error:
            return Gone(_cause(error), machine=bool(worker.place) and not self._is_up(worker.place[0]))
        return message

    def _is_up(self, machine: str) -> bool:
        return any(node["NodeID"] == machine and node["Alive"] for node in self._ray.nodes())


@contextmanager
def connected(address: str, wanted: str, workers: int, clips: Path) -> Iterator[Cluster]:
    """Join a cluster for the length of a block, after a look at each of its machines.

    Args:
        address: HOST:PORT of the cluster's head; this machine is one of the cluster's.
        wanted: "auto" (its GPUs if it has any, else its CPUs), "cpu" or "cuda".
        workers: actors on CPUs; each GPU has one.
        clips: folder of the store; every machine must have it under this path.

    Raises:
        UsageError: no cluster there, too few CPUs or no GPU, or a machine that is not fit for this; says what to do.
        StoreError: the folder of clips cannot be written.
    """
    host, port = _checked(address)
    ray = _ray()
    try:
        _reach(ray, host, port)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (OSError, RuntimeError, ValueError, grpc.FutureTimeoutError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"--address {address}: no Ray cluster can be joined there ({_line(error)}); start one with `ray start --head`, "
            "and `ray start --address` on this machine"
        ) from error
    try:
        with redirect_stdout(sys.stderr):  # Ray tells of dead workers on standard output
            kind, devices = _devices(ray, wanted, workers)
            sights = _look_at_all(ray, kind, clips.absolute())
            memory = tuple(size for sight in sights.values() for size in sight.memory) if kind == "GPU" else ()
            yield Cluster(devices, memory, resolve_device("cpu" if wanted == "cpu" else "auto"), ray)
    finally:
        ray.shutdown()


def _checked(address: str) -> tuple[str, int]:
    """Return host and port; refuse what lets Ray choose a cluster, or start one."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(
            f"expected --address HOST:PORT of your institution's own Ray cluster, found {address!r}; private prompts go to it, "
            "so none is looked for"
        )
    return found["host"].strip("[]"), int(found["port"])


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    return importlib.import_module("ray")


def _reach(ray: Any, host: str, port: int) -> None:
    """Wait until a server answers as Ray's do: Ray itself would wait for minutes.

    Raises:
        grpc.FutureTimeoutError, OSError: none does.
    """
    if host in _THIS_MACHINE:
        host = ray.util.get_node_ip_address()  # which is what Ray makes of it
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):  # then only Ray can speak with it
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
        return
    with grpc.insecure_channel(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)


def _devices(ray: Any, wanted: str, workers: int) -> tuple[str, tuple[str, ...]]:
    """Return the kind of resource that a worker takes, and the device of each."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {wanted}: on a cluster Ray chooses the GPU; expected auto, cpu or cuda")
    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    if wanted == "cuda" and not gpus:
        raise UsageError("--device cuda: this Ray cluster has no GPU; take --device cpu, or add machines that have one")
    if wanted != "cpu" and gpus:
        if workers > 1:
            raise UsageError(f"{workers} workers for {gpus} GPUs: each GPU of a cluster has one; leave --workers out")
        return "GPU", ("cuda:0",) * gpus
    if workers > cpus:
        raise UsageError(f"--workers {workers}: this Ray cluster has {cpus} CPUs; ask for so many, or add machines")
    return "CPU", ("cpu",) * workers


def _look_at_all(ray: Any, kind: str, clips: Path) -> dict[str, Sight]:
    """Return what each machine that may work sees, after checking that it is fit for it."""
    machines = {
        node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get(kind, 0) >= 1
    }
    stay = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    with _token(clips) as name:
        asked = {
            machine: ray.remote(num_cpus=0, max_retries=0)(look)
            .options(scheduling_strategy=stay(machine, soft=False))
            .remote(clips, name)
            for machine in machines
        }
        sights = {machine: _answer(ray, machines[machine], asked[machine]) for machine in machines}
    for machine, sight in sights.items():
        _check(machines[machine], sight, clips)
    return sights


def _answer(ray: Any, machine: str, asked: Any) -> Sight:
    try:
        sight: Sight = ray.get(asked, timeout=LOOK_SECONDS)
    except ray.exceptions.RayError as error:
        raise UsageError(
            f"{machine}: this program cannot be run there ({_cause(error)}); install {_PACKAGE}[participant,cluster] "
            f"{__version__} on it, in the environment that runs Ray"
        ) from error
    return sight


def _check(machine: str, sight: Sight, clips: Path) -> None:
    if not sight.token:
        raise UsageError(
            f"{machine}: does not see the folder of clips {clips}; put the state folder (--dir) on a file system that all "
            "machines of the cluster have under the same path, for the same user"
        )
    if not sight.locks:
        raise UsageError(
            f"{machine}: shares the folder of clips {clips}, but not its locks, so that clips would be made twice; mount it "
            "with locks of the whole cluster (NFS 4, Lustre with -o flock)"
        )
    ours = _versions()
    other = [name for name in ours if sight.versions.get(name) != ours[name]]
    if other:
        name = other[0]
        raise UsageError(
            f"{machine}: has {name} {sight.versions.get(name) or '(none)'}, this machine {ours[name] or '(none)'}; clips and "
            "manifest would not agree, so install the same on both"
        )


@contextmanager
def _token(folder: Path) -> Iterator[str]:
    """Write a token into a folder and hold its lock inside the block; yields its name and content."""
    token = secrets.token_hex(16)
    make_folder(folder)
    path = folder / f"{_BEGINNING}{token}"
    try:
        with path.open("w", encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(token)
            stream.flush()
            os.fsync(stream.fileno())
            yield token
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written and locked: {error.strerror}; choose another state folder"
        ) from error
    finally:
        path.unlink(missing_ok=True)


def look(folder: Path, token: str) -> Sight:
    """Return what this machine sees; Ray runs it on each.

    Args:
        folder: of clips.
        token: that another machine wrote there, and whose file it has locked.
    """
    try:
        with (folder / f"{_BEGINNING}{token}").open("r+", encoding="ascii") as stream:
            seen = stream.read() == token
            locks = False
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                locks = True
    except OSError:
        seen = locks = False
    return Sight(seen, locks, _versions(), _memory())


def _versions() -> dict[str, str]:
    return {"vdb": __version__, "python": platform.python_version(), **versions()}


def _memory() -> tuple[int, ...]:
    """Return the bytes of each GPU of this machine, without a context on any."""
    words = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(int(line) * 2**20 for line in told.stdout.splitlines() if line.strip().isdigit())


class _Hand:
    """A worker in a process of the cluster."""

    def work(self, job: Job, device: str) -> Iterator[Message]:
        """Yield what `work_through` tells, while it works on a thread."""
        ray = importlib.import_module("ray")
        messages: SimpleQueue[Message | BaseException | None] = SimpleQueue()

        def run() -> None:
            try:
                work_through(job, device, messages.put)
            except BaseException as error:
                messages.put(error)
            else:
                messages.put(None)

        _silence()
        _log_to(messages.put)
        yield "at", ray.get_runtime_context().get_node_id(), None
        threading.Thread(target=run, name="work", daemon=True).start()
        while (message := messages.get()) is not None:
            if isinstance(message, BaseException):
                raise RuntimeError(f"{type(message).__name__}: {_line(message)}") from None
            yield message


def _silence() -> None:
    """Drop what this process prints: Ray would keep it in files, and libraries print words of prompts."""
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def _log_to(send: Callable[[Message], None]) -> None:
    """Send the log of this process to whoever hears the worker."""

    def forward(_logger: object, level: str, words: Mapping[str, Any]) -> str:
        send(("log", level, dict(words)))
        raise structlog.DropEvent

    structlog.configure(processors=[forward])


def _cause(error: BaseException) -> str:
    """Return why an actor or a task of Ray is over, in a few words: Ray's own are a page."""
    inner = getattr(error, "cause", None)
    return _line(inner if isinstance(inner, BaseException) else error)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
