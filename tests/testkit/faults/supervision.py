"""Starts a coordinator's program again whenever it has died, as any service manager does, and looks at what a death left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from testkit.coordinator import RunningCoordinator
from testkit.coordinator_process import Process
from testkit.faults.history import Held, held_by
from testkit.faults.servers import Forked


class Supervised:
    """A coordinator's process; `with Supervised(coordinator) as process`.

    Attributes:
        deaths: how often it died.
        recovery: seconds from its death until it listened again, the longest.
        left: what its directory held at each death.
    """

    def __init__(
        self,
        coordinator: RunningCoordinator,
        environment: dict[str, str] | None = None,
        output: Path | None = None,
        *,
        forked: bool = False,
    ) -> None:
        """Start it.

        Args:
            coordinator: whose directory and port.
            environment: of the first process alone: failpoints.
            output: where it writes.
            forked: whether from a server that has loaded the program, for the sake of speed.
        """
        self.deaths, self.recovery = 0, 0.0
        self.left: list[Held] = []
        self._coordinator, self._output = coordinator, output
        self._start: Callable[..., Process | Forked] = Forked if forked else Process
        self._process = self._start(coordinator, output, environment)
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._process.wait_until_it_listens()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._gone.is_set():
            self.stop()

    @property
    def process(self) -> Process | Forked:
        """The present one."""
        return self._process

    def kill(self) -> None:
        """Kill the present one; it is started again."""
        if self._process.runs():
            self._process.kill()

    def stop(self) -> None:
        """End the coordinator in good order."""
        self._gone.set()
        self._thread.join()
        if self._process.runs():
            self._process.stop()

    def _look(self) -> None:
        died: float | None = None
        while not self._gone.wait(0.02):
            if not self._process.runs():
                self.deaths += 1
                self.left.append(held_by(self._coordinator.home))
                self._coordinator.home.bound.unlink(missing_ok=True)
                died = time.monotonic()
                self._process = self._start(self._coordinator, self._output)
            elif died is not None and self._coordinator.home.bound.exists():
                self.recovery = max(self.recovery, time.monotonic() - died)
                died = None
