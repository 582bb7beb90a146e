"""An agent killed at random points of its whole life, from enrolling to countersigning, and what its next start makes of it.

    PYTHONPATH=tests python -m testkit.life_kills --kills 50 --seed 1 [--report FILE] DIR

Each trial is a consortium of its own: a coordinator and three institutions that live on, and one that SIGKILL ends once, at a
moment that the seed chooses inside one of the seven stages, which take turns; then it is started again and left alone. How
long stages are is taken from a life before all, which nobody disturbs. Prints a table and returns 1 where a promise was
broken: the next start goes on and publishes, no step is generated again but those since the last checkpoint, no clip that was
kept; one contribution is in the result, one left, and the ledger holds one debit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, get_args

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.faults import warm  # noqa: F401 - the accountants remember what the others ask them again and again
from testkit.institutions import Institution, write_prompts, write_site
from testkit.life_diary import Trial, compare, diary
from testkit.life_spec import MODELS, PRIVATE, SITES, life_spec
from testkit.sessions import Runs
from testkit.whole_life import ENDS, Breach, Home, Stage, live
from vdb_participant.session.preparation import Resources
from vdb_participant.site.config import StateFolder
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.ledger import Ledger
from vdb_participant.synthetic.models import build_all
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.verify import verify
from vdb_shared.canonical import digest_bytes, sha256_digest
from vdb_shared.errors import VdbError
from vdb_shared.privacy.mechanism import decode
from vdb_shared.spec import Spec

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
VICTIM: Final = "hospital"
FORKS: Final = get_context("forkserver")
FORKS.set_forkserver_preload(["testkit.warm_lives"])

PATIENCE: Final = 120.0
"""Seconds that a life may take before it counts as standing still."""

BREACHED: Final = 10.0
"""The same for one that breaks a promise on purpose."""


@dataclass(frozen=True)
class Point:
    """When a life is killed: at a share of the time that a stage takes, after it began."""

    stage: Stage
    share: float

    @classmethod
    def of(cls, seed: int, number: int) -> Point:
        """Return the point of a trial."""
        dice = random.Random(f"life {seed} {number}")  # noqa: S311 - moments, no secrets
        return cls(STAGES[number % len(STAGES)], dice.random())


class Life:
    """A life in a process of its own.

    Attributes:
        moments: when each notice came, seconds from the beginning.
        words: of the last notice.
    """

    def __init__(self, home: Home, diary: Path) -> None:
        self.moments: dict[str, float] = {}
        self.words = ""
        self._reading, writing = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=live, args=[home, diary, writing])
        self._process.start()
        writing.close()
        self._began = time.monotonic()

    @property
    def stage(self) -> Stage | None:
        """The stage under way; None after the last."""
        return STAGES[len(self.moments)] if len(self.moments) < len(STAGES) else None

    def goes_on(self, until: Stage | None, seconds: float) -> bool:
        """Listen for so long, or until a stage begins; return whether the life goes on then."""
        end = time.monotonic() + seconds
        while until is None or self.stage != until:
            if not self._reading.poll(max(0.0, end - time.monotonic())):
                return True
            try:
                self.words = str(self._reading.recv())
            except EOFError:
                self._process.join(20)
                return False
            if (notice := self.words.partition(" ")[0]) in ENDS:
                self.moments.setdefault(notice, time.monotonic() - self._began)
        return True

    def kill(self) -> None:
        """End it."""
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(20)

    def lengths(self) -> dict[Stage, float]:
        """Return the seconds of each stage of a life that was not disturbed."""
        found, last = {}, 0.0
        for notice, stage in ENDS.items():
            found[stage], last = max(0.0, self.moments.get(notice, last) - last), self.moments.get(notice, last)
        return found


def trial(
    folder: Path, models: Path, point: Point | None, lengths: dict[Stage, float], breach: Breach = "none"
) -> Trial:
    """Let an institution live, kill it at a point, if there is one, and let it live again.

    Args:
        folder: an empty one.
        models: folder of tiny models.
        point: when it is killed; None to leave it alone.
        lengths: seconds of each stage; brought up to date by a life that is left alone.
        breach: what it does wrong.
    """
    found = Trial()
    with running_coordinator(folder, institutions=SITES - 1) as coordinator:
        spec = life_spec(models)
        home = replace(_home(coordinator, folder, models), breach=breach)
        others = Runs()
        lead = threading.Thread(target=_lead, args=[coordinator, spec, home, others, folder], daemon=True)
        lead.start()
        lives = [Life(home, folder / "diary-0")]
        if point is not None:
            if lives[0].goes_on(point.stage, PATIENCE) and lives[0].goes_on(None, point.share * lengths[point.stage]):
                found.stage = lives[0].stage or ""
                lives[0].kill()
            lives.append(Life(home, folder / "diary-1"))
        if lives[-1].goes_on(None, PATIENCE if breach == "none" else BREACHED):
            lives[-1].kill()
            found.broken.append(f"stood still in the stage {lives[-1].stage}")
        if point is None:
            lengths |= lives[0].lengths()
        if found.broken or not lives[-1].words.startswith("published"):
            found.broken.append(f"did not publish; its last words are {lives[-1].words!r}")
            coordinator.admin.abort_session(home.session.read_text(), "an institution does not come back")
        lead.join(PATIENCE)
        others.join()
        found.broken += [f"{name}: {error}" for name, error in others.errors.items()]
        bundles = {outcome.bundle.read_bytes() for outcome in others.outcomes.values()}
        found.broken += _broken(coordinator, spec, home, lives[-1].words, bundles)
    compare(found, diary(folder / "diary-0"), diary(folder / "diary-1"))
    return found


def _home(coordinator: RunningCoordinator, folder: Path, models: Path) -> Home:
    invitation = folder / f"{VICTIM}.invitation"
    invitation.write_bytes(coordinator.admin.invite(VICTIM))
    data = write_prompts(folder / "data", SITES, PRIVATE)
    return Home(folder / VICTIM, invitation, folder / "session", data, models, MODELS[-1])


def _lead(coordinator: RunningCoordinator, spec: Spec, home: Home, others: Runs, folder: Path) -> None:
    """Approve the newcomer when it asks, open the session, and let the other institutions join it."""
    while not (waiting := [line for line in coordinator.admin.enrolments() if line.fingerprint and line.seat is None]):
        time.sleep(0.02)
    coordinator.admin.approve(VICTIM, waiting[0].fingerprint)
    session = coordinator.admin.create_session(spec)
    for number, identity in enumerate(coordinator.identities):
        site = write_site(folder / identity.institution, identity, coordinator.address)
        data = write_prompts(folder / f"data-{number}", number, PRIVATE)
        others.start(Institution(site, Resources(data, home.models), session))
    partial = home.session.with_suffix(".partial")
    partial.write_text(session)
    partial.replace(home.session)


def _broken(coordinator: RunningCoordinator, spec: Spec, home: Home, words: str, bundles: set[bytes]) -> Iterator[str]:
    """Yield which promises were broken, by what everybody wrote down."""
    if len(bundles) != 1:
        yield f"the other institutions keep {len(bundles)} results"
        return
    (bundle,) = bundles
    if words != f"published {sha256_digest(bundle)}":
        yield f"its last words are {words!r}, not that it published the result of the others"
    try:
        verify(bundle, root=coordinator.root_fingerprint).require()
    except VdbError as error:
        yield f"the result does not verify: {error}"
    evidence = Evidence(bundle, root=None, policy=DEFAULT_POLICY, draft=False)
    total = decode(evidence.terms.layout, evidence.terms.calibration, evidence.totals)
    for model in MODELS:
        if (made := total[f"public/{model}/count"].tolist()) != [len(spec.prompts), 0.0]:
            yield f"of {len(spec.prompts)} public clips of {model} the sum counts {made}"
    yield from _broken_site(home)


def _broken_site(home: Home) -> Iterator[str]:
    state = StateFolder(home.state)
    with Ledger(state.ledger) as ledger:
        if (kinds := [entry.kind for entry in ledger.verify()]) != ["debit"]:
            yield f"the ledger says {kinds}"
    vectors = {
        item.departure.digest for item in EgressJournal(state.egress).read().entries if item.departure.kind == "vector"
    }
    if len(vectors) != 1:
        yield f"{len(vectors)} different masked inputs left"
    session = home.session.read_text()
    journal = read_journal((state.session(session) / "journal").read_bytes(), digest_bytes(session)).records
    if secret := [record.name for record in journal if record.kind == "secret"]:
        yield f"{secret[0]} can still be read"


@dataclass
class Findings:
    """All trials of a campaign.

    Attributes:
        seed: that chose the points.
        lengths: seconds of each stage of the undisturbed life.
        trials: in order; the first of them is the undisturbed one.
    """

    seed: int
    lengths: dict[Stage, float] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Lives that were killed."""
        return sum(bool(one.stage) for one in self.trials)

    @property
    def broken(self) -> list[str]:
        """Promises that were broken, with the trial in which they were."""
        return [f"trial {number}: {words}" for number, one in enumerate(self.trials) for words in one.broken]

    def table(self) -> str:
        """Return what was found by stage, in Markdown."""
        lines = [
            "| killed in | lives | steps computed | again, most of a clip | clips again | outcome |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
        ]
        for stage in STAGES:
            some = [one for one in self.trials if one.stage == stage]
            broken = "; ".join(words for one in some for words in one.broken)
            most, clips = max((one.steps_again for one in some), default=0), sum(one.clips_again for one in some)
            outcome = f"BROKEN: {broken}" if broken else "all went on and published" if some else "none was killed here"
            steps = sum(one.steps for one in some)
            lines.append(f"| {stage} | {len(some)} | {steps} | {most} | {clips} | {outcome} |")
        return "\n".join(lines) + "\n"


def campaign(folder: Path, kills: int, seed: int) -> Findings:
    """Kill so many lives and return what was found; a life that ended before its moment is made up for."""
    models, found, number = folder / "models", Findings(seed), 0
    build_all(models)
    found.trials.append(_in_scratch(folder, models, None, found.lengths))
    while found.kills < kills and number < 2 * kills:
        found.trials.append(_in_scratch(folder, models, Point.of(seed, number), found.lengths))
        sys.stderr.write(f"{number} {asdict(found.trials[-1])}\n")
        number += 1
    return found


def _in_scratch(folder: Path, models: Path, point: Point | None, lengths: dict[Stage, float]) -> Trial:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        return trial(Path(place), models, point, lengths)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; return 1 when a promise is broken or too few lives could be killed."""
    parser = argparse.ArgumentParser(description="Kill an agent at random points of its whole life.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="also write what was found here, as JSON")
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    found = campaign(chosen.folder, chosen.kills, chosen.seed)
    facts: dict[str, Any] = asdict(found) | {"kills": found.kills, "broken": found.broken}
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(facts, indent=1) + "\n")
    sys.stdout.write(found.table())
    return 0 if found.kills == chosen.kills and not found.broken else 1


if __name__ == "__main__":
    sys.exit(main())
