"""The consortium's log as a coordinator shows it here, held against what this site has seen of it.

Promises that two logs which do not fit are told apart from one that grew, and that the signed notes which contradict each other
are kept. Leaves when to look, and when to sign what was seen, to `witnessing.py` and `commands/objecting.py`.

Source: protos/README.md §9.8; C2SP tlog-checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from vdb_participant.session.terms import COORDINATOR
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import FormatError, ProtocolError, SignatureError, UnreachableError
from vdb_shared.roster import Roster
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.merkle import check_consistency, check_inclusion, leaf_hash
from vdb_shared.wire.status import LogView

LOOKS: Final = 10
"""How often two answers are asked for until they are of one size, while the log grows."""


class LogSource(Protocol):
    """Who shows the log: a coordinator, or what stands for one."""

    def log_view(self, session: str, size: int) -> LogView:
        """Return the newest checkpoint of the log, from a size on, and where the session's opening stands in it."""


@dataclass(frozen=True, slots=True)
class KnownLog:
    """The log, asked for in one session.

    Attributes:
        source: shows it.
        session: in which it is asked for.
        roster: whose coordinator keeps it.
        entry: of the session's opening, which must stand in it.
        seen: what the site saw of it so far.
    """

    source: LogSource
    session: str
    roster: Roster
    entry: bytes
    seen: SeenLog

    def view(self, size: int) -> LogView:
        """Return the newest log that is shown, with the proof that it continues the one of this size."""
        return self.source.log_view(self.session, size)

    def read(self, view: LogView) -> Checkpoint:
        """Return the checkpoint of a view, after a check that our session stands in that log.

        Raises:
            ProtocolError: it does not, or the log is not this consortium's.
        """
        found = self.checkpoint(view.checkpoint)
        try:
            check_inclusion(leaf_hash(self.entry), view.index, found.size, view.inclusion, found.root)
        except FormatError as error:
            raise ProtocolError(f"its log does not say that this session is open: {error}", peer=COORDINATOR) from error
        return found

    def checkpoint(self, note: bytes) -> Checkpoint:
        """Return the checkpoint in a note.

        Raises:
            ProtocolError: the consortium's log did not sign it.
        """
        try:
            return read_checkpoint(note, log_key(self.roster))[0]
        except (FormatError, SignatureError) as error:
            raise ProtocolError(f"its log is not this consortium's: {error}", peer=COORDINATOR) from error

    def check_grown(self, old: Checkpoint, new: Checkpoint, proof: tuple[bytes, ...], notes: tuple[bytes, ...]) -> None:
        """Check that a log continues an older one.

        Raises:
            ProtocolError: it does not; the notes are kept.
        """
        try:
            check_consistency(old.size, old.root, new.size, new.root, proof)
        except FormatError as error:
            raise self._forked(str(error), notes) from error

    def same(self, one: bytes, other: bytes) -> bytes:
        """Check that two signed notes are of one log, and return the note of a log that continues both.

        Raises:
            ProtocolError: they are not, or the coordinator does not show that they are; what contradicts is kept.
            UnreachableError: the log grows too fast to be compared; running again may help.
        """
        first, second = self.checkpoint(one), self.checkpoint(other)
        for _ in range(LOOKS):
            from_first, from_second = self.view(first.size), self.view(second.size)
            latest, same = self.read(from_first), self.read(from_second)
            self.check_grown(first, latest, from_first.consistency, (one, from_first.checkpoint))
            self.check_grown(second, same, from_second.consistency, (other, from_second.checkpoint))
            if latest.size == same.size:
                if latest.root != same.root:
                    notes = (one, from_first.checkpoint, other, from_second.checkpoint)
                    raise self._forked(f"two logs of {latest.size} entries", notes)
                return from_second.checkpoint
        raise UnreachableError(f"the log grew {LOOKS} times while we compared two answers of it; run again")

    def accept(self, note: bytes, published: bytes) -> None:
        """Check that a log is the one of a published result, and the one that this site saw; then never go behind it.

        A site that has seen nothing of the log yet has the result's witnesses alone to compare with.

        Args:
            note: of the log, signed.
            published: note of the log with the result, as enough institutions witnessed it.

        Raises:
            ProtocolError, UnreachableError: as `same`.
            StoreError: what was seen cannot be read or remembered.
        """
        newest = self.same(note, published)
        with self.seen.held() as held:
            held.remember(self.same(note, held.note) if held.note else newest)

    def _forked(self, problem: str, notes: tuple[bytes, ...]) -> ProtocolError:
        kept = self.seen.keep_evidence(notes)
        return ProtocolError(
            f"shows another log than before ({problem})",
            peer=COORDINATOR,
            here=f"the signed notes are in {kept}: compare them with what other institutions hold",
        )
