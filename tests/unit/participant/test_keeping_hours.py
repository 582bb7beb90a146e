"""Work is left at the end of a clip when the hours of the policy end, and goes on when they begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from vdb_participant.session.keeping_hours import TELL_SECONDS, WAITING, Clock, within_hours
from vdb_participant.session.progress import Progress
from vdb_participant.site.hours import parse_hours
from vdb_shared.errors import SessionAbortedError

NIGHT = parse_hours(["daily 22:00-06:00"], UTC)


@dataclass
class Story:
    """A night's work of clips that take a time each, on a clock of its own.

    Attributes:
        now: the time.
        told: what was reported, with the number of the reporter.
        said: to people.
        reporters: that were asked for.
        finished: clips that are in the store.
    """

    now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)
    told: list[tuple[int, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    reporters: int = 0
    finished: list[datetime] = field(default_factory=list)
    ends: datetime = datetime(2027, 1, 1, tzinfo=UTC)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.pass_by)

    def pass_by(self, seconds: float) -> None:
        assert seconds > 0
        self.now += timedelta(seconds=seconds)

    def reporter(self) -> Progress:
        self.reporters += 1
        number = self.reporters

        def report(stage: str, _done: int, _total: int) -> None:
            if self.now >= self.ends:
                raise SessionAbortedError("the session was aborted: deadline")
            self.told.append((number, stage))

        return report

    def work(self, clips: int, each: timedelta) -> str:
        """Make clips as the engine does: those that are in the store are not made again."""

        def make(progress: Progress) -> str:
            progress("generating with m", len(self.finished), clips)
            while len(self.finished) < clips:
                self.now += each
                self.finished.append(self.now)
                progress("generating with m", len(self.finished), clips)
            return "done"

        return within_hours(NIGHT, make, self.reporter, self.said.append, self.clock)


def test_all_clips_are_begun_within_the_hours_and_none_is_made_twice() -> None:
    story, each = Story(), timedelta(minutes=50)
    assert story.work(20, each) == "done"
    assert len(story.finished) == 20
    assert all(NIGHT.open_at(end - each) for end in story.finished)
    assert sum(not NIGHT.open_at(end) for end in story.finished) == 2, "what was under way each morning was finished"


def test_people_and_lead_are_told_that_it_waits() -> None:
    story = Story()
    story.work(12, timedelta(hours=1))
    assert story.said[0] == "waiting until Mon 2026-11-23 22:00 UTC, when models may run here (policy.toml, gpu_hours)"
    assert story.said[1] == "models may run here again"
    assert "stopped at the end of a clip" in story.said[2]
    assert "Tue 2026-11-24 22:00" in story.said[3]
    assert story.told[0] == (1, WAITING)
    last = story.told[-1][0]
    assert [stage for number, stage in story.told if number == last] == ["generating with m"] * 5
    assert last == story.reporters, "what reports goes on as new, so that a stage is told again"


def test_an_end_of_the_session_is_noticed_while_it_waits() -> None:
    story = Story(ends=datetime(2026, 11, 23, 13, tzinfo=UTC))
    with pytest.raises(SessionAbortedError):
        story.work(1, timedelta(hours=1))
    assert story.now - story.ends <= timedelta(seconds=TELL_SECONDS)
    assert not story.finished


def test_the_last_clip_of_the_night_needs_no_other_night() -> None:
    story = Story(datetime(2026, 11, 23, 22, tzinfo=UTC))
    assert story.work(9, timedelta(hours=1)) == "done"
    assert story.now == datetime(2026, 11, 24, 22, tzinfo=UTC) + timedelta(hours=1)
    story = Story(datetime(2026, 11, 23, 22, tzinfo=UTC))
    assert story.work(8, timedelta(hours=1)) == "done"
    assert story.now == datetime(2026, 11, 24, 6, tzinfo=UTC)


def test_without_hours_nothing_waits() -> None:
    story = Story()
    assert within_hours(None, lambda _progress: story.now, story.reporter, story.said.append, story.clock) == story.now
    assert not story.said
