"""Progress of long work: shown here, and told to the lead in words that betray no private count.

The lead is told the stage alone, once, when it begins. Steps done and in all, even as a share, would tell how many private
clips and prompts a site holds, which leave only inside the noised vector. When a stage begins the lead sees all the same,
and so about how long each model took: README.md says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vdb_participant.network.link import Link
from vdb_shared.errors import UnreachableError

Progress = Callable[[str, int, int], None]
"""Told of progress: the stage in plain words, steps done, steps in all."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Show nothing; the progress of callers who do not care."""


@dataclass(slots=True)
class Reporter:
    """Passes progress on to the screen, and each new stage to the lead.

    Attributes:
        link: the coordinator.
        session: session id.
        show: the screen.
    """

    link: Link
    session: str
    show: Progress
    _told: set[str] = field(default_factory=set, init=False)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show a step, and tell the lead if a stage begins with it.

        Raises:
            SessionAbortedError: the session has ended meanwhile, so that the work would be for nothing; seen when a stage
                begins.
        """
        self.show(stage, done, total)
        if stage in self._told:
            return
        self._told.add(stage)
        try:
            self.link.report(self.session, stage, 0, 0)
        except UnreachableError:
            return  # the lead's view is a little older; the work goes on
