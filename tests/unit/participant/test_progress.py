"""The lead hears how far a site is, but no number from which private counts follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from testkit.crashes import MemoryLink
from vdb_participant.session.progress import REPORT_SECONDS, Reporter, coarse
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


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Link(MemoryLink):
    """A link whose reports go to a listener."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def report(self, session: str, stage: str, done: int, total: int) -> None:
        self.listener.report(session, stage, done, total)


def run(listener: Listener, total: int) -> list[tuple[str, int, int]]:
    shown: list[tuple[str, int, int]] = []
    clock = Clock()
    reporter = Reporter(Link(listener), "s", lambda *step: shown.append(step), clock)
    for done in range(1, total + 1):
        clock.now += REPORT_SECONDS
        reporter("measuring m", done, total)
    return shown


def test_reports_have_no_counts_and_are_the_same_for_different_numbers_of_clips() -> None:
    few, many = Listener(), Listener()
    assert run(few, 40)[-1] == ("measuring m", 40, 40)
    run(many, 400)
    assert {(done, total) for _, done, total in few.heard + many.heard} == {(0, 0)}
    assert {stage for stage, _, _ in few.heard} == {stage for stage, _, _ in many.heard}
    assert few.heard[-1][0] == "measuring m, 100 %"


def test_reports_are_not_more_frequent_than_agreed() -> None:
    listener, clock = Listener(), Clock()
    reporter = Reporter(Link(listener), "s", lambda *_: None, clock)
    for done in range(100):
        reporter("measuring m", done, 100)
    assert len(listener.heard) == 1


def test_work_goes_on_when_the_coordinator_is_away() -> None:
    assert len(run(Listener(UnreachableError("away")), 5)) == 5


def test_work_stops_when_the_session_is_over() -> None:
    with pytest.raises(SessionAbortedError):
        run(Listener(SessionAbortedError("the lead ended it")), 5)


@pytest.mark.parametrize(
    ("done", "total", "words"),
    [(0, 0, "x"), (0, 3, "x, 0 %"), (1, 3, "x, 30 %"), (29, 30, "x, 90 %"), (3, 3, "x, 100 %")],
)
def test_progress_is_in_tens_of_percent(done: int, total: int, words: str) -> None:
    assert coarse("x", done, total) == words
