"""What people are told while the coordinator does not answer: that it went, that it is still away, that it is back.

Promises one line once calls have failed for QUIET_SECONDS, another at most every REMINDER_SECONDS, and one when it answers
again, however many calls fail meanwhile. Leaves retrying to `connection.py`, and why nothing answers to `diagnosis.py`, which
is asked when patience ends.
"""

from __future__ import annotations

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


def unsaid(_line: str) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Absence:
    """Whether the coordinator answers, and what was said of it.

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

    def failed(self, patience: float, words: str = "") -> None:
        """Note a call that nobody answered and that is made again.

        Args:
            patience: seconds for which it is still made again.
            words: the coordinator's own, if it is there and cannot serve us.
        """
        now = self.monotonic()
        if self._since is None:
            self._since = now
        last, pause = (self._since, QUIET_SECONDS) if self._told is None else (self._told, REMINDER_SECONDS)
        if now - last >= pause:
            self._told = now
            self.say(self._line(now - self._since, patience, words))

    def answered(self) -> None:
        """Note that it answers."""
        if self._since is None:
            return
        away, told = self.monotonic() - self._since, self._told is not None
        self._since = self._told = None
        if told:
            self.say(
                f"the coordinator at {self.address} answers again ({_time(self.clock())}, after {_length(away)}); going on"
            )

    def _line(self, away: float, patience: float, words: str) -> str:
        now = self.clock()
        since, until = _time(now - timedelta(seconds=away)), _time(now + timedelta(seconds=patience))
        trouble = f"cannot serve us ({words})" if words else "does not answer"
        return (
            f"the coordinator at {self.address} {trouble} since {since}; nothing is lost, and this agent goes on asking until "
            f"{until} (after that, run the same command again)"
        )


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
