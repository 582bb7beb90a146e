"""Networks on a bad day: real agents and a coordinator's process with a proxy between them that breaks, delays and repeats."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testkit.faults.agents import Agent
from testkit.faults.outcomes import Outcome
from testkit.faults.proxy import Mood, Proxy
from testkit.faults.random_kills import conclude, set_up
from testkit.faults.supervision import Supervised

PART: Final = "network"
AGENTS: Final = 4


@dataclass(frozen=True)
class Weather:
    """How the network behaves, one mood after another, each for some seconds; the last one for good.

    Attributes:
        name: of the fault.
        moods: and how long each lasts.
    """

    name: str
    moods: tuple[tuple[Mood, float], ...]


LONGEST_WAIT: Final = 60.0
"""Seconds for which a bad mood lasts on until it has done something: agents start slowly on a busy machine."""

WEATHERS: Final = (
    Weather("connections end again and again", (("cut", 6.0), ("fair", 0))),
    Weather("connections are reset in the middle of records", (("reset", 6.0), ("fair", 0))),
    Weather("answers are lost", (("deaf", 6.0), ("fair", 0))),
    Weather("everything is late", (("slow", 0),)),
    Weather("a few bytes at a time", (("crumbs", 0),)),
    Weather("nothing comes through for a while", (("fair", 1.0), ("partition", 4.0), ("fair", 0))),
    Weather("connections stay open and nothing comes through", (("fair", 1.0), ("half-open", 4.0), ("fair", 0))),
    Weather("connections are sent again byte for byte", (("replay", 0),)),
)


def suffer(weather: Weather, seed: int, folder: Path) -> Outcome:
    """Return what becomes of a session under some weather."""
    outcome = Outcome(PART, f"{weather.name} seed {seed}")
    with Proxy("", seed) as proxy:
        scene = set_up(folder, agents=AGENTS, address=proxy.address)
        proxy.target = scene.coordinator.address
        agents = [Agent(seat) for seat in scene.seats]
        with Supervised(scene.coordinator, forked=True) as process:
            for number, (mood, seconds) in enumerate(weather.moods):
                proxy.mood = mood
                if mood == "partition":
                    proxy.end_all()
                for agent in agents if number == 0 else ():
                    agent.start()
                _wait(seconds, agents)
                if seconds and mood != "fair":
                    _wait(LONGEST_WAIT, agents, lambda: bool(proxy.done))
            for agent in agents:
                agent.join()
            process.stop()
        if not proxy.done:
            outcome.broken.append("the network did nothing")
    conclude(scene, agents, process.left, outcome)
    return outcome


def _wait(seconds: float, agents: list[Agent], enough: Callable[[], bool] = lambda: False) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not enough() and not all(agent.ended for agent in agents):
        time.sleep(0.05)
