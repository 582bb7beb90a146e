"""Whole sessions of eight agents, and a coordinator, all of whom SIGKILL ends at random moments, and who are started again.

The seed chooses how many deaths there are, who dies, and when; in one session of four somebody stays dead until the others
have ended, and in one of eight the coordinator dies alone, again and again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testkit.coordinator import RunningCoordinator
from testkit.crowd import crowd
from testkit.faults.agents import Agent, Seat, place_of
from testkit.faults.forks import AGENTS, SMALLEST
from testkit.faults.history import (
    Held,
    broken_agents,
    broken_growth,
    broken_result,
    broken_store,
    held_by,
    published_bundle,
)
from testkit.faults.outcomes import Outcome
from testkit.faults.supervision import Supervised
from testkit.institutions import session_spec, write_prompts, write_site
from vdb_coordinator.serving.clock import Clock
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import RESULT, SPEC, read_envelope
from vdb_shared.bundle.statement import Result, parse_statement
from vdb_shared.canonical import sha256_digest
from vdb_shared.spec import Deadlines, parse_spec_json
from vdb_shared.wire.status import Phase

PART: Final = "random kills"

PATIENT: Final = Deadlines(joining=3600, computing=3600, round=3600, countersigning=3600)
"""Nobody is given up: whoever dies comes back."""

IMPATIENT: Final = Deadlines(joining=10, computing=10, round=8, countersigning=8)
"""For sessions in which somebody stays dead."""


@dataclass(frozen=True)
class Plan:
    """Who dies when.

    Attributes:
        seed: that chose it.
        kills: pauses in seconds and who dies after them, a seat or None for the coordinator.
        stays_dead: who does not come back from its first death before the end; None if all do.
    """

    seed: int
    kills: tuple[tuple[float, int | None], ...]
    stays_dead: int | None

    @classmethod
    def of(cls, seed: int, agents: int = AGENTS) -> Plan:
        """Return what a seed chooses."""
        dice = random.Random(f"kills {seed}")  # noqa: S311 (moments, no secrets)
        alone = seed % 8 == 0
        stays_dead = dice.randrange(agents) if seed % 4 == 1 else None
        kills = []
        for number in range(dice.randint(3, 4) if alone else dice.randint(4, 9)):
            who = None if alone or dice.random() < 0.25 else dice.randrange(agents)
            kills.append((dice.uniform(0.02, 1.2), stays_dead if number == 0 and stays_dead is not None else who))
        return cls(seed, tuple(kills), stays_dead)


@dataclass(frozen=True)
class Scene:
    """A consortium with an open session, and its agents.

    Attributes:
        coordinator: its directory; it does not run.
        session: id.
        seats: where the agents live.
    """

    coordinator: RunningCoordinator
    session: str
    seats: Sequence[Seat]


def set_up(
    folder: Path,
    deadlines: Deadlines = PATIENT,
    agents: int = AGENTS,
    address: str | None = None,
    clock: Clock | None = None,
    database: str | None = None,
) -> Scene:
    """Found a consortium, enrol everybody and open a session.

    Args:
        folder: an empty one.
        deadlines: of the session.
        agents: how many.
        address: that agents connect to; the coordinator's own by default.
        clock: of a coordinator that runs in this process.
        database: URL of an empty one of a server; a file by default.
    """
    coordinator = RunningCoordinator(folder / "coordinator", clock, database)
    identities = crowd(coordinator, agents)
    coordinator.start()
    try:
        spec = session_spec(folder / "models", minimum=min(SMALLEST, agents))
        session = coordinator.admin.create_session(spec.model_copy(update={"deadlines": deadlines}))
    finally:
        coordinator.stop()
    seats = []
    for number, identity in enumerate(identities):
        site = write_site(folder / identity.institution, identity, address or coordinator.address)
        seats.append(
            Seat(site.folder.path, write_prompts(folder / f"data-{number}", number), folder / "models", session)
        )
    return Scene(coordinator, session, seats)


def suffer(seed: int, folder: Path) -> Outcome:
    """Return what becomes of a session with the deaths of a seed."""
    plan, outcome = Plan.of(seed), Outcome(PART, f"8 agents seed {seed}")
    scene = set_up(folder, PATIENT if plan.stays_dead is None else IMPATIENT)
    agents = [Agent(seat) for seat in scene.seats]
    with Supervised(scene.coordinator, output=folder / "output", forked=True) as process:
        for agent in agents:
            agent.start()
        _kill(plan, process, agents)
        for agent in agents:
            if not agent.stays_dead.is_set():
                agent.join()
        for agent in agents:
            agent.stays_dead.clear()
            agent.join()
        process.stop()
    outcome.deaths, outcome.recovery = process.deaths + sum(agent.told.kills for agent in agents), process.recovery
    conclude(scene, agents, process.left, outcome)
    return outcome


def _kill(plan: Plan, process: Supervised, agents: Sequence[Agent]) -> None:
    for pause, victim in plan.kills:
        time.sleep(pause)
        if all(agent.ended or agent.stays_dead.is_set() for agent in agents):
            return
        if victim is None:
            process.kill()
            continue
        if victim == plan.stays_dead:
            agents[victim].stays_dead.set()
        agents[victim].kill()


def conclude(
    scene: Scene, agents: Sequence[Agent], left: Sequence[Held], outcome: Outcome, *, may_refuse: bool = False
) -> None:
    """Compare what everybody wrote down, and say how the session ended; `may_refuse` as in `broken_agents`."""
    coordinator, last = scene.coordinator, held_by(scene.coordinator.home)
    phase = Phase(last.phase[scene.session])
    outcome.broken += [*broken_store(coordinator), *broken_growth(left, last)]
    survivors = None
    if phase is Phase.PUBLISHED:
        bundle = published_bundle(coordinator, scene.session)
        result, _ = parse_statement(read_envelope(read_archive(bundle), RESULT).payload, Result)
        survivors = frozenset(one.seat for one in coordinator.identities if one.institution in result.survivors)
        spec = parse_spec_json(read_archive(bundle)[SPEC])
        counted = {place_of(spec, seat): int(seat in survivors) for seat in range(len(agents))}
        outcome.broken += broken_result(coordinator, bundle, counted)
        kept = {agent.told.words for agent in agents if agent.told.end == "published"}
        if kept - {sha256_digest(bundle)}:
            outcome.broken.append("an institution kept another result than the coordinator published")
        outcome.ended = f"published by {len(survivors)} of {len(agents)}"
    elif phase is Phase.ABORTED:
        outcome.ended = "aborted, all were told why"
    else:
        outcome.broken.append(f"the session stands still in phase {phase.name}")
    outcome.broken += broken_agents(agents, coordinator.home, survivors, may_refuse=may_refuse)
