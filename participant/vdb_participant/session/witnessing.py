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
from typing import Final

from vdb_participant.session.correspondence import Correspondence, going_on
from vdb_participant.session.terms import COORDINATOR, Opening
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.bundle.witnessed import log_key, witness_name
from vdb_shared.errors import FormatError, ProtocolError, SignatureError, UnreachableError
from vdb_shared.transparency.checkpoint import Checkpoint, cosign, read_checkpoint
from vdb_shared.transparency.merkle import check_consistency, check_inclusion, leaf_hash
from vdb_shared.transparency.note import NoteSigner
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.wire.status import LogView, Phase, SessionStatus

LOOKS: Final = 10
"""How often two answers are asked for until they are of one size, while the log grows."""


@dataclass(frozen=True, slots=True)
class Witness:
    """This site as a witness, in one session.

    Attributes:
        post: the session's journal and link.
        opening: the session, verified.
        seen: what the site saw of the log so far.
        signer: its statement key.
        clock: POSIX seconds.
    """

    post: Correspondence
    opening: Opening
    seen: SeenLog
    signer: NoteSigner = field(repr=False)
    clock: Callable[[], float] = time.time

    def look(self) -> int:
        """See the newest log, sign that we saw it, and return its size.

        Raises:
            ProtocolError: it does not continue what we saw before, or does not hold our session.
            StoreError: it cannot be remembered; nothing was signed.
        """
        with self.seen.held() as held:
            before = held.checkpoint
            view = self._view(before.size if before else 0)
            now = self._read(view)
            if before is not None:
                self._check_grown(before, now, view.consistency, (held.note, view.checkpoint))
            held.remember(view.checkpoint)
        name = witness_name(self.opening.roster.consortium, self.opening.member.institution)
        signed = cosign(now, name, self.signer, int(self.clock()))
        self.post.link.cosign(self.post.session, now.size, signed.value)
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
        other = self._checkpoint(note)
        with self.seen.held() as held:
            known = held.checkpoint
            if known is None:
                raise ProtocolError("we have seen nothing of its log", peer=COORDINATOR)
            for _ in range(LOOKS):
                from_other, from_known = self._view(other.size), self._view(known.size)
                latest, same = self._read(from_other), self._read(from_known)
                self._check_grown(other, latest, from_other.consistency, (note, from_other.checkpoint))
                self._check_grown(known, same, from_known.consistency, (held.note, from_known.checkpoint))
                if latest.size == same.size:
                    self._check_same(latest, same, (note, from_other.checkpoint, held.note, from_known.checkpoint))
                    return
        raise UnreachableError(f"the log grew {LOOKS} times while we compared two answers of it; run again")

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

    def _view(self, size: int) -> LogView:
        return self.post.link.log_view(self.post.session, size)

    def _checkpoint(self, note: bytes) -> Checkpoint:
        try:
            return read_checkpoint(note, log_key(self.opening.roster))[0]
        except (FormatError, SignatureError) as error:
            raise ProtocolError(f"its log is not this consortium's: {error}", peer=COORDINATOR) from error

    def _read(self, view: LogView) -> Checkpoint:
        """Return the checkpoint of a view, after a check that our session stands in that log."""
        found = self._checkpoint(view.checkpoint)
        try:
            check_inclusion(leaf_hash(self.opening.entry), view.index, found.size, view.inclusion, found.root)
        except FormatError as error:
            raise ProtocolError(f"its log does not say that this session is open: {error}", peer=COORDINATOR) from error
        return found

    def _check_grown(
        self, old: Checkpoint, new: Checkpoint, proof: tuple[bytes, ...], notes: tuple[bytes, ...]
    ) -> None:
        try:
            check_consistency(old.size, old.root, new.size, new.root, proof)
        except FormatError as error:
            raise self._forked(str(error), notes) from error

    def _check_same(self, one: Checkpoint, other: Checkpoint, notes: tuple[bytes, ...]) -> None:
        if one.root != other.root:
            raise self._forked(f"two logs of {one.size} entries", notes)

    def _forked(self, problem: str, notes: tuple[bytes, ...]) -> ProtocolError:
        kept = self.seen.keep_evidence(notes)
        return ProtocolError(
            f"shows another log than before ({problem}); the signed notes are in {kept}: compare them with what other "
            "institutions hold",
            peer=COORDINATOR,
        )
