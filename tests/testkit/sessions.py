"""Whole sessions of real agents against a running coordinator, each agent in a thread or a process of its own."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

from testkit.coordinator import RunningCoordinator
from testkit.institutions import Institution, program_of, session_spec, write_prompts, write_site
from vdb_participant.agent import Outcome
from vdb_participant.session.preparation import Resources
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.ledger import Ledger
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import VdbError
from vdb_shared.spec import Deadlines

SITES = 4
TESTS = Path(__file__).parents[1]


class Runs:
    """Agents in threads of their own, and what became of them."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.errors: dict[str, VdbError] = {}
        self._threads: list[threading.Thread] = []

    def start(self, *institutions: Institution) -> None:
        for institution in institutions:
            self._threads.append(threading.Thread(target=self._run, args=[institution], daemon=True))
            self._threads[-1].start()

    def _run(self, institution: Institution) -> None:
        name = institution.site.config.institution
        try:
            self.outcomes[name] = institution.take_part()
        except VdbError as error:
            self.errors[name] = error

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "an agent hangs"


def consortium(
    coordinator: RunningCoordinator,
    path: Path,
    *,
    mechanism: str = "distributed-discrete-gaussian",
    minimum: int = SITES,
    round_seconds: int = 30,
    waiting_seconds: int = 60,
) -> list[Institution]:
    """Open a session and give every institution a state folder, data and stand-ins for weights."""
    spec = session_spec(path / "models", mechanism=mechanism, minimum=minimum)
    deadlines = Deadlines(
        joining=waiting_seconds, computing=waiting_seconds, round=round_seconds, countersigning=round_seconds
    )
    session = coordinator.admin.create_session(spec.model_copy(update={"deadlines": deadlines}))
    found = []
    for number, identity in enumerate(coordinator.identities):
        site = write_site(path / identity.institution, identity, coordinator.address)
        data = write_prompts(path / f"data-{number}", number)
        resources = Resources(data, path / "models", allow_unnoised=mechanism == "none")
        found.append(Institution(site, resources, session))
    return found


def kinds(institution: Institution) -> list[str]:
    """Return what the institution's ledger holds."""
    with Ledger(institution.site.folder.ledger) as ledger:
        return [entry.kind for entry in ledger.chain()]


def journal_of(institution: Institution) -> dict[str, str]:
    """Return the kinds of the journal's records by name."""
    data = (institution.folder / "journal").read_bytes()
    return {record.name: record.kind for record in read_journal(data, digest_bytes(institution.session)).records}


def recorded(institution: Institution, name: str) -> bytes:
    """Return what the journal holds under a name."""
    data = (institution.folder / "journal").read_bytes()
    records = read_journal(data, digest_bytes(institution.session)).records
    return next(record.value for record in records if record.name == name)


def wait_for_journal(institution: Institution, record: str) -> None:
    """Wait until the agent has recorded something."""
    for _ in range(1200):
        if (institution.folder / "journal").exists() and record in journal_of(institution):
            return
        time.sleep(0.05)
    raise AssertionError(f"{record} was never recorded")


def run_with_failpoint(institution: Institution, setting: str) -> int:
    """Run an agent in a process of its own with VDB_FAILPOINTS set; return the exit status."""
    environment = os.environ | {
        "VDB_FAILPOINTS": setting,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(program_of(institution), env=environment, capture_output=True, text=True, check=False)
    return done.returncode
