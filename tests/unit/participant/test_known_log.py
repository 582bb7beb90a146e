"""Two logs that do not fit: whatever shows it, both signed notes are kept, and nothing of either is believed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.logs import MadeLog
from testkit.statements import coordinator_key, make_roster
from vdb_participant.session.known_log import KnownLog
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.errors import ProtocolError
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.merkle import consistency_proof, inclusion_proof, leaf_hash, of_leaves
from vdb_shared.wire.status import LogView

OURS = b"our session is open"


@dataclass
class Shown:
    """A coordinator that shows logs one after the other, the last one for ever.

    Attributes:
        logs: that it shows.
    """

    logs: list[MadeLog]

    def log_view(self, session: str, size: int) -> LogView:
        log = self.logs[0] if len(self.logs) == 1 else self.logs.pop(0)
        now, complete = len(log.entries), of_leaves([leaf_hash(entry) for entry in log.entries])
        index = log.entries.index(OURS)
        grown = tuple(consistency_proof(min(size, now), now, complete))
        return LogView(note_of(log), grown, index, tuple(inclusion_proof(index, now, complete)))


def made(*entries: bytes) -> MadeLog:
    return MadeLog("testbed", coordinator_key(0), [OURS, *entries])


def note_of(log: MadeLog) -> bytes:
    return log.proof(0, {}).checkpoint


def known(folder: Path, *logs: MadeLog) -> KnownLog:
    roster = parse_roster(make_roster().roster)
    return KnownLog(Shown(list(logs)), "sha256:" + "5" * 64, roster, OURS, SeenLog(folder))


def evidence(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("fork-*.txt"))]


def test_two_notes_are_of_one_log_that_is_shown_to_continue_both(tmp_path: Path) -> None:
    newest = made(b"a", b"b", b"c")
    one, other = note_of(made(b"a")), note_of(made(b"a", b"b"))
    assert known(tmp_path, newest).same(one, other) == note_of(newest)
    assert not evidence(tmp_path)


@pytest.mark.parametrize("wrong", [0, 1])
def test_the_note_that_the_log_does_not_continue_is_kept_with_the_one_that_is_shown(tmp_path: Path, wrong: int) -> None:
    newest = made(b"a", b"b", b"c")
    notes = [note_of(made(b"a")), note_of(made(b"a", b"b"))]
    notes[wrong] = note_of(made(b"x", b"y"))
    with pytest.raises(ProtocolError, match="shows another log than before"):
        known(tmp_path, newest).same(*notes)
    assert evidence(tmp_path) == [notes[wrong] + b"\n" + note_of(newest)]


def test_two_logs_that_are_shown_at_once_are_kept_with_what_each_continues(tmp_path: Path) -> None:
    """Each note has a log that continues it, of one size, and they are two."""
    one, other = made(b"a"), made(b"x")
    grown, forked = made(b"a", b"c"), made(b"x", b"c")
    with pytest.raises(ProtocolError, match="two logs of 3 entries"):
        known(tmp_path, grown, forked).same(note_of(one), note_of(other))
    assert evidence(tmp_path) == [b"\n".join(map(note_of, (one, grown, other, forked)))]
