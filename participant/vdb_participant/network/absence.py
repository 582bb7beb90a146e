"""What people are told while the coordinator does not answer: that it went, that it is still away, that it is back.

Promises one line once calls have failed for QUIET_SECONDS, another at most every REMINDER_SECONDS, and one when it answers
again, however many calls fail meanwhile; answers that break off at once are one absence and not many. Leaves retrying to
`connection.py`, and why nothing answers to `diagnosis.py`, which is asked when patience ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

Say = Callable[[str], None]
"""Told one line for people."""

QUIET_SECONDS: Final = 2.0
"""A coordinator that is away for less is not worth a line: a proxy cut the connection, or it was restarted."""

REMINDER_SECONDS: Final = 120.0

SETTLED_SECONDS: Final = 5.0
"""A coordinator that fails sooner after it answered was never back: the absence goes on."""


def unsaid(_line: str) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Absence:
    """Whether the coordinator answers, and what was said of it; calls of several threads may tell it.

    Attributes:
        address: of the coordinator.
        say: told the lines.
        monotonic: seconds; a parameter so that tests need not wait.
        clock: the time of day here.
    """

    address: str
    say: Say
    monotonic: Callable[[], float] = time.monotonic
    clock: Callable[[], datetime] = lambda: datetime.now().astimezone()
    _since: float | None = field(default=None, init=False)
    _told: float | None = field(default=None, init=False)
    _back: float | None = field(default=None, init=False)
    _away_said: bool = field(default=False, init=False)
    _unsettled: bool = field(default=False, init=False)
    _telling: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def failed(self, patience: float, words: str = "") -> None:
        """Note a call that nobody answered and that is made again.

        Args:
            patience: seconds for which it is still made again.
            words: the coordinator's own, if it is there and cannot serve us.
        """
        with self._telling:
            now = self.monotonic()
            if self._since is None or (self._back is not None and now - self._back >= SETTLED_SECONDS):
                self._since, self._told, self._unsettled = now, None, False
            elif self._back is not None:
                self._unsettled = True
            self._back = None
            last, pause = (self._since, QUIET_SECONDS) if self._told is None else (self._told, REMINDER_SECONDS)
            if now - last >= pause:
                self._told, self._away_said = now, True
                self.say(self._line(now - self._since, patience, words))

    def answered(self) -> None:
        """Note that it answers."""
        with self._telling:
            if self._since is None:
                return
            now = self.monotonic()
            self._back = now if self._back is None else self._back
            if self._away_said and (not self._unsettled or now - self._back >= SETTLED_SECONDS):
                self._away_said, away = False, _length(now - self._since)
                self.say(
                    f"the coordinator at {self.address} answers again ({_time(self.clock())}, after {away}); going on"
                )

    def _line(self, away: float, patience: float, words: str) -> str:
        now = self.clock()
        since, until = _time(now - timedelta(seconds=away)), _time(now + timedelta(seconds=patience))
        absent = "answers and breaks off again" if self._unsettled else "does not answer"
        trouble = f"cannot serve us ({words})" if words else absent
        return (
            f"the coordinator at {self.address} {trouble} since {since}; nothing is lost, and this agent goes on asking until "
            f"{until} (after that, run the same command again)"
        )


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
