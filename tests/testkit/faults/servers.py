"""`vdb-coordinator serve`, forked from a server that has loaded it, for campaigns in which it dies hundreds of times.

The program is the same as in `testkit.coordinator_process`, less the second that loading it takes: that one is for measuring
how long a coordinator takes to serve again.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from testkit.coordinator import RunningCoordinator
from testkit.coordinator_process import persistently
from testkit.faults.forks import FORKS, begin, exit_status
from vdb_coordinator.cli import main


class Forked:
    """A coordinator's program on a directory and port; as `coordinator_process.Process`."""

    def __init__(
        self, coordinator: RunningCoordinator, output: Path | None = None, environment: dict[str, str] | None = None
    ) -> None:
        self.address = coordinator.address
        self._bound = coordinator.home.bound
        arguments = ["--dir", str(coordinator.home.path), "serve", "--listen", coordinator.address]
        self._process = FORKS.Process(target=_serve, args=[arguments, output or Path(os.devnull), environment or {}])
        begin(self._process)

    def wait_until_it_listens(self) -> None:
        """Return once somebody listens on the port, and has written down that it does."""
        host, port = self.address.rsplit(":", 1)
        persistently(lambda: socket.create_connection((host, int(port)), timeout=1).close())
        persistently(self._bound.read_bytes)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid or 0

    def runs(self) -> bool:
        """Return whether it has not ended."""
        return exit_status(self._process) is None

    def kill(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does, and return its exit status."""
        return self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> int:
        os.kill(self.pid, how)
        return exit_status(self._process, 20) or 0


def _serve(arguments: list[str], output: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["vdb-coordinator", *arguments]
    main()
