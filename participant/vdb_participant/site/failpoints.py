"""Failpoints: named places at which a test makes the agent stop, die, be refused by its storage, or stand still.

A testing tool that is harmless to privacy: a failpoint does nothing that a power cut, a full disk or a slow one could not do as
well. Set by the environment variable VDB_FAILPOINTS, such as "after-share-keys=hold,after-consistency=kill".
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn, cast, get_args

import structlog

from vdb_shared.errors import StoreError, UsageError

VARIABLE: Final = "VDB_FAILPOINTS"

Place = Literal[
    "before-cosign",
    "after-cosign",
    "after-join",
    "after-measure",
    "after-advertise-keys",
    "after-share-keys",
    "before-debit",
    "after-debit",
    "before-masked-input",
    "after-masked-input",
    "after-complaint",
    "after-restart",
    "after-consistency",
    "after-unmask",
    "before-renewal",
    "after-renewal-answered",
    "after-renewal-kept",
    "before-countersign",
    "after-countersign",
]
"""Cosign: of a checkpoint of the log that was remembered. Debit: of the ledger. Countersign: the signature of the result is
recorded, and was acknowledged."""

Action = Literal["hold", "kill", "error", "delay"]
"""hold: log a line and sleep until killed; kill: SIGKILL to oneself; error: the storage refuses; delay: stand still a while."""

DELAY_SECONDS: Final = 1.0

_LOG = structlog.get_logger("vdb_participant")


@dataclass(frozen=True, slots=True)
class Failpoints:
    """Which places have which action; none by default."""

    actions: Mapping[Place, Action] = field(default_factory=dict)

    def reach(self, place: Place) -> None:
        """Pass through a place, or act there.

        Raises:
            StoreError: it was set so.
        """
        match self.actions.get(place):
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hold":
                _hold(place)
            case "error":
                raise StoreError(f"failpoint {place}: refused, as {VARIABLE} asks for")
            case "delay":
                time.sleep(DELAY_SECONDS)
            case None:
                pass


def parse_failpoints(text: str) -> Failpoints:
    """Return the failpoints of a text such as "after-join=kill".

    Raises:
        UsageError: an unknown place or action.
    """
    actions: dict[Place, Action] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        place, _, action = item.partition("=")
        if place not in get_args(Place):
            raise UsageError(f"{VARIABLE}: {place!r} is not a failpoint; allowed: {', '.join(get_args(Place))}")
        if action not in get_args(Action):
            raise UsageError(f"{VARIABLE}: {place}={action} is not an action; allowed: {', '.join(get_args(Action))}")
        actions[cast(Place, place)] = cast(Action, action)
    return Failpoints(actions)


def failpoints_from_environment() -> Failpoints:
    """Return the failpoints that VDB_FAILPOINTS sets."""
    return parse_failpoints(os.environ.get(VARIABLE, ""))


def _hold(place: Place) -> NoReturn:
    _LOG.info("holding", failpoint=place)
    while True:
        time.sleep(3600)
