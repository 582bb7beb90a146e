"""What the coordinator is told when a site leaves, signed: what a peer did, and nothing of the machine that noticed it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vdb_participant
import vdb_shared
from testkit.logs import MadeLog
from testkit.statements import coordinator_key, make_roster
from vdb_participant.agent import _reason_told
from vdb_participant.session.known_log import KnownLog
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.errors import PrivacyError, ProtocolError, VerificationError
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.note import parse_note

LOCAL: frozenset[str] = frozenset(("path", "folder", "directory", "place", "kept", "file", "bundle", "home"))
"""Names of variables and fields that hold places of this machine."""


class _Silent:
    def log_view(self, session: str, size: int) -> None:
        raise AssertionError("nobody is asked")


def fork(folder: Path) -> ProtocolError:
    """Return the error of a site to which two logs were shown, whose evidence it keeps in a folder."""
    notes = [MadeLog("testbed", coordinator_key(0), [entry, b"x"]).proof(0, {}).checkpoint for entry in (b"a", b"b")]
    older, newer = (parse_checkpoint(parse_note(note).text) for note in notes)
    log = KnownLog(_Silent(), "sha256:" + "5" * 64, parse_roster(make_roster().roster), b"open", SeenLog(folder))  # type: ignore[arg-type]  # never asked
    with pytest.raises(ProtocolError) as caught:
        log.check_grown(older, newer, (), tuple(notes))
    return caught.value


def test_the_operator_reads_where_evidence_lies_and_the_coordinator_does_not(tmp_path: Path) -> None:
    error = fork(tmp_path)
    assert f"the signed notes are in {tmp_path}/fork-1.txt: compare them with what other institutions hold" in str(
        error
    )
    assert str(tmp_path) in str(error)  # which was what was signed and sent
    told = _reason_told(error)
    assert told.startswith("coordinator: shows another log than before (")
    assert str(tmp_path) not in told
    assert "/" not in told


def test_other_breaches_are_told_as_before() -> None:
    assert _reason_told(ProtocolError("is silent", peer="seat 3")) == "seat 3: is silent"
    assert _reason_told(VerificationError("no", check="V31")) == "V31: no"
    assert _reason_told(PrivacyError("our sum is 4")) == "left (PrivacyError)"


def test_no_message_about_a_peer_names_a_place_of_this_machine() -> None:
    """A place belongs into `here`: a message may be signed and sent."""
    found = []
    for package in (vdb_participant, vdb_shared):
        root = Path(package.__file__ or "").parent
        for source in sorted(root.rglob("*.py")):
            for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and _name(call.func) in ("ProtocolError", "UnusableShareError"):
                    found += [(source.name, names) for names in _shown(call.args[0]) if names & LOCAL]
    assert not found


def test_the_search_sees_the_message_that_was_sent() -> None:
    call = ast.parse("""ProtocolError(f"shows another log ({problem}); the signed notes are in {kept}", peer=WHO)""")
    (found,) = (node for node in ast.walk(call) if isinstance(node, ast.Call))
    assert [names & LOCAL for names in _shown(found.args[0])] == [set(), {"kept"}]
    call = ast.parse("""ProtocolError(f"{self.place} shows it", peer=WHO)""")
    (found,) = (node for node in ast.walk(call) if isinstance(node, ast.Call))
    assert [names & LOCAL for names in _shown(found.args[0])] == [{"place"}]


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _shown(message: ast.expr) -> list[set[str]]:
    """Return the names that stand in each of the braces of a message."""
    braces = [node.value for node in ast.walk(message) if isinstance(node, ast.FormattedValue)]
    return [{_name(node) for node in ast.walk(value) if isinstance(node, ast.expr)} for value in braces]
