"""Progress of long work: shown here, and told to the lead in words that betray no private count.

The lead is told the stage and tens of percent. Steps done and in all would tell how many private clips and prompts a site
holds, which leave only inside the noised vector.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from vdb_participant.network.link import Link
from vdb_shared.errors import UnreachableError

Progress = Callable[[str, int, int], None]
"""Told of progress: the stage in plain words, steps done, steps in all."""

REPORT_SECONDS: Final = 2.0
"""Least time between two reports to the lead."""

_COARSE: Final = 10


def silent(_stage: str, _done: int, _total: int) -> None:
    """Show nothing; the progress of callers who do not care."""


@dataclass(slots=True)
class Reporter:
    """Passes progress on to the screen and, coarsely, to the lead.

    Attributes:
        link: the coordinator.
        session: session id.
        show: the screen.
        clock: seconds that never run backwards.
    """

    link: Link
    session: str
    show: Progress
    clock: Callable[[], float] = time.monotonic
    _told: str = field(default="")
    _told_at: float = field(default=float("-inf"))

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show a step and tell the lead, if there is news.

        Raises:
            SessionAbortedError: the session has ended meanwhile, so that the work would be for nothing.
        """
        self.show(stage, done, total)
        words = coarse(stage, done, total)
        if words == self._told or self.clock() - self._told_at < REPORT_SECONDS:
            return
        self._told, self._told_at = words, self.clock()
        try:
            self.link.report(self.session, words, 0, 0)
        except UnreachableError:
            return  # the lead's view is a little older; the work goes on


def coarse(stage: str, done: int, total: int) -> str:
    """Return a stage with its progress in tens of percent, such as "generating with wan, 40 %"."""
    if total <= 0:
        return stage
    return f"{stage}, {done * _COARSE // total * (100 // _COARSE)} %"
