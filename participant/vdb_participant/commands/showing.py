"""Progress of work: bars on a terminal, lines and the log elsewhere, all on standard error.

Promises that no word of it is cut where a terminal has at least 60 columns, and that work which is done leaves a line that says
how long it took. Steps and clips with the time that is left come as events, on a thread of their own; they are shown here
and go nowhere else.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from vdb_participant.commands.screen import console
from vdb_participant.generation.progress import Consumer, Event, LogLines, Stream, time_left
from vdb_participant.logs import log_to_stderr
from vdb_participant.session.progress import Progress
from vdb_shared.screen import screen

LINE_SECONDS: Final = 5.0
"""Least time between two lines of one stage in its first minute."""

LATER_SECONDS: Final = 60.0
"""Likewise afterwards: a stage may last for weeks."""

_BAR: Final = range(10, 40)
"""How many columns a bar may have; the rest is words."""

_WORDS: Final = 70
"""Columns that stage, counts, step and time left usually take."""

Say = Callable[[str], None]
"""Told one line for people."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Where work is told.

    Attributes:
        progress: told of stages.
        tell: told of every step and clip; never waits.
        say: told lines for people, which are shown above the bars.
    """

    progress: Progress
    tell: Consumer
    say: Say


@contextmanager
def shown_progress() -> Iterator[Shown]:
    """Yield where work is told: bars on a terminal, lines and the log otherwise."""
    log_to_stderr()
    out = screen(stderr=True)
    if not out.is_terminal:
        lines = _Lines()
        with Stream([lines.event]).flowing() as stream:
            yield Shown(lines, stream, console(stderr=True).print)
        return
    bar = BarColumn(bar_width=min(max(out.width - _WORDS, _BAR.start), _BAR.stop))
    drawn = Bars(_words("{task.description}"), bar, _Count(), _State(), console=out, transient=False)
    bars = _Bars(drawn, out.print)
    try:
        with Stream([bars.event]).flowing() as stream:
            yield Shown(bars, stream, out.print)
    finally:
        if drawn.live.is_started:
            drawn.stop()


def _words(text: str) -> TextColumn:
    return TextColumn(text, markup=False, table_column=_folding())


def _folding() -> Column:
    """Return a column whose words go on in the next line where a terminal is too narrow for them."""
    return Column(no_wrap=False, overflow="fold")


class _Count(ProgressColumn):
    """How much of a stage is done."""

    def render(self, task: Task) -> Text:
        """Return "3/8"."""
        return Text(f"{task.completed:.0f}/{task.total or 0:.0f}", no_wrap=True)


class _State(ProgressColumn):
    """The step that a clip is at, and the time that is left."""

    def __init__(self) -> None:
        super().__init__(_folding())

    def render(self, task: Task) -> Text:
        """Return what events tell; else the time left as the counts show it, if they do."""
        left = task.time_remaining
        return Text(task.fields["detail"] or ("" if left is None else f"{time_left(left)} left"))


@dataclass(slots=True)
class _Bars:
    """Progress as bars, one for each stage under way, and a line for each that is done.

    Nothing is drawn before there is work: what is drawn anew ten times a second would wipe out questions and their answers.

    Attributes:
        bars: draws them.
        say: told the lines.
        clock: seconds.
    """

    bars: Bars
    say: Say
    clock: Callable[[], float] = time.monotonic
    _under_way: dict[str, tuple[TaskID, float]] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how much of a stage is done."""
        with self._lock:
            if done < total:
                self._done.discard(stage)
                self.bars.update(self._task(stage, total), completed=done, total=total)
            elif stage not in self._done:
                self._end(stage, total)

    def event(self, event: Event) -> None:
        """Put step and time left beside a stage's bar; news of a stage that is done come too late."""
        with self._lock:
            if event.stage not in self._done and event.done < event.total:
                self.bars.update(self._task(event.stage, event.total), detail=event.detail)

    def _task(self, stage: str, total: int) -> TaskID:
        if stage not in self._under_way:
            self.bars.start()
            self._under_way[stage] = self.bars.add_task(stage, total=total, detail=""), self.clock()
        return self._under_way[stage][0]

    def _end(self, stage: str, total: int) -> None:
        self._done.add(stage)
        if stage not in self._under_way:
            self.say(f"{stage}: {f'all {total} were there already' if total else 'nothing to do here'}")
            return
        task, began = self._under_way.pop(stage)
        self.bars.remove_task(task)
        self.say(f"{stage}: {total} of {total}, took {took(self.clock() - began)}")


def took(seconds: float) -> str:
    """Return how long something took, in words: "12 s", "2 min 5 s", "3.4 h"."""
    whole = round(seconds)
    if whole < 1:
        return "less than 1 s"
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 7200 else f"{seconds / 3600:.1f} h"


class _Lines:
    """Progress as lines: the first and last step of a stage, and some between; what else events tell goes to the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._began = self._last = float("-inf")
        self._log: Consumer = LogLines()

    def event(self, event: Event) -> None:
        """Write to the log what the lines do not say."""
        if event.kind != "begun" and (event.kind != "finished" or event.done < event.total):
            self._log(event)

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        if stage != self._stage:
            self._stage, self._began = stage, now
        elif done < total and now - self._last < (LINE_SECONDS if now - self._began < LATER_SECONDS else LATER_SECONDS):
            return
        self._last = now
        sys.stderr.write(f"{stage} {done}/{total}\n" if total else f"{stage}\n")
        sys.stderr.flush()
