"""`vdb-coordinator serve` as a process of its own, to be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc

from testkit.coordinator import RunningCoordinator

T = TypeVar("T")


class Program:
    """A program that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def memory(self) -> int:
        """Bytes that it holds."""
        resident = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(resident) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """Files and sockets that it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def seconds(self) -> float:
        """Processor time that it has spent."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def runs(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def send(self, what: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(what)

    def kill(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does, and return its exit status."""
        return self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> int:
        self.send(how)
        return self._process.wait(20)


class Process(Program):
    """A coordinator's program on a directory and port.

    Attributes:
        output: what it writes, its log too.
    """

    def __init__(
        self, coordinator: RunningCoordinator, output: Path | None = None, environment: dict[str, str] | None = None
    ) -> None:
        program = "from vdb_coordinator.cli import main; main()"
        arguments = ["--dir", str(coordinator.home.path), "serve", "--listen", coordinator.address]
        self.address = coordinator.address
        self._bound = coordinator.home.bound
        self.output = output or Path(os.devnull)
        with self.output.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | (environment or {}),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        super().__init__(process)

    def wait_until_it_listens(self) -> None:
        """Return once somebody listens on the port, and has written down that it does."""
        host, port = self.address.rsplit(":", 1)
        persistently(lambda: socket.create_connection((host, int(port)), timeout=1).close())
        persistently(self._bound.read_bytes)


def persistently(call: Callable[[], T]) -> T:
    """Return what a call returns once it works."""
    for _ in range(300):
        try:
            return call()
        except (OSError, grpc.RpcError):
            time.sleep(0.1)
    raise AssertionError("never worked")
