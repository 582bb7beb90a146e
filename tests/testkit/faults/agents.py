"""Agents as processes of their own that may be killed: the agent's whole session code, with a vector that is given.

Each life is forked from a server that has loaded the program once (multiprocessing's forkserver), so that a campaign can afford
thousands of them. Whoever dies, or is told to run again, is started again until the session has ended for it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Literal

import numpy as np

from testkit.faults.forks import FORKS, begin, exit_status
from testkit.institutions import Institution, chosen_manifest, chosen_samples, chosen_statistics, no_passphrase
from vdb_participant.agent import Request, take_part
from vdb_participant.data.dataset import Dataset
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection as Channel
from vdb_participant.session.contribution import private_lanes
from vdb_participant.session.preparation import Resources
from vdb_participant.session.progress import Progress
from vdb_participant.session.records import Consented, Measured
from vdb_participant.session.samples import SAMPLES_FILE
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.config import StateFolder
from vdb_participant.site.failpoints import parse_failpoints
from vdb_participant.site.institution import Site, open_site
from vdb_participant.site.storage import write_durably
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import SessionAbortedError, StoreError, UnreachableError, VdbError, VerificationError
from vdb_shared.layout import layout_of
from vdb_shared.privacy.mechanism import encode, uniform_bytes_needed
from vdb_shared.spec import Spec

End = Literal["published", "told", "again", "refused", "broken"]
"""published: with a result; told: the session ended without one, or without us, and why; again: to be run again; refused: the
draft failed the audit; broken: an error that no fault of ours explains."""

PATIENCE: Final = 150.0
"""Seconds after which an agent that has not ended counts as standing still."""


@dataclass(frozen=True)
class Seat:
    """Where an agent lives.

    Attributes:
        folder, data, models, session: as `vdb-participant` would be told them.
    """

    folder: Path
    data: Path
    models: Path
    session: str

    @classmethod
    def of(cls, institution: Institution) -> Seat:
        """Return where an institution's agent lives."""
        resources = institution.resources
        return cls(institution.site.folder.path, resources.data, resources.models, institution.session)


@dataclass
class Told:
    """How an agent's session ended for it.

    Attributes:
        end: how.
        words: the bundle's digest, or the error.
        lives: it took.
        kills: that ended a life.
    """

    end: End | None = None
    words: str = ""
    lives: int = 0
    kills: int = 0


class Agent:
    """One institution's agent, life after life, in a thread that starts them.

    Attributes:
        told: how it ended.
        stays_dead: while set, no new life begins.
    """

    def __init__(self, seat: Seat, *, failpoints: str = "") -> None:
        self.seat, self.told = seat, Told()
        self.stays_dead = threading.Event()
        self._failpoints, self._end = failpoints, 0.0
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._end = time.monotonic() + PATIENCE
        self._thread.start()

    def kill(self) -> bool:
        """Kill the present life, if there is one; return whether there was."""
        with self._lock:
            if self._pid is None:
                return False
            try:
                os.kill(self._pid, signal.SIGKILL)
            except ProcessLookupError:  # it ended just now, and whoever waits for it has not come round yet
                return False
            return True

    @property
    def pid(self) -> int | None:
        """The number of the present life's process, if there is one."""
        return self._pid

    @property
    def ended(self) -> bool:
        """Whether the session has ended for it."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Return when the session has ended for it, or it stands still, which `told` says."""
        self._thread.join(max(0.0, self._end - time.monotonic()))
        if not self.ended:
            self.stays_dead.set()
            self.kill()
            self._thread.join(20)
            self.told.end = None
        if self.told.end is None:
            self.told = Told("broken", f"stood still for {PATIENCE:.0f} s", self.told.lives, self.told.kills)

    def _live(self) -> None:
        while time.monotonic() < self._end:
            if self.stays_dead.is_set():
                time.sleep(0.02)
                continue
            self._once()
            if self.told.end not in (None, "again"):
                return
            time.sleep(0.05)
        self.told.end = None

    def _once(self) -> None:
        reading, writing = FORKS.Pipe(duplex=False)
        first = self.told.lives == 0
        process = FORKS.Process(target=_life, args=[self.seat, self._failpoints if first else "", writing])
        with self._lock:
            begin(process)
            self._pid = process.pid
        writing.close()
        self.told.lives += 1
        try:
            self.told.end, self.told.words = reading.recv()
        except EOFError:
            self.told.end, self.told.words = None, ""
        status = exit_status(process, 20)
        with self._lock:
            self._pid = None
        if status is None:
            process.kill()
            self.told.end, self.told.words = "broken", "its process did not end"
        elif status == -signal.SIGKILL:
            self.told.kills += 1
        elif status:
            self.told.end, self.told.words = "broken", f"exit status {status}"


def _life(seat: Seat, failpoints: str, told: Connection) -> None:
    told.send(live(seat, failpoints))


def live(seat: Seat, failpoints: str = "") -> tuple[End, str]:
    """Take part until it ends, one way or another, and return how."""
    try:
        site = open_site(StateFolder(seat.folder), no_passphrase)
        request = Request(
            seat.session,
            Resources(seat.data, seat.models),
            lambda _plan: None,
            failpoints=parse_failpoints(failpoints),
            measure=one_hot,
        )
        with Client(Channel(site.config.address, site.tls, site.egress)) as client:
            outcome = take_part(site, client, request)
    except SessionAbortedError as error:
        return "told", str(error)
    except (UnreachableError, StoreError) as error:
        return "again", str(error)
    except VerificationError as error:
        return "refused", str(error)
    except VdbError as error:
        return "broken", f"{type(error).__name__}: {error}"
    return "published", sha256_digest(outcome.bundle.read_bytes())


def one_hot(
    site: Site, sealed: SealedTerms, consented: Consented, resources: Resources, progress: Progress
) -> Measured:
    """Return the sums of our public share, and where private ones belong zeros but for a one in a place of our seat's own.

    Implements Measure; no noise is added, so that the published total shows who is in it, and how often.
    """
    del consented
    progress("measuring nothing", 1, 1)
    kept = chosen_samples(sealed, 0)
    write_durably(site.folder.session(sealed.opening.session) / SAMPLES_FILE, kept.encode())
    manifest = chosen_manifest(sealed).model_copy(update={"sample_root": kept.root})
    layout, calibration = sealed.terms.layout, sealed.terms.calibration
    entropy = os.urandom(uniform_bytes_needed(layout, calibration))
    lanes = encode(layout, calibration, chosen_statistics(sealed, 0, 0.5), entropy)
    lanes[private_lanes(layout)] = 0
    lanes[place_of(sealed.opening.spec, sealed.opening.seat)] = 1
    return Measured(lanes, manifest, Dataset.open(resources.data).private)


def place_of(spec: Spec, seat: int) -> int:
    """Return the lane in which a seat's one stands: private ones from the end."""
    return int(np.flatnonzero(private_lanes(layout_of(spec)))[-1 - seat])
