"""Failpoints: named places at which a test lets the coordinator die, be refused by its storage, or stand still.

A testing tool that is harmless to what is promised: a failpoint does nothing that a power cut, a full disk or a slow one could
not do as well. Set by the environment variable VDB_COORDINATOR_FAILPOINTS, such as "after-commit=kill@3,before-sign=error":
the third time that a commit is done the process dies. Each acts once.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from vdb_shared.errors import StoreError, UsageError

VARIABLE: Final = "VDB_COORDINATOR_FAILPOINTS"

Place = Literal[
    "before-commit",
    "in-commit",
    "after-commit",
    "before-acknowledge",
    "before-freeze",
    "after-freeze",
    "before-unmask",
    "after-unmask",
    "before-sign",
    "after-sign",
    "before-append",
    "in-append",
    "after-append",
    "before-publish",
    "after-publish",
]
"""Commit: of an event, and in its transaction. Freeze: the event that fixes the survivors. Unmask: the one that gives the sum.
Sign: the coordinator's own statements. Append: to the transparency log's files. Publish: the event that publishes a result."""

Action = Literal["kill", "error", "delay"]
"""kill: SIGKILL to oneself; error: the storage refuses; delay: the whole process stands still for a while."""

DELAY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Failpoints:
    """Which places have which action, and at which time they are passed; none by default."""

    actions: Mapping[Place, tuple[Action, int]] = field(default_factory=dict)
    _passed: Counter[Place] = field(default_factory=Counter)

    def reach(self, place: Place) -> None:
        """Pass through a place, or act there.

        Raises:
            StoreError: it was set so.
        """
        if place not in self.actions:
            return
        action, time_of_acting = self.actions[place]
        self._passed[place] += 1
        if self._passed[place] != time_of_acting:
            return
        match action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "error":
                raise StoreError(f"failpoint {place}: refused, as {VARIABLE} asks for")
            case "delay":
                time.sleep(DELAY_SECONDS)


def parse_failpoints(text: str) -> Failpoints:
    """Return the failpoints of a text such as "before-commit=kill@2".

    Raises:
        UsageError: an unknown place or action, or no number.
    """
    actions: dict[Place, tuple[Action, int]] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        place, _, rest = item.partition("=")
        action, _, number = rest.partition("@")
        if place not in get_args(Place):
            raise UsageError(f"{VARIABLE}: {place!r} is not a failpoint; allowed: {', '.join(get_args(Place))}")
        if action not in get_args(Action):
            raise UsageError(f"{VARIABLE}: {item} is not an action; allowed: {', '.join(get_args(Action))}")
        if not (number or "1").isdecimal() or number == "0":
            raise UsageError(f"{VARIABLE}: {item}: expected a number from 1 after @")
        actions[cast(Place, place)] = (cast(Action, action), int(number or 1))
    return Failpoints(actions)


def failpoints_from_environment() -> Failpoints:
    """Return the failpoints that VDB_COORDINATOR_FAILPOINTS sets."""
    return parse_failpoints(os.environ.get(VARIABLE, ""))
