"""Progress of generation: an event for each step and each clip, with the time that is left, for whoever wants to show it.

Promises that telling an event never waits: events go through a small buffer to a thread of their own, and where consumers
are slow the oldest steps are left out, never a clip. Events hold counts of clips, which are private: they are for this
site's screen and log alone. A coordinator is told `stage` and nothing else (session/progress.py).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import structlog

MOST_WAITING: Final = 256
"""Steps that wait for a slow consumer; older ones are left out."""

LOG_SECONDS: Final = 60.0
"""Between two lines about steps in the log."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        kind: a step was made, a clip was finished or given up, or generation of a model began.
        model: its id.
        done, total: clips settled and clips in all.
        step, steps: of the denoising loop under way; 0 between clips.
        seconds_left: for all clips of the model, or None while nothing is known.
    """

    kind: Literal["begun", "step", "finished", "failed"]
    model: str
    done: int
    total: int
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None

    @property
    def stage(self) -> str:
        """All that a coordinator may know."""
        return f"generating with {self.model}"

    @property
    def detail(self) -> str:
        """Step and time left in words, or "" while nothing is known of either."""
        parts = [f"step {self.step} of {self.steps}"] if self.steps else []
        if self.seconds_left is not None and self.done < self.total:
            parts.append(f"{time_left(self.seconds_left)} left")
        return ", ".join(parts)

    @property
    def line(self) -> str:
        """One line for people."""
        counts = f"{self.stage}: {self.done} of {self.total} clips"
        return f"{counts}, {self.detail}" if self.detail else counts


Consumer = Callable[[Event], None]


def nobody(_event: object) -> None:
    """Nobody wants to know; the consumer of callers who do not care."""


def time_left(seconds: float) -> str:
    """Return a time in words, no more exactly than anybody can know it: "10 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


@dataclass(slots=True)
class Estimate:
    """The time that is left, from the clips made so far, or from the steps of the first."""

    _clips: int = 0
    _seconds: float = 0.0

    def made(self, seconds: float) -> None:
        """Count a clip that was made."""
        self._clips += 1
        self._seconds += seconds

    def left(self, clips: int, *, step: int = 0, steps: int = 0, elapsed: float = 0.0) -> float | None:
        """Return the seconds left.

        Args:
            clips: that are not settled, with the one under way.
            step: of the one under way.
            steps: that it has.
            elapsed: seconds since it began.
        """
        if self._clips:
            each = self._seconds / self._clips
        elif step:
            each = elapsed / step * steps
        else:
            return None
        return max(0.0, each * clips - elapsed)


@dataclass(slots=True)
class Tracker:
    """Turns what the engine does with one model into events.

    Attributes:
        model: its id.
        total: clips in all.
        tell: takes the events; must not wait.
    """

    model: str
    total: int
    tell: Consumer
    _estimate: Estimate = field(default_factory=Estimate)
    _began: float = field(default_factory=time.perf_counter)
    _done: int = 0

    def begin(self, done: int) -> None:
        """Tell that so many clips are settled before any work."""
        self._done = done
        self.tell(Event("begun", self.model, done, self.total))

    def clip(self) -> None:
        """Note that a clip begins."""
        self._began = time.perf_counter()

    def step(self, step: int, steps: int) -> None:
        """Tell of a denoising step."""
        elapsed = time.perf_counter() - self._began
        left = self._estimate.left(self.total - self._done, step=step, steps=steps, elapsed=elapsed)
        self.tell(Event("step", self.model, self._done, self.total, step, steps, left))

    def settled(self, *, failed: bool, seconds: float | None = None) -> None:
        """Tell of a clip, and how long it took if it was made here."""
        self._done += 1
        if seconds is not None:
            self._estimate.made(seconds)
        left = self._estimate.left(self.total - self._done)
        self.tell(Event("failed" if failed else "finished", self.model, self._done, self.total, 0, 0, left))


class Stream:
    """Brings events to consumers, on a thread of its own."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = tuple(consumers)
        self._clips: deque[Event] = deque()
        self._steps: deque[Event] = deque(maxlen=MOST_WAITING)
        self._changed = threading.Condition()
        self._over = False

    def __call__(self, event: Event) -> None:
        """Take an event, without waiting for consumers."""
        with self._changed:
            if event.kind == "step":
                self._steps.append(event)
            else:
                self._steps.clear()  # a clip that is settled tells more than its last steps
                self._clips.append(event)
            self._changed.notify()

    @contextmanager
    def flowing(self) -> Iterator[Stream]:
        """Bring events to consumers inside a block, and all that wait when it ends.

        Raises:
            Exception: of the first consumer that failed, when the block ends.
        """
        failures: list[Exception] = []
        thread = threading.Thread(target=self._run, args=(failures,), name="progress", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with self._changed:
                self._over = True
                self._changed.notify()
            thread.join()
        if failures:
            raise failures[0]

    def _run(self, failures: list[Exception]) -> None:
        while (event := self._next()) is not None:
            for consumer in self._consumers:
                try:
                    consumer(event)
                except Exception as error:
                    failures.append(error)
                    return

    def _next(self) -> Event | None:
        with self._changed:
            while not (self._clips or self._steps or self._over):
                self._changed.wait()
            if self._clips:
                return self._clips.popleft()
            return self._steps.popleft() if self._steps else None


@dataclass(slots=True)
class LogLines:
    """A consumer that writes to the log: beginnings, failures and ends, and once a minute a step or clip."""

    log: Any = field(default_factory=lambda: structlog.get_logger("vdb_participant"))
    _last: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Write a line, or none."""
        now = time.monotonic()
        if event.kind in {"step", "finished"} and event.done < event.total:
            if now - self._last < LOG_SECONDS:
                return
            self._last = now
        self.log.info(event.line, kind=event.kind)
