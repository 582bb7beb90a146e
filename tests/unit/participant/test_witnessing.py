"""A site as witness of the log: what it saw is durable before it signs, and it signs for one log alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from testkit.bundles import witnesses_of
from testkit.consortium import signer
from testkit.crashes import Crash, Disk, RoundsOnly
from testkit.logs import MadeLog
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS, coordinator_key, make_roster
from vdb_participant.network.link import Link
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.known_log import LOOKS
from vdb_participant.session.terms import Opening
from vdb_participant.session.witnessing import Witness
from vdb_participant.site.journal import Journal
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.bundle.witnessed import witness_key
from vdb_shared.errors import ProtocolError, RoundsRestartedError, SessionAbortedError, StoreError, UnreachableError
from vdb_shared.identity import StatementKey
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.checkpoint import Checkpoint, cosigned_by, parse_checkpoint
from vdb_shared.transparency.merkle import consistency_proof, inclusion_proof, leaf_hash, of_leaves
from vdb_shared.transparency.note import Note, NoteSignature, parse_note
from vdb_shared.wire.status import LogView, Phase, SessionStatus

SEAT = 1
ROSTER = parse_roster(make_roster().roster)
OURS = b"our session is open"
KEY = witness_key(ROSTER, INSTITUTIONS[SEAT])


def made(*entries: bytes, key: StatementKey | None = None) -> MadeLog:
    """Return the consortium's log with these entries."""
    return MadeLog("testbed", key or coordinator_key(0), list(entries))


def view_of(log: MadeLog, size: int, entry: bytes = OURS) -> LogView:
    """Return what an honest coordinator shows."""
    complete = of_leaves([leaf_hash(found) for found in log.entries])
    now, index = len(log.entries), log.entries.index(entry)
    return LogView(
        log.proof(index, {}).checkpoint,
        tuple(consistency_proof(min(size, now), now, complete)),
        index,
        tuple(inclusion_proof(index, now, complete)),
    )


@dataclass
class LogLink(RoundsOnly):
    """A coordinator that shows logs one after the other, the last one for ever; the part of a Link that witnesses need.

    Attributes:
        logs: that it shows.
        signed: what we signed: texts of checkpoints and signatures.
        dies: whether we do before our signature has left.
        statuses: what the session is, in order.
    """

    logs: list[MadeLog]
    signed: list[tuple[int, bytes]] = field(default_factory=list)
    dies: bool = False
    statuses: list[SessionStatus] = field(default_factory=list)

    def log_view(self, session: str, size: int) -> LogView:
        log = self.logs[0] if len(self.logs) == 1 else self.logs.pop(0)
        return view_of(log, size)

    def cosign(self, session: str, size: int, cosignature: bytes) -> None:
        if self.dies:
            raise Crash
        self.signed.append((size, cosignature))

    def wait_or_witness(self, session: str, phase: Phase, attempt: int, seen: int) -> SessionStatus:
        status = self.statuses.pop(0)
        assert status.witness > seen or status.reached(phase, attempt) or status.phase.ended
        return status


def witness(folder: Path, *logs: MadeLog, moment: int = 1) -> tuple[Witness, LogLink]:
    """Return one life of the site as a witness, and the coordinator that it sees."""
    link = LogLink(list(logs))
    opening = Opening("sha256:" + "5" * 64, small_spec(), ROSTER, ROSTER.seated(SEAT), OURS, "2026-11-22T22:50:00Z")
    post = Correspondence(Journal(Disk(), bytes(32)), cast(Link, link), opening.session)
    return Witness(post, opening, SeenLog(folder), signer(0, SEAT), clock=lambda: moment), link


def remembered(folder: Path) -> Checkpoint:
    return parse_checkpoint(parse_note((folder / "checkpoint").read_bytes()).text)


def evidence(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("fork-*.txt"))]


def test_it_signs_the_newest_log_with_its_own_time_and_remembers_it(tmp_path: Path) -> None:
    log = made(b"another", OURS)
    here, link = witness(tmp_path, log, moment=77)
    assert here.look() == 2
    ((size, value),) = link.signed
    note = Note(log.checkpoint.text, (NoteSignature(KEY.name, KEY.id, value),))
    assert cosigned_by(note, [KEY]) == {KEY.name: 77}
    assert size == 2
    assert remembered(tmp_path) == log.checkpoint


def test_it_goes_on_from_what_it_saw_in_any_session(tmp_path: Path) -> None:
    for entries in ([OURS], [OURS, b"b"], [OURS, b"b"], [OURS, b"b", b"c", b"d", b"e"]):
        here, link = witness(tmp_path, made(*entries))
        assert here.look() == len(entries)
        assert [size for size, _ in link.signed] == [len(entries)]
    assert not evidence(tmp_path)


def test_what_it_saw_is_durable_before_anybody_hears_of_it(tmp_path: Path) -> None:
    """The attack: a site that dies after it signed, and forgot what, could be asked to sign another log."""
    here, link = witness(tmp_path, made(OURS, b"first"))
    link.dies = True
    with pytest.raises(Crash):
        here.look()
    assert remembered(tmp_path).size == 2
    after, other = witness(tmp_path, made(OURS, b"other"))
    with pytest.raises(ProtocolError, match="another log than before"):
        after.look()
    assert not other.signed


def test_what_cannot_be_remembered_is_not_signed(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.new").mkdir()
    here, link = witness(tmp_path, made(OURS))
    with pytest.raises(StoreError, match="cannot be written"):
        here.look()
    assert not link.signed


@pytest.mark.parametrize(
    "entries",
    [[b"rewritten", OURS], [OURS], [OURS, b"rewritten"], [b"x", OURS, b"b", b"c", b"d"]],
    ids=["changed", "cut", "last entry changed", "grown and changed"],
)
def test_another_log_is_not_signed_and_both_are_kept(tmp_path: Path, entries: list[bytes]) -> None:
    before = made(OURS, b"b")
    witness(tmp_path, before)[0].look()
    here, link = witness(tmp_path, made(*entries))
    with pytest.raises(ProtocolError, match=r"fork-1\.txt: compare them") as caught:
        here.look()
    assert "\n" not in str(caught.value)
    assert not link.signed
    assert remembered(tmp_path) == before.checkpoint
    (kept,) = evidence(tmp_path)
    assert kept.count("testbed/vdb-log\n") == 2
    with pytest.raises(ProtocolError):
        here.look()
    assert len(evidence(tmp_path)) == 2


def test_evidence_is_never_written_over_also_when_some_was_taken_away(tmp_path: Path) -> None:
    seen = SeenLog(tmp_path)
    first, second = seen.keep_evidence([b"one"]), seen.keep_evidence([b"two"])
    first.unlink()
    assert seen.keep_evidence([b"three"]) not in {first, second}
    assert second.read_bytes() == b"two"


def test_a_witness_without_memory_would_sign_both(tmp_path: Path) -> None:
    """The attack that succeeds when nothing is remembered."""
    signed = []
    for life, log in enumerate((made(OURS, b"for you"), made(OURS, b"for others"))):
        here, link = witness(tmp_path / str(life), log)
        here.look()
        signed.append(link.signed[0][0])
    assert signed == [2, 2]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (made(OURS, key=StatementKey.from_seed(bytes(32))), "bears no signature of its log"),
        (MadeLog("elsewhere", coordinator_key(0), [OURS]), "a checkpoint of elsewhere/vdb-log"),
    ],
)
def test_a_log_of_somebody_else_is_not_signed(tmp_path: Path, log: MadeLog, message: str) -> None:
    here, link = witness(tmp_path, log)
    with pytest.raises(ProtocolError, match=message):
        here.look()
    assert not link.signed
    assert not (tmp_path / "checkpoint").exists()


def test_a_log_without_our_session_is_not_signed(tmp_path: Path) -> None:
    @dataclass
    class Hiding(LogLink):
        def log_view(self, session: str, size: int) -> LogView:
            return view_of(self.logs[0], size, b"another session")

    here, _ = witness(tmp_path)
    link = Hiding([made(b"another session", b"and one more")])
    lied_to = Witness(Correspondence(here.post.journal, cast(Link, link), "s"), here.opening, here.seen, here.signer)
    with pytest.raises(ProtocolError, match="does not say that this session is open"):
        lied_to.look()
    assert not link.signed


def test_a_damaged_memory_is_no_fresh_beginning(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"testbed/vdb-log\n")
    here, link = witness(tmp_path, made(OURS))
    with pytest.raises(StoreError, match="restore it from a backup"):
        here.look()
    assert not link.signed


# What others witnessed.


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_proof_of_our_log_is_recognised_whatever_its_size(tmp_path: Path, size: int) -> None:
    entries = [OURS, b"b", b"c", b"d", b"e"]
    witness(tmp_path, made(*entries[:3]))[0].look()
    here, _ = witness(tmp_path, made(*entries))
    here.recognise(made(*entries[:size]).proof(0, witnesses_of(0, (0, 2))).to_bytes())


@pytest.mark.parametrize("others", [[OURS, b"x"], [OURS, b"x", b"c"], [OURS, b"x", b"c", b"d"]])
def test_a_proof_of_another_log_than_ours_is_refused(tmp_path: Path, others: list[bytes]) -> None:
    """A coordinator that shows one site a log of its own cannot pass the proofs that all others made."""
    ours = made(OURS, b"b", b"c")
    witness(tmp_path, ours)[0].look()
    proof = made(*others).proof(0, witnesses_of(0, (0, 2, 3, 4))).to_bytes()
    honest, _ = witness(tmp_path, ours)
    with pytest.raises(ProtocolError):
        honest.recognise(proof)
    lying, _ = witness(tmp_path, made(*others))
    with pytest.raises(ProtocolError):
        lying.recognise(proof)


def test_two_answers_of_two_logs_do_not_fit(tmp_path: Path) -> None:
    ours, others = made(OURS, b"b"), made(OURS, b"x")
    witness(tmp_path, ours)[0].look()
    proof = others.proof(0, {}).to_bytes()
    here, _ = witness(tmp_path, *[others, ours] * LOOKS, ours)
    with pytest.raises(ProtocolError, match="two logs of 2 entries"):
        here.recognise(proof)
    assert len(evidence(tmp_path)) == 1


def test_a_log_that_grows_while_it_is_compared_is_asked_for_again(tmp_path: Path) -> None:
    logs = [made(OURS, *(b"%d" % number for number in range(count))) for count in range(40)]
    witness(tmp_path, logs[0])[0].look()
    proof = logs[0].proof(0, {}).to_bytes()
    here, _ = witness(tmp_path, logs[1], logs[2], logs[3])
    here.recognise(proof)
    restless, _ = witness(tmp_path, *logs[4:])
    with pytest.raises(UnreachableError, match="grew 10 times"):
        restless.recognise(proof)


def test_who_saw_nothing_recognises_nothing(tmp_path: Path) -> None:
    here, _ = witness(tmp_path, made(OURS))
    with pytest.raises(ProtocolError, match="have seen nothing"):
        here.recognise(made(OURS).proof(0, {}).to_bytes())
    with pytest.raises(ProtocolError, match="malformed"):
        here.recognise(b"no proof")


# Waiting.


def status(phase: Phase, asked: int = 0) -> SessionStatus:
    return SessionStatus(phase, 1, "", (), 0, asked)


def test_it_witnesses_whenever_it_is_asked_until_the_phase_has_come(tmp_path: Path) -> None:
    here, link = witness(tmp_path, made(OURS), made(OURS, b"b"), made(OURS, b"b", b"c"))
    link.statuses = [status(Phase.ACCEPTING, 1), status(Phase.ACCEPTING, 2), status(Phase.ADVERTISING_KEYS)]
    assert here.wait_in(0, Phase.ADVERTISING_KEYS).phase is Phase.ADVERTISING_KEYS
    assert [size for size, _ in link.signed] == [1, 2]


def test_who_waits_for_the_seal_finds_it_also_after_a_restart_of_the_rounds(tmp_path: Path) -> None:
    here, link = witness(tmp_path, made(OURS))
    restarted = SessionStatus(Phase.SHARING_KEYS, 9, "", (), 1)
    link.statuses = [restarted, restarted]
    assert here.wait(Phase.ADVERTISING_KEYS) == restarted
    with pytest.raises(RoundsRestartedError):
        here.wait_in(0, Phase.PUBLISHED)


def test_it_is_not_kept_busy_by_a_coordinator_that_asks_for_more_than_it_shows(tmp_path: Path) -> None:
    here, link = witness(tmp_path, made(OURS))
    link.statuses = [status(Phase.ACCEPTING, 2)]
    with pytest.raises(ProtocolError, match="asks us to witness 2 entries of its log, and shows 1"):
        here.wait_in(0, Phase.ADVERTISING_KEYS)


def test_an_aborted_session_ends_the_waiting(tmp_path: Path) -> None:
    here, link = witness(tmp_path, made(OURS))
    link.statuses = [SessionStatus(Phase.ABORTED, 1, "no quorum", (), 0)]
    with pytest.raises(SessionAbortedError, match="no quorum"):
        here.wait_in(0, Phase.ADVERTISING_KEYS)
    assert not link.signed
