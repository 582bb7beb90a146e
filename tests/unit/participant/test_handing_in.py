"""Handing in an objection: what a coordinator answers is kept, and believed only of the log that this site knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from testkit.bundles import SmallSession, logged
from testkit.consortium import signer
from testkit.disputed import SEAT, dispute, objection, objection_entry
from testkit.logs import MadeLog
from testkit.statements import INSTITUTIONS, coordinator_key, sign
from vdb_participant.commands.objecting import hand_in
from vdb_participant.site.config import StateFolder
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.audit.objecting import Target, target_of
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, ProtocolError, SignatureError, VdbError
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.merkle import consistency_proof, inclusion_proof, leaf_hash, of_leaves
from vdb_shared.transparency.note import parse_note
from vdb_shared.wire.status import LogView

SEED = "dispute"


def first() -> SmallSession:
    return dispute(SEED).first


@cache
def target() -> Target:
    return target_of(first().bundle(), first().root)


def stated(**changes: str) -> Envelope:
    return sign(objection(first(), **changes), signer(SEED, SEAT))


def log_of(*entries: bytes) -> MadeLog:
    return MadeLog("testbed", coordinator_key(SEED), list(entries))


@dataclass
class Answering:
    """A coordinator that answers an objection with an entry of one log, and shows another one, or the same.

    Attributes:
        answers: the log with the entry.
        index: of the entry.
        shows: the log.
        heard: objections.
    """

    answers: MadeLog
    index: int
    shows: MadeLog
    heard: list[bytes] = field(default_factory=list)

    def object(self, session: str, objection: bytes) -> tuple[bytes, bytes]:
        self.heard.append(objection)
        return self.answers.entries[self.index], self.answers.proof(self.index, {}).to_bytes()

    def log_view(self, session: str, size: int) -> LogView:
        leaves = [leaf_hash(entry) for entry in self.shows.entries]
        now, index = len(leaves), self.shows.entries.index(target().opened_entry)
        return LogView(
            self.shows.proof(index, {}).checkpoint,
            tuple(consistency_proof(min(size, now), now, of_leaves(leaves))),
            index,
            tuple(inclusion_proof(index, now, of_leaves(leaves))),
        )


def honest(envelope: Envelope) -> Answering:
    log = log_of(*logged(first()).entries, objection_entry(envelope, objection(first())))
    return Answering(log, len(log.entries) - 1, log)


def kept(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in (folder / "objections").iterdir()}


def see(folder: Path, log: MadeLog) -> None:
    """Let the site have seen a log."""
    with SeenLog(folder / "log").held() as held:
        held.remember(log.proof(0, {}).checkpoint)


def newest(folder: Path) -> int:
    return parse_checkpoint(parse_note((folder / "log" / "checkpoint").read_bytes()).text).size


def test_envelope_entry_and_proof_are_kept_and_the_log_that_shows_it_is_remembered(tmp_path: Path) -> None:
    envelope = stated()
    link = honest(envelope)
    see(tmp_path, logged(first()))
    hand_in(StateFolder(tmp_path), link, target(), envelope.to_json())
    entry = link.answers.entries[link.index]
    assert kept(tmp_path) == {envelope.to_json(), entry, link.answers.proof(link.index, {}).to_bytes()}
    assert newest(tmp_path) == len(link.shows.entries)
    hand_in(StateFolder(tmp_path), link, target(), envelope.to_json())
    assert len(kept(tmp_path)) == 3


def test_a_coordinator_that_drops_the_objection_afterwards_forks_its_log_for_this_site(tmp_path: Path) -> None:
    """Whoever handed in an objection goes on from the log with it: the next look, at a log without it, ends in evidence."""
    envelope = stated()
    link = honest(envelope)
    hand_in(StateFolder(tmp_path), link, target(), envelope.to_json())
    other = log_of(*logged(first()).entries, b'{"another":"entry"}', objection_entry(envelope, objection(first())))
    with pytest.raises(ProtocolError, match="shows another log than before"):
        hand_in(StateFolder(tmp_path), Answering(other, len(other.entries) - 1, other), target(), envelope.to_json())
    assert list((tmp_path / "log").glob("fork-*.txt"))


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("shown", ["the forked log", "the true log"])
def test_a_log_made_for_the_objector_alone_is_refused_and_kept_as_evidence(
    tmp_path: Path, shown: str, *, seen: bool
) -> None:
    """The log in the receipt has the opening and the result, signed by the coordinator; nobody else is ever shown it."""
    envelope = stated()
    said = objection_entry(envelope, objection(first()))
    true = logged(first()).entries
    forked = log_of(true[0], *[b'{"made":"for you"}'] * 7, *true[1:], said)
    shows = forked if shown == "the forked log" else log_of(*true, *[b'{"later":"entry"}'] * 20)
    if seen:
        see(tmp_path, logged(first()))
    with pytest.raises(ProtocolError, match="shows another log than before"):
        hand_in(StateFolder(tmp_path), Answering(forked, len(forked.entries) - 1, shows), target(), envelope.to_json())
    assert list((tmp_path / "log").glob("fork-*.txt"))
    assert {envelope.to_json(), said} < kept(tmp_path)


def another_result(envelope: Envelope) -> bytes:
    return objection_entry(envelope, objection(first(), result=sha256_digest(b"another")))


def another_session(envelope: Envelope) -> bytes:
    return objection_entry(envelope, objection(first(), session=sha256_digest(b"another")))


def another_objector(envelope: Envelope) -> bytes:
    return objection_entry(envelope, objection(first(), INSTITUTIONS[0]))


def another_statement(_envelope: Envelope) -> bytes:
    return objection_entry(stated(text="What nobody said here."), objection(first()))


def another_kind(_envelope: Envelope) -> bytes:
    return logged(first()).entries[-1]


@pytest.mark.parametrize(
    ("entry", "field_name"),
    [
        (another_result, "result"),
        (another_session, "session"),
        (another_objector, "objector"),
        (another_statement, "objection"),
        (another_kind, "kind"),
    ],
)
def test_an_entry_that_says_something_else_is_no_receipt(
    tmp_path: Path, entry: Callable[[Envelope], bytes], field_name: str
) -> None:
    """A reader of the log would count no objection of this member to this result, whatever the receipt looks like."""
    envelope = stated()
    log = log_of(*logged(first()).entries, entry(envelope))
    with pytest.raises(FormatError, match=rf"says something else as .*\b{field_name}\b"):
        hand_in(StateFolder(tmp_path), Answering(log, len(log.entries) - 1, log), target(), envelope.to_json())
    assert envelope.to_json() in kept(tmp_path)


def test_a_place_before_the_result_is_no_receipt(tmp_path: Path) -> None:
    """An entry among those that stood there before the result counts for no reader (§10.11)."""
    envelope = stated()
    true, said = logged(first()).entries, objection_entry(envelope, objection(first()))
    log = log_of(*true[:-1], said, true[-1])
    with pytest.raises(FormatError, match="before the result was published"):
        hand_in(StateFolder(tmp_path), Answering(log, len(true) - 1, log), target(), envelope.to_json())


def test_a_log_of_another_key_is_no_receipt(tmp_path: Path) -> None:
    envelope = stated()
    log = MadeLog("testbed", signer(SEED, 0), honest(envelope).answers.entries)
    with pytest.raises(SignatureError):
        hand_in(StateFolder(tmp_path), Answering(log, len(log.entries) - 1, log), target(), envelope.to_json())


def test_what_is_signed_is_on_the_disk_before_a_coordinator_that_refuses_hears_of_it(tmp_path: Path) -> None:
    class Deaf(Answering):
        def object(self, session: str, objection: bytes) -> tuple[bytes, bytes]:
            assert kept(tmp_path) == {objection}
            raise VdbError("not now")

    envelope = stated()
    log = logged(first())
    with pytest.raises(VdbError, match="not now"):
        hand_in(StateFolder(tmp_path), Deaf(log, 0, log), target(), envelope.to_json())
    assert kept(tmp_path) == {envelope.to_json()}
