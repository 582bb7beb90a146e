"""The campaign's basic parts on PostgreSQL: a coordinator that dies, another one that takes over, connections that end.

A real server (`testkit/postgres.py`), real agents. Two coordinators share directory and database: one serves, the other waits.
What is compared is the same as elsewhere; the server's own files and its crashes are PostgreSQL's to promise.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from testkit.coordinator import RunningCoordinator
from testkit.coordinator_process import persistently
from testkit.faults.agents import Agent
from testkit.faults.history import Held, held_by
from testkit.faults.outcomes import Outcome
from testkit.faults.random_kills import Scene, conclude, set_up
from testkit.faults.servers import Forked
from testkit.faults.supervision import Supervised
from testkit.postgres import PostgresServer, running_postgres

PART: Final = "PostgreSQL"
AGENTS: Final = 4
DATABASE: Final = "vdb"
KILLS: Final = 3
PAUSE: Final = 1.0
"""Seconds between two deaths of a coordinator."""

DROPS: Final = 12
DROP_PAUSE: Final = 0.25
"""How often all connections to the database end, and seconds between."""

DIES: Final = "the coordinator dies"
TAKEN_OVER: Final = "the coordinator dies and the one that waits takes over"
DROPPED: Final = "connections to the database end again and again"
FAULTS: Final = (DIES, TAKEN_OVER, DROPPED)


def suffer(fault: str, folder: Path) -> Outcome:
    """Return what becomes of a session."""
    outcome = Outcome(PART, fault)
    with running_postgres() as server:
        scene = set_up(folder, agents=AGENTS, database=server.database(DATABASE))
        agents = [Agent(seat) for seat in scene.seats]
        if fault == TAKEN_OVER:
            left = _taken_over(scene.coordinator, agents, outcome, folder)
        else:
            left = _alone(fault, scene, agents, outcome, server)
        conclude(scene, agents, left, outcome)
    return outcome


def _alone(fault: str, scene: Scene, agents: list[Agent], outcome: Outcome, server: PostgresServer) -> list[Held]:
    with Supervised(scene.coordinator, forked=True) as process:
        for agent in agents:
            agent.start()
        for _ in range(KILLS if fault == DIES else DROPS):
            time.sleep(PAUSE if fault == DIES else DROP_PAUSE)
            if fault == DROPPED:
                server.drop_connections(DATABASE)
            elif not all(agent.ended for agent in agents):
                process.kill()
        for agent in agents:
            agent.join()
        process.stop()
    outcome.deaths, outcome.recovery = process.deaths, process.recovery
    return process.left


def _taken_over(coordinator: RunningCoordinator, agents: list[Agent], outcome: Outcome, folder: Path) -> list[Held]:
    """Kill whoever serves, again and again; somebody always waits to take over."""
    left = list[Held]()
    with ExitStack() as stack:
        logs = [folder / f"coordinator-{number}.log" for number in range(KILLS + 1)]
        serving = _started(coordinator, logs[0], stack)
        serving.wait_until_it_listens()
        for agent in agents:
            agent.start()
        for log in logs[1:]:
            waiting = _started(coordinator, log, stack)
            persistently(lambda log=log: _says_that_it_waits(log))  # type: ignore[misc]  # bound where it is made
            time.sleep(PAUSE / 2)
            coordinator.home.bound.unlink()
            serving.kill()
            died = time.monotonic()
            left.append(held_by(coordinator.home))
            waiting.wait_until_it_listens()
            outcome.deaths += 1
            outcome.recovery = max(outcome.recovery, time.monotonic() - died)
            serving = waiting
        for agent in agents:
            agent.join()
        serving.stop()
    return left


def _started(coordinator: RunningCoordinator, log: Path, stack: ExitStack) -> Forked:
    process = Forked(coordinator, log)
    stack.callback(lambda: process.kill() if process.runs() else None)
    return process


def _says_that_it_waits(log: Path) -> None:
    if "waiting to take over" not in log.read_text(errors="replace"):
        raise OSError("it does not wait yet")
