"""Clocks that are wrong: the coordinator's wall clock jumps by an hour or by more than a year, in both directions, and back.

What is waited for is counted by a clock that nobody sets (`serving/clock.py`), so only what is written down and how long
certificates last is at stake; institutions' own clocks stay right, so that they see the coordinator's as wrong.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testkit.coordinator import CALL, RunningCoordinator
from testkit.faults.agents import Agent
from testkit.faults.history import Held, held_by
from testkit.faults.outcomes import Outcome
from testkit.faults.random_kills import conclude, set_up

PART: Final = "clocks"
AGENTS: Final = 4
RIGHT_SECONDS: Final = 1.0
WRONG_SECONDS: Final = 2.0
"""How long the clock is right at first, and then stays wrong."""

When = Literal["before anybody connects", "in the middle", "while the coordinator starts again"]


@dataclass(frozen=True)
class Jump:
    """A clock that is wrong for a while.

    Attributes:
        by: how wrong.
        when: it is.
    """

    by: timedelta
    when: When

    @property
    def name(self) -> str:
        """The fault in words."""
        hours = self.by / timedelta(hours=1)
        size = f"{hours:+.0f} h" if abs(hours) < 24 else f"{hours / 24:+.0f} days"
        return f"the coordinator's clock is off by {size} {self.when}"


BY: Final = (timedelta(hours=1), timedelta(hours=-1), timedelta(days=400), timedelta(days=-400))
WHEN: Final[tuple[When, ...]] = (
    "before anybody connects",
    "in the middle",
    "while the coordinator starts again",
)
FAULTS: Final = tuple(Jump(by, when) for when in WHEN for by in BY)


class SettableClock:
    """The machine's clocks, of which the one on the wall can be set; implements Clock."""

    def __init__(self) -> None:
        self.off = timedelta(0)

    def now(self) -> datetime:
        """Return the time, UTC, as wrong as it is."""
        return datetime.now(UTC) + self.off

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()


def suffer(jump: Jump, folder: Path) -> Outcome:
    """Return what becomes of a session under a clock that is wrong for a while."""
    outcome, clock = Outcome(PART, jump.name), SettableClock()
    scene = set_up(folder, agents=AGENTS, clock=clock)
    coordinator, left = scene.coordinator, list[Held]()
    agents = [Agent(seat) for seat in scene.seats]
    coordinator.start()
    if jump.when == "before anybody connects":
        _be_wrong(coordinator, clock, jump)
    for agent in agents:
        agent.start()
    if jump.when != "before anybody connects":
        time.sleep(RIGHT_SECONDS)
        if jump.when == "while the coordinator starts again":
            coordinator.stop()
            left.append(held_by(coordinator.home))
            clock.off = jump.by
            coordinator.start()
        _be_wrong(coordinator, clock, jump)
    for agent in agents:
        agent.join()
    coordinator.stop()
    # The roster's signature lasts a year: a result that is dated later fails the audit, and must.
    conclude(scene, agents, left, outcome, may_refuse=jump.by > timedelta(days=300))
    return outcome


def _be_wrong(coordinator: RunningCoordinator, clock: SettableClock, jump: Jump) -> None:
    clock.off = jump.by
    _greet(coordinator)
    time.sleep(WRONG_SECONDS)
    clock.off = timedelta(0)


def _greet(coordinator: RunningCoordinator) -> None:
    """Let somebody connect, so that the server looks at its certificate."""
    with coordinator.channel(coordinator.identities[0]) as channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=CALL / 10)
        except grpc.RpcError:
            return  # by our clock its certificate is not valid
