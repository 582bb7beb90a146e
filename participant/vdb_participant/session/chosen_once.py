"""Which state of the log chose the lines that this site opens of a session: the first that it answered, for good.

A log has one such state. Whoever comes with another one shows a second log that the coordinator signed, and with enough of them
would read the whole list. Promises that the first state is durable before any line leaves, that no other one is answered, and
that two which contradict each other are kept, each with its proofs. Leaves comparing with what the site saw of the log to
`known_log.py`, and the lines to `proving.py`.

    DIR/sessions/<session>/choice.json  DIR/log/fork-<number>.txt

Source: protos/README.md §10.14, §12.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vdb_participant.session.terms import COORDINATOR
from vdb_participant.site.seen_log import SeenLog
from vdb_participant.site.storage import write_durably
from vdb_shared.bundle.sample_choice import ResultPlace, parse_choice, verify_choice
from vdb_shared.errors import ProtocolError, StoreError, VdbError
from vdb_shared.transparency.note import NoteKey

CHOICE_FILE: Final = "choice.json"
"""Beside the journal, in the folder of a session."""


@dataclass(frozen=True, slots=True)
class ChosenOnce:
    """What a site remembers of the choice in one session.

    Attributes:
        path: of the file.
        seen: what the site saw of the log; its lock keeps other processes of the site away.
        result: where the result stands in the log.
        key: of the log.
    """

    path: Path
    seen: SeenLog
    result: ResultPlace
    key: NoteKey

    def check(self, choice: bytes) -> None:
        """Check that no other state of the log was answered before.

        Raises:
            FormatError, SignatureError: the file is no choice of this log after this result.
            ProtocolError: another state was; both files are kept.
            StoreError: what was answered before cannot be read.
        """
        head, _ = verify_choice(parse_choice(choice), self.result, self.key)
        first = self._first()
        if first is None:
            return
        try:
            answered, _ = verify_choice(parse_choice(first), self.result, self.key)
        except VdbError as error:
            raise StoreError(
                f"{self.path}: {error}; restore it from a backup: without it this site may open more lines than it should"
            ) from error
        if answered != head:
            kept = self.seen.keep_evidence((first, choice))
            raise ProtocolError(
                f"signed two logs: lines of this session were chosen by its first {answered.size} entries, and the file shows "
                f"another log, of which the first {head.size} would choose",
                peer=COORDINATOR,
                here=f"both files are in {kept}: compare them with what other institutions hold",
            )

    def hold(self, choice: bytes) -> None:
        """Check as `check` does, and make the choice the one of this session, durably.

        Raises:
            FormatError, SignatureError, ProtocolError, StoreError: as `check`, or it cannot be written.
        """
        with self.seen.held():
            self.check(choice)
            if self._first() is None:
                write_durably(self.path, choice)

    def _first(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read ({error.strerror})") from error
