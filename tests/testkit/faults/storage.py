"""Disks that refuse: full ones and failing ones, of a coordinator or one agent, for a while in the middle of a session.

A real file system that is full: a small tmpfs in a mount namespace of its own. Failing writes and syncs: strace answers the
system calls of a running process with ENOSPC or EIO.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from testkit.faults.agents import Agent
from testkit.faults.outcomes import Outcome
from testkit.faults.random_kills import conclude, set_up
from testkit.faults.supervision import Supervised
from testkit.faults.tracing import tracer

PART: Final = "disks"
AGENTS: Final = 4
SECONDS: Final = 2.0
"""How long a disk refuses, and how long it works before."""

TMPFS_BYTES: Final = 16 * 2**20
_TESTS: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Refusal:
    """System calls that fail.

    Attributes:
        side: of whom.
        calls: which.
        error: how.
    """

    side: Literal["coordinator", "agent"]
    calls: str
    error: Literal["ENOSPC", "EIO"]

    @property
    def name(self) -> str:
        """The fault in words."""
        return f"{self.side}: {self.error} of {self.calls.replace(',', ' and ')}"


FAULTS: Final[tuple[Refusal, ...]] = (
    Refusal("coordinator", "pwrite64", "ENOSPC"),
    Refusal("coordinator", "pwrite64", "EIO"),
    Refusal("coordinator", "fsync,fdatasync", "EIO"),
    Refusal("agent", "pwrite64", "ENOSPC"),
    Refusal("agent", "pwrite64", "EIO"),
    Refusal("agent", "fsync,fdatasync", "EIO"),
)
FULL: Final = "coordinator and agents: a full file system"


def suffer(refusal: Refusal, folder: Path) -> Outcome:
    """Return what becomes of a session in which somebody's disk refuses for a while."""
    outcome, log = Outcome(PART, refusal.name), folder / "injected"
    scene = set_up(folder, agents=AGENTS)
    agents = [Agent(seat) for seat in scene.seats]
    with Supervised(scene.coordinator, output=folder / "output", forked=True) as process:
        for agent in agents:
            agent.start()
        time.sleep(SECONDS / 4)
        with injected(refusal, process.process.pid if refusal.side == "coordinator" else _alive(agents[0]), log):
            time.sleep(SECONDS)
        for agent in agents:
            agent.join()
        process.stop()
    refused = log.read_text().count("(INJECTED)")
    if not refused:
        outcome.broken.append("nothing was refused")
    conclude(scene, agents, process.left, outcome)
    return outcome


def _alive(agent: Agent) -> int:
    """Return the number of an agent's process, once there is one."""
    while not agent.ended:
        if (pid := agent.pid) is not None:
            return pid
        time.sleep(0.01)
    raise AssertionError("the agent had ended before its disk refused")


@contextmanager
def injected(refusal: Refusal, pid: int, log: Path) -> Iterator[None]:
    """Let system calls of a running process, and of its threads, fail for the length of a block.

    Raises:
        AssertionError: strace is not there, or may not.
    """
    strace = tracer()
    if strace is None:
        raise AssertionError("needs strace, and a system on which it may trace")
    words = ["-f", "-o", str(log), "-e", f"inject={refusal.calls}:error={refusal.error}", "-p", str(pid)]
    with subprocess.Popen([strace, *words], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def may_mount() -> bool:
    """Return whether a file system can be mounted in a namespace of one's own."""
    found = shutil.which("unshare")
    command = [found or "", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return found is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


def suffer_full(folder: Path) -> Outcome:
    """Return what becomes of a session whose disk is full for a while; in a process that has a file system of its own."""
    words = [shutil.which("unshare") or "", "-rm", sys.executable, "-m", "testkit.faults.storage", str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return Outcome(PART, FULL, broken=[f"ended with {done.returncode}: {done.stderr[-500:]}"])
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def _full(folder: Path) -> Outcome:
    outcome = Outcome(PART, FULL)
    subprocess.run(
        [shutil.which("mount") or "", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "none", str(folder)], check=True
    )
    scene = set_up(folder, agents=AGENTS)
    agents, ballast = [Agent(seat) for seat in scene.seats], folder / "ballast"
    with Supervised(scene.coordinator, forked=True) as process:
        for agent in agents:
            agent.start()
        time.sleep(SECONDS / 4)
        full = _fill(ballast, lambda: os.statvfs(folder).f_bavail == 0)
        time.sleep(SECONDS)
        ballast.unlink()
        for agent in agents:
            agent.join()
        process.stop()
    if not full:
        outcome.broken.append("the disk was never full")
    conclude(scene, agents, process.left, outcome)
    return outcome


def _fill(ballast: Path, full: Callable[[], bool]) -> bool:
    """Fill a file system, and return whether it is full."""
    with ballast.open("wb", buffering=0) as stream:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return full()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_full(Path(sys.argv[1])))) + "\n")
