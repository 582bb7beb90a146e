"""Messages between journal and link: recorded before they are sent, sent until acknowledged, never sent in two versions.

Promises that what `keep` returned from is durable, that a replay which comes to another message stops instead of sending it,
and that an acknowledged message is not sent again.

Source: protos/README.md §12.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from vdb_participant.network.link import Link
from vdb_participant.site.journal import Journal
from vdb_shared.errors import ProtocolError, RoundsRestartedError, SessionAbortedError, StoreError
from vdb_shared.wire.spoken import ended
from vdb_shared.wire.status import Phase, SessionStatus

SENT: Final = "/sent"
ACKNOWLEDGED: Final = "/acknowledged"
"""Ends the name of the record that a coordinator has acknowledged a message."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Correspondence:
    """One session's messages.

    Attributes:
        journal: of the session.
        link: the coordinator.
        session: session id.
    """

    journal: Journal
    link: Link
    session: str

    def wait(self, phase: Phase) -> SessionStatus:
        """Return once the session has reached a phase or gone beyond it, in whatever attempt.

        Raises:
            SessionAbortedError: it was aborted.
        """
        return going_on(self.link.wait(self.session, phase))

    def wait_in(self, attempt: int, phase: Phase) -> SessionStatus:
        """Return once the session has reached a phase of an attempt or gone beyond it in this attempt.

        Raises:
            SessionAbortedError: it was aborted.
            RoundsRestartedError: it is in a later attempt.
            ProtocolError: it is back in an earlier one.
        """
        return self.judge(self.link.wait(self.session, phase, attempt), attempt)

    def judge(self, status: SessionStatus, attempt: int) -> SessionStatus:
        """Return a status if the session goes on in this attempt; raises as `wait_in`."""
        going_on(status)
        if status.attempt > attempt:
            raise RoundsRestartedError(f"the rounds were restarted; they are in attempt {status.attempt}")
        if status.attempt < attempt:
            raise ProtocolError(
                f"is back in attempt {status.attempt} of the rounds after it proved the restart to {attempt}",
                peer="coordinator",
            )
        return status

    def wait_for_restart(self, attempt: int) -> SessionStatus:
        """Return once an attempt was given up for a later one, or the session has ended in it.

        Raises:
            SessionAbortedError: it was aborted.
        """
        return going_on(self.link.wait(self.session, Phase.ADVERTISING_KEYS, attempt + 1))

    def keep(self, name: str, message: bytes, *, secret: bool = False) -> None:
        """Record a message before it is sent; after a restart, check that the same one came out again.

        Raises:
            StoreError: another one came out.
        """
        if name in self.journal and self.journal.recall(name) != message:
            raise StoreError(
                f"replaying this session gave another {name.removesuffix(SENT)} message than the one recorded; "
                "was the agent updated in the middle of a session? finish it with the version that began it"
            )
        self.journal.record(name, message, secret=secret)

    def deliver(self, name: str, send: Callable[[], None]) -> None:
        """Send a recorded message unless it was acknowledged before."""
        if name not in self.journal:
            raise ValueError(f"{name} is not recorded, so it must not be sent")
        if name + ACKNOWLEDGED not in self.journal:
            send()
            self.journal.record(name + ACKNOWLEDGED, b"")

    def in_time(self, attempt: int, step: Callable[[], T]) -> T | None:
        """Return what a step returns, or None when the others have finished this attempt without it.

        Raises:
            SessionAbortedError: the step came too late, and the session has not finished.
            RoundsRestartedError: this attempt was given up.
        """
        try:
            return step()
        except SessionAbortedError:
            if self.wait_in(attempt, Phase.ACCEPTING).phase >= Phase.FINALISING:
                return None
            raise


def going_on(status: SessionStatus) -> SessionStatus:
    """Return a status of a session that was not aborted.

    Raises:
        SessionAbortedError: it was.
    """
    if status.phase is Phase.ABORTED:
        why = ended(status.reason, status.sites) or "the coordinator gave no reason"
        raise SessionAbortedError(f"the session was aborted: {why}")
    return status
