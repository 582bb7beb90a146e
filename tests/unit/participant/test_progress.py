"""The lead hears which stage a site is in, and nothing from which private counts follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from testkit.crashes import MemoryLink
from vdb_participant.session.progress import Reporter
from vdb_shared.errors import SessionAbortedError, UnreachableError


@dataclass
class Listener:
    """Stands for the coordinator: hears reports, or fails."""

    error: Exception | None = None
    heard: list[tuple[str, int, int]] = field(default_factory=list)

    def report(self, session: str, stage: str, done: int, total: int) -> None:
        self.heard.append((stage, done, total))
        if self.error is not None:
            raise self.error


class Link(MemoryLink):
    """A link whose reports go to a listener."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def report(self, session: str, stage: str, done: int, total: int) -> None:
        self.listener.report(session, stage, done, total)


STAGES = ("generating with m", "measuring m", "measuring reference clips")


def run(listener: Listener, total: int) -> list[tuple[str, int, int]]:
    shown: list[tuple[str, int, int]] = []
    reporter = Reporter(Link(listener), "s", lambda *step: shown.append(step))
    for stage in STAGES:
        for done in range(1, total + 1):
            reporter(stage, done, total)
    return shown


@pytest.mark.parametrize("total", [1, 2, 3, 40, 400])
def test_the_lead_hears_the_same_for_any_number_of_clips(total: int) -> None:
    listener = Listener()
    run(listener, total)
    assert listener.heard == [(stage, 0, 0) for stage in STAGES]


def test_a_stage_that_lasts_is_told_again_and_stops_when_the_session_went_on_without_us() -> None:
    """An hour of one model's clips, a minute each; after 40 minutes the others are done."""
    listener, minutes = Listener(), iter(range(60))
    reporter = Reporter(Link(listener), "s", lambda *_: None, lambda: 60.0 * next(minutes))
    for done in range(40):
        reporter("generating with m", done, 60)
    assert listener.heard == [("generating with m", 0, 0)] * 20
    listener.error = SessionAbortedError("too late: now published")
    with pytest.raises(SessionAbortedError):
        reporter("generating with m", 40, 60)


def test_the_screen_shows_every_step() -> None:
    assert run(Listener(), 5) == [(stage, done, 5) for stage in STAGES for done in range(1, 6)]


def test_work_goes_on_when_the_coordinator_is_away() -> None:
    assert len(run(Listener(UnreachableError("away")), 5)) == 15


def test_work_stops_when_the_session_is_over() -> None:
    with pytest.raises(SessionAbortedError):
        run(Listener(SessionAbortedError("the lead ended it")), 5)
