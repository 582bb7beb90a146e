"""The hours in which a site lets models run, as policy.toml writes them: "Mon-Fri 19:00-07:00".

Promises nothing about who keeps them. Times are those of this machine's clock on the wall; a window that ends at or before its
beginning ends on the next day. Pure but for the machine's time zone. Leaves waiting to `session/keeping_hours.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_WINDOW: Final = re.compile(r"(daily|[A-Za-z,-]+) ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_DAY: Final = 24 * 60
_WEEK: Final = 7
_EXPECTED: Final = 'expected hours such as "Mon-Fri 19:00-07:00", "Sat,Sun 00:00-24:00" or "daily 22:00-06:00", found'


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours of some days.

    Attributes:
        days: 0 is Monday.
        begins: minutes after midnight.
        ends: likewise; more than a day's where it ends on the next.
    """

    days: frozenset[int]
    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class Hours:
    """When models may run.

    Attributes:
        windows: at least one.
        words: as they were written.
        zone: whose clock; the machine's own if None.
    """

    windows: tuple[Window, ...]
    words: str
    zone: tzinfo | None = None

    def open_at(self, moment: datetime) -> bool:
        """Return whether models may run at a moment, which has a time zone."""
        return any(begins <= moment < ends for begins, ends in self._spans(moment, moment))

    def opens(self, moment: datetime) -> datetime:
        """Return the first moment from this one on at which models may run, by the clock of these hours."""
        later = (span for span in self._spans(moment, moment + timedelta(days=_WEEK + 1)) if moment < span[1])
        begins, _ = min(later)
        return max(begins, moment).astimezone(self.zone)

    def within(self, begins: datetime, ends: datetime) -> timedelta:
        """Return how much of a time models may run."""
        total, done = timedelta(), begins
        for first, last in sorted(self._spans(begins, ends)):
            total += max(min(last, ends) - max(first, done), timedelta())
            done = max(done, last)
        return total

    def _spans(self, first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the windows that may touch a time; they may overlap."""
        day = first.astimezone(self.zone).date() - timedelta(days=1)
        while day <= last.astimezone(self.zone).date():
            for window in self.windows:
                if day.weekday() in window.days:
                    yield self._at(day, window.begins), self._at(day, window.ends)
            day += timedelta(days=1)

    def _at(self, day: date, minutes: int) -> datetime:
        wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
        return (wall if self.zone is None else wall.replace(tzinfo=self.zone)).astimezone(
            UTC
        )  # in whose hours can be counted


def parse_hours(lines: Sequence[str], zone: tzinfo | None = None) -> Hours:
    """Return the hours that a policy writes.

    Raises:
        ValueError: names the line that is none.
    """
    if not lines:
        raise ValueError("no hours: nothing would ever run here; leave the line out if all hours are meant")
    return Hours(tuple(map(_window, lines)), ", ".join(lines), zone)


def _window(line: str) -> Window:
    found = _WINDOW.fullmatch(line.strip())
    if found is None:
        raise ValueError(f"{_EXPECTED} {line!r}")
    begins, ends = (int(hour) * 60 + int(minute) for hour, minute in (found.group(2, 3), found.group(4, 5)))
    if max(int(found.group(3)), int(found.group(5))) > 59 or begins >= _DAY or ends > _DAY or begins == ends:
        raise ValueError(f"{_EXPECTED} {line!r}")
    return Window(frozenset(_days(found.group(1), line)), begins, ends if ends > begins else ends + _DAY)


def _days(text: str, line: str) -> Iterator[int]:
    if text == "daily":
        yield from range(_WEEK)
        return
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{_EXPECTED} {line!r}")
        number, end = DAYS.index(first), DAYS.index(last if dash else first)
        yield number
        while number != end:
            number = (number + 1) % _WEEK
            yield number
