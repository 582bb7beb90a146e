"""What the agent needs of a coordinator, in plain values: the seam between the protocol and gRPC.

`client.py` implements it over mutual TLS; tests implement it in memory. Leaves meaning and checks of what comes back to the
caller: nothing that a link returns is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.wire.status import (
    LogView,
    Phase,
    SealedSession,
    SessionDetails,
    SessionStatus,
    SessionSummary,
    Shares,
)


@dataclass(frozen=True, slots=True)
class Upload:
    """The one thing that leaves: a masked vector, its signed header, and the statement that the header names.

    Attributes:
        header: signed round-2 header.
        masked: y: 8 bytes for each lane, 32 for each blinder.
        contribution: envelope of the contribution statement.
    """

    header: Signed
    masked: bytes = field(repr=False)
    contribution: bytes = field(repr=False)


class Link(Protocol):
    """A coordinator.

    Every method raises UnreachableError when it cannot be reached for as long as the implementation is patient,
    SessionAbortedError when the session has ended or no longer waits for this site, and ProtocolError when the answer
    makes no sense. Submissions may be repeated with the same bytes. Methods of the rounds name the attempt that they belong
    to, from 0, and raise RoundsRestartedError when the rounds go on in a later one.
    """

    def sessions(self) -> tuple[SessionSummary, ...]:
        """Return all sessions that members may see."""

    def details(self, session: str) -> SessionDetails:
        """Return what there is to know about a session, named by its id or a unique prefix."""

    def wait(self, session: str, phase: Phase, attempt: int = 0) -> SessionStatus:
        """Return once the session has reached a phase of an attempt, or gone beyond it, or ended."""

    def wait_or_witness(self, session: str, phase: Phase, attempt: int, seen: int) -> SessionStatus:
        """Return as `wait` does, or as soon as members are asked to witness a log of more than `seen` entries."""

    def log_view(self, session: str, size: int) -> LogView:
        """Return the newest checkpoint of the log, from a size on, and where the session's opening stands in it."""

    def cosign(self, session: str, size: int, cosignature: bytes) -> None:
        """Submit our signature of the log's checkpoint of this size."""

    def join(self, session: str, statement: bytes) -> None:
        """Submit the envelope of our join statement."""

    def seal(self, session: str) -> SealedSession:
        """Return the envelopes of the seal and of the joins that it names."""

    def report(self, session: str, stage: str, done: int, total: int) -> None:
        """Tell the lead how far we are; nothing depends on its arriving."""

    def advertise_keys(self, session: str, seat: Seat, attempt: int, keys: Signed) -> None:
        """Submit our round-0 message."""

    def advertised_keys(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        """Return the round-0 messages of U1."""

    def share_keys(self, session: str, seat: Seat, attempt: int, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        """Submit our round-1 header and the shares sealed for each recipient."""

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        """Return the round-1 headers of U2 and the shares sealed for our seat, by dealer."""

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        """Submit our masked input, going on where an earlier upload stopped."""

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        """Submit our complaint about a dealer, in place of a masked input."""

    def restarts(self, session: str) -> tuple[Restart, ...]:
        """Return the records of all restarts so far, in order."""

    def masked_inputs(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        """Return the round-2 headers of U3."""

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        """Submit our signature of T3."""

    def consistency(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        """Return the round-3 messages."""

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        """Submit the shares we reveal."""

    def bundle(self, session: str) -> bytes:
        """Return the result bundle: the draft while FINALISING, the published one afterwards."""

    def countersign(self, session: str, countersignature: bytes) -> None:
        """Submit the envelope with our countersignature of the result."""

    def abort(self, session: str, statement: bytes) -> None:
        """Submit the envelope of our abort statement."""
