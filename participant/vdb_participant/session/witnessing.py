"""Witnessing the consortium's log: this site sees that it only grows and holds our session, and signs that it saw that.

Promises that nothing is signed but the newest log seen so far, grown from all that this site saw before in any session, that
what was seen is durable before anybody hears of it, and that two logs which do not fit end the session with evidence kept.
Leaves how many witnesses suffice to coordinator and audit, which both count them.

Source: protos/README.md §9.8; C2SP tlog-witness, tlog-cosignature.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vdb_participant.session.correspondence import Correspondence, going_on
from vdb_participant.session.known_log import KnownLog
from vdb_participant.session.terms import COORDINATOR, Opening
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.bundle.witnessed import witness_name
from vdb_shared.errors import FormatError, ProtocolError
from vdb_shared.transparency.checkpoint import cosign
from vdb_shared.transparency.note import NoteSigner
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.wire.status import Phase, SessionStatus


@dataclass(frozen=True, slots=True)
class Witness:
    """This site as a witness, in one session.

    Attributes:
        post: the session's journal and link.
        opening: the session, verified.
        seen: what the site saw of the log so far.
        signer: its statement key.
        clock: POSIX seconds.
        failpoints: none outside tests.
    """

    post: Correspondence
    opening: Opening
    seen: SeenLog
    signer: NoteSigner = field(repr=False)
    clock: Callable[[], float] = time.time
    failpoints: Failpoints = field(default_factory=Failpoints)

    def look(self) -> int:
        """See the newest log, sign that we saw it, and return its size.

        Raises:
            ProtocolError: it does not continue what we saw before, or does not hold our session.
            StoreError: it cannot be remembered; nothing was signed.
        """
        with self.seen.held() as held:
            before = held.checkpoint
            view = self._log.view(before.size if before else 0)
            now = self._log.read(view)
            if before is not None:
                self._log.check_grown(before, now, view.consistency, (held.note, view.checkpoint))
            held.remember(view.checkpoint)
        self.failpoints.reach("before-cosign")
        name = witness_name(self.opening.roster.consortium, self.opening.member.institution)
        signed = cosign(now, name, self.signer, int(self.clock()))
        self.post.link.cosign(self.post.session, now.size, signed.value)
        self.failpoints.reach("after-cosign")
        return now.size

    def wait(self, phase: Phase) -> SessionStatus:
        """Return as `Correspondence.wait` does, and witness the log meanwhile whenever the session asks for it.

        Raises:
            ProtocolError: as `look`, or we are asked to witness more than we are shown.
        """
        return going_on(self._until(0, phase))

    def wait_in(self, attempt: int, phase: Phase) -> SessionStatus:
        """Return as `Correspondence.wait_in` does, and witness the log meanwhile; raises as `wait` too."""
        return self.post.judge(self._until(attempt, phase), attempt)

    def recognise(self, proof: bytes) -> None:
        """Check that a proof which others witnessed is of the log that we know.

        Raises:
            ProtocolError: it is not, or the coordinator does not show that it is.
            UnreachableError: the log grows too fast to be compared; running again may help.
        """
        try:
            note = parse_proof(proof).checkpoint
        except FormatError as error:
            raise ProtocolError(f"its proof from the log is malformed: {error}", peer=COORDINATOR) from error
        with self.seen.held() as held:
            if not held.note:
                raise ProtocolError("we have seen nothing of its log", peer=COORDINATOR)
            self._log.same(note, held.note)

    def _until(self, attempt: int, phase: Phase) -> SessionStatus:
        seen = 0
        while True:
            status = self.post.link.wait_or_witness(self.post.session, phase, attempt, seen)
            if status.phase.ended or status.reached(phase, attempt):
                return status
            seen = self.look()
            if seen < status.witness:
                raise ProtocolError(
                    f"asks us to witness {status.witness} entries of its log, and shows {seen}", peer=COORDINATOR
                )

    @property
    def _log(self) -> KnownLog:
        opening = self.opening
        return KnownLog(self.post.link, self.post.session, opening.roster, opening.entry, self.seen)
