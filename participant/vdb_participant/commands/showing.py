"""Progress of work: bars on a terminal, lines and the log elsewhere, all on standard error.

Steps and clips with the time that is left come as events, on a thread of their own; they are shown here and go nowhere else.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from vdb_participant.commands.screen import console
from vdb_participant.generation.progress import Consumer, Event, LogLines, Stream
from vdb_participant.logs import log_to_stderr
from vdb_participant.session.progress import Progress

LINE_SECONDS: Final = 5.0
"""Least time between two lines of one stage."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Where work is told.

    Attributes:
        progress: told of stages.
        tell: told of every step and clip; never waits.
    """

    progress: Progress
    tell: Consumer


@contextmanager
def shown_progress() -> Iterator[Shown]:
    """Yield where work is told: bars on a terminal, lines and the log otherwise."""
    log_to_stderr()
    out = console(stderr=True)
    if not out.is_terminal:
        lines = _Lines()
        with Stream([lines.event]).flowing() as stream:
            yield Shown(lines, stream)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=out, transient=False) as drawn:
        bars = _Bars(drawn)
        with Stream([bars.event]).flowing() as stream:
            yield Shown(bars, stream)


@dataclass(slots=True)
class _Bars:
    """Progress as bars, one for each stage."""

    bars: Bars
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.bars.update(self._task(stage, total), completed=done, total=total)

    def event(self, event: Event) -> None:
        """Put step and time left beside a stage's name."""
        words = f"{event.stage}, {event.detail}" if event.detail else event.stage
        self.bars.update(self._task(event.stage, event.total), description=words)

    def _task(self, stage: str, total: int) -> TaskID:
        with self._lock:
            if stage not in self._tasks:
                self._tasks[stage] = self.bars.add_task(stage, total=total)
            return self._tasks[stage]


class _Lines:
    """Progress as lines: the first and last step of a stage, and one every few seconds; events go to the log."""

    def __init__(self) -> None:
        self._stage = ""
        self._last = float("-inf")
        self.event: Consumer = LogLines()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self._stage and done < total and now - self._last < LINE_SECONDS:
            return
        self._stage, self._last = stage, now
        sys.stderr.write(f"{stage} {done}/{total}\n" if total else f"{stage}\n")
        sys.stderr.flush()
