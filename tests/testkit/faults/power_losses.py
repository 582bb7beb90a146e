"""Power cuts in the middle of a session: what its disks may hold then, and whether coordinator and agents come up on it.

strace records what a coordinator's process and real agents do to their folders in a whole session, and when they said
something. Each replay cuts the power of one of them after one operation, with everything lost that was not synced, or some of
it (`disks.py`). The coordinator must then start, be sound, and hold every receipt that it gave and every log that somebody
signed; an agent must still know what it sent, signed and paid. Some replays go on: whoever lost power, and all the others as
they were at that moment, play the session to its end.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from testkit.coordinator import RunningCoordinator
from testkit.faults import tracing
from testkit.faults.agents import Agent
from testkit.faults.disks import Chance, Disk, Operation, write_out
from testkit.faults.history import (
    SUBMITTED_KINDS,
    Site,
    broken_store,
    checkpoint_in,
    held_by,
    not_a_beginning,
    published_bundle,
    submitted,
)
from testkit.faults.outcomes import Outcome
from testkit.faults.random_kills import Scene, conclude, set_up
from testkit.faults.supervision import Supervised
from testkit.faults.traced import SAID, SCENE
from vdb_participant.session import records
from vdb_participant.session.exchange import LEAVING
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.site.config import StateFolder
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Departure
from vdb_participant.site.journal import Journal
from vdb_participant.site.seen_log import SeenLog
from vdb_participant.site.storage import FileStorage
from vdb_shared.canonical import digest_bytes, sha256_digest
from vdb_shared.errors import VdbError
from vdb_shared.transparency.tiles import CHECKPOINT_PATH

PART: Final = "power losses"
AGENTS: Final = 4
TESTS: Final = Path(__file__).parents[2]
COORDINATOR: Final = "coordinator"

TORN: Final = "the journal is damaged"
"""What an agent says of a journal whose last record has later sectors and not earlier ones. Nobody can tell that from damage to
a record that was used, so it sends nothing more; with the unsynced sectors gone altogether it must come up."""

Said = Sequence[Sequence[str]]
"""Lines that were said before a cut: seat, what, and of what."""


@dataclass(frozen=True)
class Recording:
    """A session that was traced.

    Attributes:
        scene: where it happened; everything there is as the session's end left it.
        before: a copy of the scene's folder from before.
        operations: on it, in order.
    """

    scene: Scene
    before: Path
    operations: Sequence[Operation]

    @cached_property
    def disk(self) -> Disk:
        """The disk from before."""
        return Disk.of(self.before)

    def moments(self, whose: str) -> list[int]:
        """Return the numbers of the operations on one folder, and of what was said."""
        return [
            number
            for number, operation in enumerate(self.operations)
            if operation.kind == "say" or operation.path.startswith(f"{whose}/")
        ]


def record(strace: str, folder: Path, agents: int = AGENTS) -> Recording:
    """Play a session under strace, in an empty folder.

    Raises:
        AssertionError: it did not end as it should.
    """
    place = folder.resolve()
    inside, before, log = place / "scene", place / "before", place / "strace"
    inside.mkdir()
    scene = set_up(inside, agents=agents)
    shutil.copytree(inside, before)
    (place / SCENE).write_bytes(pickle.dumps((scene.coordinator.home.path, scene.coordinator.address, scene.seats)))
    program = tracing.command(strace, log, [sys.executable, "-m", "testkit.faults.traced", str(place)])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise AssertionError(f"the session that was traced did not end well: {done.stderr[-2000:]}")
    with log.open() as lines:
        return Recording(scene, before, list(tracing.operations(lines, inside, place / SAID, before)))


@dataclass(frozen=True)
class Cut:
    """A power cut: whose, after which operation, and how much of what was not synced survives."""

    whose: str
    after: int
    chance: Chance


def cuts(recording: Recording, number: int, seed: int) -> list[Cut]:
    """Return so many cuts, half of them of the coordinator; in most all is lost that was not synced, in others some of it."""
    names = [seat.folder.name for seat in recording.scene.seats]
    found = []
    for turn in range(number):
        dice = random.Random(f"cut {seed} {turn}")  # noqa: S311 (losses, no secrets)
        whose = names[turn // 2 % len(names)] if turn % 2 else COORDINATOR
        chance: Chance = dice if dice.random() < 0.4 else dice.random() < 0.1
        found.append(Cut(whose, dice.choice(recording.moments(whose)), chance))
    return found


def _disk_at(recording: Recording, cut: Cut) -> Disk:
    disk = Disk.of(recording.before)
    for operation in recording.operations[: cut.after + 1]:
        disk.do(operation)
    return disk


def suffer(recording: Recording, cut: Cut, *, go_on: bool = False) -> Outcome:
    """Return what becomes of who lost power, or with `go_on` of the session."""
    side = COORDINATOR if cut.whose == COORDINATOR else "agent"
    fault = f"{side}{', and on to the end' if go_on else ''} seed {cut.whose} after operation {cut.after}"
    outcome = Outcome(PART, fault, ended="comes up")
    memory = Path("/dev/shm")  # noqa: S108 - only to be quick; an own folder is made there
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        disk, place = _disk_at(recording, cut), Path(folder)
        said = [line.decode().split() for line in disk.said]
        try:
            if go_on:
                _play_on(recording, cut, disk, outcome, place)
            else:
                write_out(disk.after_a_cut(cut.chance, cut.whose), place / cut.whose)
                check = _coordinator if side == COORDINATOR else _agent
                outcome.broken += check(recording, place / cut.whose, said)
        except VdbError as error:
            if side != COORDINATOR and isinstance(cut.chance, random.Random) and TORN in str(error):
                outcome.ended = "stops, and says that its journal is damaged: a record was torn that was not synced yet"
                outcome.broken += suffer(recording, replace(cut, chance=False)).broken
            else:
                outcome.broken.append(f"does not come up: {error}")
        outcome.broken = [words.replace(folder, "") for words in outcome.broken]
    if outcome.broken:
        operation = recording.operations[cut.after]
        outcome.broken.insert(0, f"{cut.whose} after {cut.after} ({operation.kind} {operation.path})")
    return outcome


def _coordinator(recording: Recording, place: Path, said: Said) -> Iterator[str]:
    session = recording.scene.session
    coordinator = RunningCoordinator(place)
    coordinator.start()
    coordinator.stop()
    yield from broken_store(coordinator)
    last = held_by(coordinator.home)
    seen = checkpoint_in(coordinator.home.log / CHECKPOINT_PATH)
    yield from not_a_beginning(seen, last, "its own checkpoint")
    for seat, what, *words in said:
        if what == "receipt" and last.receipts.get((session, int(seat), words[0])) != bytes.fromhex(words[1]):
            yield f"seat {seat}: {words[0]} was acknowledged, and is not stored"
        if what == "cosigns" and (seen is None or seen.size < int(words[0])):
            yield f"seat {seat} signed a log of {words[0]} entries, which is shorter now"
        if what == "kept" and sha256_digest(published_bundle(coordinator, session)) != words[0]:
            yield f"seat {seat} keeps another result than is published now"


def _agent(recording: Recording, place: Path, said: Said) -> Iterator[str]:
    seat = next(number for number, one in enumerate(recording.scene.seats) if one.folder.name == place.name)
    site = Site(StateFolder(place), recording.scene.session)
    mine = [words for number, *words in said if int(number) == seat]
    sent = [words[1] for words in mine if words[0] == "sends"]
    if sent or site.journal:
        path = site.folder.session(site.session) / "journal"
        Journal(FileStorage(path), digest_bytes(site.session)).close()  # mends what a replacement left behind
    with SeenLog(site.folder.log).held() as held:
        seen = held.checkpoint
    yield from _forgotten(site, mine)
    for what, *words in mine:
        if what == "cosigns" and (seen is None or seen.size < int(words[0])):
            yield f"signed a log of {words[0]} entries, and remembers less"
        if what == "kept" and sha256_digest((site.folder.session(site.session) / RESULT_FILE).read_bytes()) != words[0]:
            yield "keeps another result than before"
    EgressJournal(site.folder.egress).record(Departure("connection", "127.0.0.1:1", "goes on"))
    names = {SUBMITTED_KINDS[kind] for kind in sent}
    if LEAVING in site.journal and records.CONSENTED not in site.journal:
        yield f"knows of {names}, and not to what it consented"


def _forgotten(site: Site, mine: Said) -> Iterator[str]:
    """Yield what an agent does not know any more of what it had sent and paid when the power went."""
    journal, paid = site.journal, site.ledger
    departed = {entry.departure.what.rpartition("/")[2] for entry in EgressJournal(site.folder.egress).read().entries}
    for what, *words in mine:
        if what == "receipt" and words[0] not in departed:
            yield f"{words[0]} left, and the egress journal does not know"
        if what != "sends":
            continue
        kind, digest = words
        name = SUBMITTED_KINDS[kind]
        if name not in journal:
            yield f"{kind} was sent, and the journal does not know"
        elif submitted(name, journal[name]) not in (None, bytes.fromhex(digest)):
            yield f"{kind} was sent in other bytes than the journal knows"
        if kind == "UploadMaskedInput" and (LEAVING not in journal or paid != ["debit"]):
            yield f"the masked input was sent, and the ledger says {paid}"
        if kind == "Countersign" and any(record.kind == "secret" for record in journal.values()):
            yield "the result was countersigned, and secrets can be read"


def _play_on(recording: Recording, cut: Cut, disk: Disk, outcome: Outcome, place: Path) -> None:
    """Start everybody again after one of them lost power, and compare what they wrote down after the session's end."""
    for name in (COORDINATOR, *(seat.folder.name for seat in recording.scene.seats)):
        write_out(disk.after_a_cut(cut.chance if name == cut.whose else True, name), place / name)
    coordinator = RunningCoordinator(place / COORDINATOR)
    coordinator.address = recording.scene.coordinator.address
    coordinator.identities = recording.scene.coordinator.identities
    scene = Scene(
        coordinator,
        recording.scene.session,
        [replace(seat, folder=place / seat.folder.name) for seat in recording.scene.seats],
    )
    agents = [Agent(seat) for seat in scene.seats]
    left = held_by(coordinator.home)
    with Supervised(coordinator, forked=True) as process:
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.join()
        process.stop()
    conclude(scene, agents, [left], outcome)
