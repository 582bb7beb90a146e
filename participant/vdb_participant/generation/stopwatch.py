"""How long a clip takes, in all and by stage.

Promises that a stage inside another is counted once, that GPU work is timed on the GPU without waiting for it, and that a
clip which is resumed counts what it took before and not the replay. Leaves what the stages are to `stages.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from vdb_participant.device import synchronize
from vdb_participant.generation.instruments import Method


@dataclass(slots=True)
class Stopwatch:
    """Runs from its making.

    Attributes:
        device: whose work is timed.
    """

    device: str
    _began: float = field(default_factory=time.perf_counter)
    _spent: dict[str, float] = field(default_factory=dict)
    _marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list)
    _inside: bool = False

    def seconds(self) -> float:
        """Return the seconds since the beginning, when all work of the device is done."""
        synchronize(self.device)
        return time.perf_counter() - self._began

    def stages(self) -> dict[str, float]:
        """Return the seconds of each stage, when all work of the device is done."""
        synchronize(self.device)
        for name, first, last in self._marks:
            self._add(name, first.elapsed_time(last) / 1000)
        self._marks.clear()
        return dict(self._spent)

    def counted(self, name: str, method: Method) -> Method:
        """Return a method whose calls count under a stage, unless they are part of another stage's."""
        on_gpu = self.device.startswith("cuda")

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return method(*args, **kwargs)
            self._inside = True
            began = self._mark() if on_gpu else time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self._inside = False
                if isinstance(began, float):
                    self._add(name, time.perf_counter() - began)
                else:
                    self._marks.append((name, began, self._mark()))

        return call

    def set_back(self, seconds: float, stages: Mapping[str, float]) -> None:
        """Show what was shown before, as if nothing had been done since the beginning."""
        synchronize(self.device)
        self._began = time.perf_counter() - seconds
        self._spent = dict(stages)
        self._marks.clear()

    def _mark(self) -> torch.cuda.Event:
        mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch does not annotate it
        mark.record(torch.cuda.current_stream(self.device))
        return mark

    def _add(self, name: str, seconds: float) -> None:
        self._spent[name] = self._spent.get(name, 0.0) + seconds
