"""Progress of long work: shown here, and told to the lead in words that betray no private count.

The lead is told the stage alone, when it begins and every two minutes after: who is told that the session has ended, or went
on without this site, need not finish the work. Steps done and in all, even as a share, would tell how many private clips and
prompts a site holds, which leave only inside the noised vector. When a stage begins the lead sees all the same, and so about
how long each model took: README.md says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from vdb_participant.network.link import Link
from vdb_shared.errors import UnreachableError

Progress = Callable[[str, int, int], None]
"""Told of progress: the stage in plain words, steps done, steps in all."""


AGAIN_SECONDS: Final = 120.0
"""After which a stage that lasts is told again."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Show nothing; the progress of callers who do not care."""


@dataclass(slots=True)
class Reporter:
    """Passes progress on to the screen, and each new stage to the lead.

    Attributes:
        link: the coordinator.
        session: session id.
        show: the screen.
        seconds: a clock that only goes forward.
    """

    link: Link
    session: str
    show: Progress
    seconds: Callable[[], float] = time.monotonic
    _told: dict[str, float] = field(default_factory=dict, init=False)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show a step, and tell the lead the stage if it begins with it, or was told a while ago.

        Raises:
            SessionAbortedError: the session has ended meanwhile or goes on without us, so that the work would be for nothing.
        """
        self.show(stage, done, total)
        now = self.seconds()
        if now < self._told.get(stage, -math.inf) + AGAIN_SECONDS:
            return
        self._told[stage] = now
        try:
            self.link.report(self.session, stage, 0, 0)
        except UnreachableError:
            return  # the lead's view is a little older; the work goes on
