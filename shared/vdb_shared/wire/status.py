"""Plain values of the session services: phases, statuses, receipts.

Source: protos/README.md §11.3.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vdb_shared.roster import SignedRoster
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat


class Phase(enum.IntEnum):
    """How far a session is; the numbers are the wire's."""

    ACCEPTING = 1
    ADVERTISING_KEYS = 2
    SHARING_KEYS = 3
    MASKING_INPUT = 4
    CONSISTENCY = 5
    UNMASKING = 6
    FINALISING = 7
    PUBLISHED = 8
    ABORTED = 9

    @property
    def ended(self) -> bool:
        """Whether nothing will follow."""
        return self in (Phase.PUBLISHED, Phase.ABORTED)

    @property
    def words(self) -> str:
        """The phase as logs and records name it: "sharing keys"; what people are told is in `spoken.py`."""
        return self.name.lower().replace("_", " ")


ROUND_STAGES: Final = (
    "advertised keys",
    "shared keys",
    "sent its masked input",
    "signed the survivors",
    "revealed shares",
)
"""How far an institution is after each of the five rounds, in their order, as a coordinator says it."""


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """How far one institution is: "joined", "shared keys"; beside it what it says: "joined, says: generating 12/36"."""

    institution: str
    seat: Seat
    stage: str


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """How far a session is.

    Attributes:
        phase: the phase.
        event: number of the last durable event, from 1.
        reason: why the session was aborted, else "".
        sites: the institutions, in order of seat.
        attempt: how often the rounds were restarted.
        witness: entries of the log that those who joined are asked to witness now, else 0.
    """

    phase: Phase
    event: int
    reason: str
    sites: tuple[SiteStatus, ...]
    attempt: int = 0
    witness: int = 0

    def reached(self, phase: Phase, attempt: int = 0) -> bool:
        """Return whether a session is in this phase of this attempt, or beyond."""
        return (self.attempt, self.phase) >= (attempt, phase)


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One line of the list of sessions.

    Attributes:
        session: its id.
        title: as in its spec.
        phase: the phase.
        withdrawn: whether its result was published and is withdrawn; False from a coordinator of protocol 1.0.
    """

    session: str
    title: str
    phase: Phase
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class SessionDetails:
    """Everything a member needs to decide: spec bytes, opening envelope bytes, signed roster, status."""

    session: str
    spec: bytes
    open: bytes
    roster: SignedRoster
    status: SessionStatus


@dataclass(frozen=True, slots=True)
class Receipt:
    """Acknowledges a submission after it is durable: its submission digest (32 bytes) and the event that records it."""

    digest: bytes
    event: int


@dataclass(frozen=True, slots=True)
class Shares:
    """Round 1 as one participant is sent it: all signed headers, and what was dealt to it, by dealer."""

    headers: Mapping[Seat, Signed]
    sealed: Mapping[Seat, bytes]


@dataclass(frozen=True, slots=True)
class SealedSession:
    """The seal's envelope bytes, those of the joins it names, and the proof that the opening stands in the log."""

    seal: bytes
    joins: tuple[bytes, ...]
    open_proof: bytes


@dataclass(frozen=True, slots=True)
class LogView:
    """The log as a member is shown it.

    Attributes:
        checkpoint: the newest, a signed note.
        consistency: proof that it continues the log of the size that was asked from.
        index: place of a session's opening.
        inclusion: proof of that place.
    """

    checkpoint: bytes
    consistency: tuple[bytes, ...]
    index: int
    inclusion: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of a result since it was published: envelopes of all objections, and of the withdrawal or b""."""

    objections: tuple[bytes, ...]
    withdrawal: bytes


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A member's TLS certificate chain (PEM, leaf first) and the roster it is in."""

    certificate_chain: bytes
    roster: SignedRoster
