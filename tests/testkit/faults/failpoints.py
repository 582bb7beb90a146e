"""Failpoints: a coordinator, or one agent, that dies, is refused by its storage, or stands still at each of its places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal, get_args

from testkit.coordinator import RunningCoordinator
from testkit.crowd import crowd
from testkit.faults.agents import Agent
from testkit.faults.crew import MEMBERS, SPEC, Crew
from testkit.faults.history import broken_growth, held_by
from testkit.faults.outcomes import Outcome
from testkit.faults.random_kills import conclude, set_up
from testkit.faults.supervision import Supervised
from vdb_coordinator.serving import failpoints as coordinators
from vdb_participant.site import failpoints as agents

PART: Final = "failpoints"
TIMES: Final = (1, 5)
"""The how many-th passages at which a coordinator suffers."""

Action = Literal["kill", "error", "delay"]
ELSEWHERE: Final = (
    "after-complaint",
    "after-restart",
    "before-renewal",
    "after-renewal-answered",
    "after-renewal-kept",
)

AGENT_PLACES: Final = tuple(place for place in get_args(agents.Place) if place not in ELSEWHERE)
"""Places of a session in which nobody cheats and no certificate is renewed; the others have tests of their own."""


@dataclass(frozen=True)
class Fault:
    """What happens at a place of a coordinator, and the how many-th time that it is passed; or of an agent, the first time.

    Attributes:
        side: whose.
        place, action: what happens where.
        time: which passage.
    """

    side: Literal["coordinator", "agent"]
    place: str
    action: Action
    time: int = 1

    @property
    def setting(self) -> str:
        """As the environment variable has it."""
        number = f"@{self.time}" if self.side == "coordinator" else ""
        return f"{self.place}={self.action}{number}"


def all_faults() -> Iterator[Fault]:
    """Yield every place with every action."""
    for place, action, time in product(get_args(coordinators.Place), get_args(coordinators.Action), TIMES):
        yield Fault("coordinator", place, action, time)
    for place, action in product(AGENT_PLACES, get_args(Action)):
        yield Fault("agent", place, action)


def suffer(fault: Fault, folder: Path) -> Outcome:
    """Return what becomes of a session under a fault."""
    outcome = Outcome(PART, f"{fault.side}: {fault.setting}")
    (_coordinator if fault.side == "coordinator" else _agent)(fault, folder, outcome)
    return outcome


def _coordinator(fault: Fault, folder: Path, outcome: Outcome) -> None:
    coordinator = RunningCoordinator(folder / "coordinator")
    identities = crowd(coordinator, MEMBERS)
    coordinator.start()
    session = coordinator.admin.create_session(SPEC)
    coordinator.stop()
    environment = {coordinators.VARIABLE: fault.setting}
    forked = fault.action != "kill"  # how long a restart takes is measured with the program's start
    with (
        Supervised(coordinator, environment, forked=forked) as process,
        Crew(coordinator, identities, session) as crew,
    ):
        bundle, broken = crew.finish()
        process.stop()
        outcome.deaths, outcome.recovery = process.deaths, process.recovery
        outcome.broken += broken
        if bundle is not None:
            outcome.broken += [
                *crew.compare(coordinator, bundle),
                *broken_growth(process.left, held_by(coordinator.home)),
            ]
    if fault.action == "kill" and outcome.deaths > 1:
        outcome.broken.append(f"died {outcome.deaths} times of one kill")
    reached = fault.action != "kill" or outcome.deaths > 0
    outcome.ended = "published" if reached else "published; the place was not passed so often"


def _agent(fault: Fault, folder: Path, outcome: Outcome) -> None:
    scene = set_up(folder, agents=MEMBERS)
    players = [Agent(seat, failpoints=fault.setting if number == 0 else "") for number, seat in enumerate(scene.seats)]
    with Supervised(scene.coordinator, forked=True) as process:
        for agent in players:
            agent.start()
        for agent in players:
            agent.join()
        process.stop()
    outcome.deaths = sum(agent.told.kills for agent in players)
    conclude(scene, players, process.left, outcome)
    victim = players[0].told
    lives = 1 if fault.action == "delay" else 2
    if victim.lives != lives or victim.kills != (fault.action == "kill"):
        outcome.broken.append(f"took {victim.lives} lives, of which {victim.kills} were killed; was the place passed?")
    outcome.ended = outcome.ended.replace(f"by {MEMBERS} of {MEMBERS}", "").strip()
