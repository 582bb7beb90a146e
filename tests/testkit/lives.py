"""One institution's agent in the rounds, life after life: between a disk that survives it and a coordinator in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from testkit.consortium import Participants, inputs_for, parameters, signer
from testkit.crashes import Crash, Disk, MemoryLink
from vdb_participant.session.attempts import run_rounds
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.exchange import LEAVING, Exchange
from vdb_participant.session.records import in_attempt, present_attempt
from vdb_participant.site.failpoints import Failpoints, Place
from vdb_participant.site.journal import Journal
from vdb_shared.bundle.envelope import sign_envelope
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.parameters import Parameters, Seat

SEAT = 1
"""Ours."""

SEALED = parameters(5, lanes=6)
SESSION = bytes(32)


def lanes_of(measured: bytes) -> Lanes:
    """Return the lanes of what was measured."""
    return np.frombuffer(measured, dtype="<i8") >> 20


def link(sealed: Parameters = SEALED, garbage: Mapping[Seat, Seat] | None = None) -> MemoryLink:
    """Return a coordinator with all other institutions; see `MemoryLink` for garbage."""
    return MemoryLink(Participants(sealed, inputs_for(sealed)), SEAT, garbage or {})


@dataclass(frozen=True)
class DyingAt(Failpoints):
    """Ends the life that reaches a place."""

    place: Place = "after-join"

    def reach(self, place: Place) -> None:
        if place == self.place:
            raise Crash


@dataclass
class World:
    """What outlives a crash: the disk, the ledger, and the coordinator with the others.

    Attributes:
        disk: holds the journal.
        link: the coordinator and the others.
        debits: of the ledger, which is idempotent by session.
        stated: attempts for which a contribution was stated.
        sealed: the facts of the first attempt.
    """

    disk: Disk = field(default_factory=Disk)
    link: MemoryLink = field(default_factory=link)
    debits: int = 0
    stated: list[int] = field(default_factory=list)
    sealed: Parameters = SEALED

    def live(self, failpoints: Failpoints | None = None) -> None:
        """One life of the agent: fresh entropy, whatever the disk says."""
        journal = Journal(self.disk, SESSION)
        measured = journal.once("measurement", lambda: os.urandom(8 * self.sealed.lanes), secret=True)
        exchange = Exchange(
            Correspondence(journal, self.link, "session"),
            self.sealed,
            SEAT,
            signer(0, SEAT),
            failpoints=failpoints or Failpoints(),
        )

        def contribution(masked: bytes) -> bytes:
            attempt = present_attempt(journal)
            assert in_attempt(attempt, LEAVING) not in journal
            self.debits = 1
            self.stated.append(attempt)
            return sign_envelope("test", masked + os.urandom(8), signer(0, SEAT)).to_json()

        run_rounds(exchange, lanes_of(measured), contribution)

    @property
    def journal(self) -> Journal:
        """The journal as the next life would find it."""
        return Journal(Disk(self.disk.data), SESSION)

    @property
    def versions(self) -> dict[str, int]:
        """How many different messages of each kind were sent."""
        return {kind: len(versions) for kind, versions in self.link.sent.items()}
