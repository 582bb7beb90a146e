"""Work within the hours that a site's policy gives: it ends at the end of a clip when they do, and goes on when they begin.

Promises that outside of them no model is run and none is kept in memory: the work is left as by a stop, with every clip that
was finished and the steps of those under way in the store, and begun again later. Leaves when that is to `site/hours.py`.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from vdb_participant.session.progress import Progress
from vdb_participant.site.hours import Hours

WAITING: Final = "waiting until its devices may be used"
"""The stage of which the lead is told meanwhile."""

LOOK_SECONDS: Final = 60.0
"""Between two looks at the clock, which may be set, or the machine have slept."""

TELL_SECONDS: Final = 600.0
"""Between two reports that we wait, by which an end of the session is noticed."""

Result = TypeVar("Result")


class OutOfHoursError(Exception):
    """The hours in which models may run are over; never reaches a user."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, and waiting for it.

    Attributes:
        now: this moment, UTC.
        pause: waits so many seconds.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    pause: Callable[[float], None] = time.sleep


def within_hours(
    hours: Hours | None,
    work: Callable[[Progress], Result],
    reporter: Callable[[], Progress],
    say: Callable[[str], None],
    clock: Clock | None = None,
) -> Result:
    """Return the result of work that only runs within hours.

    Args:
        hours: of the policy; None for all.
        work: given where to report progress; may be called again after it was left.
        reporter: gives something to report progress to, anew after each wait.
        say: told when it waits and when it goes on.
        clock: the machine's by default.
    """
    if hours is None:
        return work(reporter())
    clock = clock or Clock()
    while True:
        wait_for_hours(hours, reporter, say, clock)
        try:
            return work(_Within(hours, reporter(), clock))
        except OutOfHoursError:
            say(f"models run here {hours.words} alone (policy.toml, gpu_hours): stopped at the end of a clip")
        _give_memory_back()


def wait_for_hours(hours: Hours, reporter: Callable[[], Progress], say: Callable[[str], None], clock: Clock) -> None:
    """Return within the hours, after waiting for them; arguments as for `within_hours`."""
    if hours.open_at(clock.now()):
        return
    opens = hours.opens(clock.now())
    say(f"waiting until {opens:%a %Y-%m-%d %H:%M %Z}, when models may run here (policy.toml, gpu_hours)")
    waited = TELL_SECONDS
    while not hours.open_at(now := clock.now()):
        if waited >= TELL_SECONDS:
            reporter()(WAITING, 0, 0)
            waited = 0.0
        seconds = min(LOOK_SECONDS, max((hours.opens(now) - now).total_seconds(), 1.0))
        clock.pause(seconds)
        waited += seconds
    say("models may run here again")


@dataclass(slots=True)
class _Within:
    """Passes progress on, and leaves the work where a clip ends outside of the hours."""

    hours: Hours
    show: Progress
    clock: Clock
    _last: tuple[str, int] = field(default=("", -1), init=False)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.show(stage, done, total)
        ended, self._last = self._last != (stage, done), (stage, done)
        if ended and done < total and not self.hours.open_at(self.clock.now()):
            raise OutOfHoursError


def _give_memory_back() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
