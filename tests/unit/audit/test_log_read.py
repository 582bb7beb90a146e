"""V21.log, V60 to V63 and V65 asked by themselves: proofs, checkpoints and entries that are wrong in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testkit.bundles import SmallSession, logged, witnesses_of
from testkit.evidence import but_for, found, golden_evidence, reading, refused, with_result
from testkit.golden import golden_session
from testkit.logs import SEEN, MadeLog
from vdb_shared.audit.checks.base import answered, clock, not_proven, passed
from vdb_shared.audit.entries import Fault
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status
from vdb_shared.audit.revocations import LoggedRevocation
from vdb_shared.audit.standing import Objected, Standing
from vdb_shared.audit.standing_words import words_of
from vdb_shared.bundle.logged import AbortedRecord, encode_record
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, SignatureError, UnreachableError, UsageError, VdbError

EVERYBODY = range(5)
NONE = "sha256:" + "0" * 64


@pytest.fixture
def evidence() -> Evidence:
    return golden_evidence("dropout")


@pytest.fixture(scope="module")
def session() -> SmallSession:
    return golden_session("dropout")


def log_of(session: SmallSession, *entries: bytes) -> MadeLog:
    return MadeLog("testbed", session.coordinator, list(entries))


def other_opening(session: SmallSession, digit: bytes = b"5") -> bytes:
    """Return the announcement of another session with the same spec."""
    return session.log.entries[0].replace(session.record.open.payload_digest.encode(), b"sha256:" + digit * 64)


def aborting(session: SmallSession, what: str) -> bytes:
    return encode_record(
        AbortedRecord(session=what, abort=NONE, stage="joining", aborted="2026-01-31T12:20:00Z", salt="0" * 64)
    )


# Announced and logged.


def test_the_seal_names_the_proof_of_the_announcement(evidence: Evidence) -> None:
    seal = evidence.seal.model_copy(update={"log": NONE})
    held = sha256_digest(evidence.record.open_proof.to_bytes())
    assert refused("V21.log", but_for(evidence, seal=seal)) == (
        f"proof that the seal names: expected {held}, found {NONE}."
    )


def test_witnesses_and_their_clocks_are_told(evidence: Evidence, session: SmallSession) -> None:
    said = found("V21.log", evidence).sentence
    assert (
        "5 institutions of the 5 that joined signed that they saw it there (by their clocks at 2026-01-31T12:01:40Z; 4"
        in said
    )
    proof = logged(session).proof(1, witnesses_of(session.seed, (0, 1, 2, 3)))
    later = logged(session).proof(1, witnesses_of(session.seed, (4,)), SEEN + 60)
    line = later.checkpoint.splitlines(keepends=True)[-1]
    both = replace(proof, checkpoint=proof.checkpoint + line)
    assert (
        "(by their clocks from 2026-01-31T12:01:40Z to 2026-01-31T12:02:40Z; 4 were needed)"
        in found("V61", but_for(evidence, result_proof=both)).sentence
    )


@pytest.mark.parametrize("seconds", [2**40, 2**56, 2**62, 2**80])
def test_a_clock_beyond_the_calendar_is_told_in_seconds(seconds: int) -> None:
    assert clock(seconds) == f"second {seconds}"
    assert clock(0) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("index", [1, 2])
def test_the_result_stands_behind_its_announcement(evidence: Evidence, index: int) -> None:
    proof = replace(evidence.record.open_proof, index=index)
    changed = but_for(evidence, record=replace(evidence.record, open_proof=proof))
    assert refused("V60", changed) == f"the result is entry 1, its announcement entry {index}."


def test_a_draft_is_not_logged_yet(evidence: Evidence) -> None:
    for check in ("V60", "V61"):
        assert found(check, but_for(evidence, draft=True)).status is Status.SKIPPED
        assert found(check, evidence).status is Status.PASS


# Not rewritten.


def kept(log: MadeLog) -> bytes:
    return log.proof(0, {}).checkpoint


TWO_LOGS = "show two different logs of"


def test_two_checkpoints_of_one_size_are_of_one_log(evidence: Evidence, session: SmallSession) -> None:
    honest = logged(session).entries
    other = kept(log_of(session, honest[0], b"{}"))
    assert refused("V62", but_for(evidence, remembered=other)) == (
        f"the proof of the result and the checkpoint you kept {TWO_LOGS} 2 entries, both signed by the coordinator."
    )
    other = kept(log_of(session, other_opening(session)))
    assert refused("V62", but_for(evidence, remembered=other)) == (
        f"the proof of the opening and the checkpoint you kept {TWO_LOGS} 1 entries, both signed by the coordinator."
    )
    assert found("V62", but_for(evidence, remembered=kept(logged(session)))).status is Status.NOT_PROVEN


def test_the_log_at_hand_is_the_one_of_the_proofs(evidence: Evidence, session: SmallSession) -> None:
    honest = logged(session).entries
    files = log_of(session, honest[0], b"{}").files()
    assert refused("V62", reading(evidence, files)) == (
        f"the proof of the result and the log {TWO_LOGS} 2 entries, both signed by the coordinator."
    )
    files = log_of(session, honest[0], b"{}", b"{}").files()
    assert refused("V62", reading(evidence, files)) == (
        "the log of 3 entries does not begin with the 2 of the proof of the result."
    )
    files = log_of(session, other_opening(session)).files()
    draft = but_for(evidence, draft=True)
    assert refused("V62", reading(draft, files)) == (
        f"the proof of the opening and the log {TWO_LOGS} 1 entries, both signed by the coordinator."
    )


def test_a_log_that_goes_on_is_told_with_what_it_begins_with(evidence: Evidence, session: SmallSession) -> None:
    files = log_of(session, *logged(session).entries, b"{}").files()
    assert found("V62", reading(evidence, files)).sentence == (
        "The log, now of 3 entries, begins with what the proof of the opening and the proof of the result showed."
    )
    middle = kept(log_of(session, *logged(session).entries))
    assert found("V62", reading(evidence, files, remembered=middle)).sentence.endswith(
        "the proof of the opening and the proof of the result and the checkpoint you kept showed."
    )
    alone = log_of(session, logged(session).entries[0]).files()
    assert found("V62", reading(evidence, alone, draft=True)).sentence == (
        "The log, now of 1 entry, begins with what the proof of the opening showed."
    )


def test_an_older_copy_of_the_log_is_named_as_such(evidence: Evidence, session: SmallSession) -> None:
    older = log_of(session, logged(session).entries[0]).files()
    for check in ("V62", "V63", "V65"):
        finding = found(check, reading(evidence, older))
        assert finding.status is Status.SKIPPED
        assert finding.sentence == (
            "The log could not be read: it has 1 entry, fewer than the 2 of the proof of the result: an older copy of it."
        )
    newer = kept(log_of(session, *logged(session).entries, b"{}"))
    finding = found("V62", reading(evidence, logged(session).files(), remembered=newer))
    assert finding.sentence.endswith(
        "it has 2 entries, fewer than the 3 of the checkpoint you kept: an older copy of it."
    )


# No second result.


def test_other_sessions_with_this_spec_are_counted(evidence: Evidence, session: SmallSession) -> None:
    entries = [*logged(session).entries, other_opening(session)]
    said = "names one result of this session, this one, and"
    first = found("V63", reading(evidence, log_of(session, *entries[:2]).files())).sentence
    assert first == f"The log of 2 entries {said} no other session with this spec."
    second = found("V63", reading(evidence, log_of(session, *entries).files())).sentence
    assert second == f"The log of 3 entries {said} 1 other session with this spec."
    third = found("V63", reading(evidence, log_of(session, *entries, other_opening(session, b"6")).files())).sentence
    assert third == f"The log of 4 entries {said} 2 other sessions with this spec."


def test_what_is_wrong_with_other_sessions_is_theirs(evidence: Evidence, session: SmallSession) -> None:
    mine, others = session.record.open.payload_digest, "sha256:" + "5" * 64
    entries = [*logged(session).entries, other_opening(session), aborting(session, others), aborting(session, others)]
    assert found("V63", reading(evidence, log_of(session, *entries).files())).status is Status.PASS
    twice = [*entries, aborting(session, mine), entries[0]]
    reason = refused("V63", reading(evidence, log_of(session, *twice).files()))
    assert "ends a second time" in reason
    assert "; " in reason
    assert reason.endswith("is opened again.")
    assert others not in reason


def test_a_result_that_the_log_does_not_name_is_refused(evidence: Evidence, session: SmallSession) -> None:
    """The log says that the session failed, names another result, or knows no end of it."""
    opening, result = logged(session).entries
    honest = evidence.result_envelope.payload_digest
    aborted = log_of(session, opening, aborting(session, session.record.open.payload_digest)).files()
    assert refused("V63", reading(evidence, aborted)) == f"result that the log names: expected {[honest]}, found []."
    other = log_of(session, opening, result.replace(honest.encode(), NONE.encode())).files()
    assert (
        refused("V63", reading(evidence, other)) == f"result that the log names: expected {[honest]}, found {[NONE]}."
    )
    unended = log_of(session, opening, other_opening(session)).files()
    assert refused("V63", reading(evidence, unended)) == f"result that the log names: expected {[honest]}, found []."


def test_a_draft_waits_for_its_result_in_the_log(evidence: Evidence, session: SmallSession) -> None:
    opening, result = logged(session).entries
    other = other_opening(session)
    honest = evidence.result_envelope.payload_digest
    draft = but_for(evidence, draft=True)
    for published in ("2026-01-31T12:00:00Z", "2026-03-01T00:00:00Z"):  # open, and overdue
        waiting = with_result(draft, published=published)
        finding = found("V63", reading(waiting, log_of(session, other, opening).files()))
        assert finding.status is Status.SKIPPED
        assert finding.sentence.startswith("This is a draft: ")
    assert found("V63", reading(draft, log_of(session, other, opening, result).files())).status is Status.PASS
    assert refused("V63", reading(draft, log_of(session, other).files())) == (
        f"result that the log names: expected {[honest]}, found []."
    )


def test_without_the_log_nothing_is_said_of_it(evidence: Evidence) -> None:
    for check in ("V62", "V63", "V65"):
        finding = found(check, but_for(evidence, fetch=None))
        assert finding.status is Status.NOT_PROVEN
        assert "--log" in finding.sentence


@pytest.mark.parametrize("error", [UnreachableError, UsageError, FormatError, SignatureError])
def test_a_log_that_cannot_be_read_accuses_nobody(evidence: Evidence, error: type[VdbError]) -> None:
    def broken(_path: str) -> bytes:
        raise error("something is in the way")

    for check in ("V62", "V63", "V65"):
        unread = but_for(evidence, fetch=broken)
        for name in ("log", "monitored", "standing"):
            vars(unread).pop(name, None)
        finding = found(check, unread)
        assert (finding.status, finding.sentence) == (
            Status.SKIPPED,
            "The log could not be read: something is in the way.",
        )


# What the log says besides: entries of which nothing is known, and revoked keys.


def telling(evidence: Evidence, session: SmallSession, more: int = 4, **parts: Any) -> Evidence:
    """Return the evidence with a log of the session and `more` other entries that says this besides."""
    entries = [other_opening(session, b"%x" % digit) for digit in range(4, 4 + more)]
    honest = reading(evidence, log_of(session, *logged(session).entries, *entries).files())
    assert honest.monitored is not None
    return but_for(honest, monitored=replace(honest.monitored, **parts))


def revoked(evidence: Evidence, index: int, name: str = "lab-kyoto", key: str = "") -> LoggedRevocation:
    """Return the revocation of a member's key, or of another one in its name."""
    key = key or evidence.roster.member(name).public_key.key_id
    return LoggedRevocation(index, name, key, "left", "2001-01-01T00:00:00Z", (), ())


def test_an_entry_that_cannot_be_read_leaves_open_whether_there_is_a_second_result(
    evidence: Evidence, session: SmallSession
) -> None:
    finding = found("V63", telling(evidence, session, unreadable=(4,)))
    assert finding == not_proven(
        "Entry 4 of the log cannot be read by this version, so what is said there of the session is not known: try a newer "
        "vdb-audit, or ask the lead."
    )


def test_what_was_said_of_a_result_later_is_no_second_result(evidence: Evidence, session: SmallSession) -> None:
    mine = session.record.open.payload_digest
    later = Fault(mine, "an objection is logged again", afterwards=True)
    assert found("V63", telling(evidence, session, faults=(later,))).status is Status.PASS
    both = (later, Fault(mine, "session is opened again"))
    assert refused("V63", telling(evidence, session, faults=both)) == "session is opened again."


def test_a_key_that_was_revoked_before_the_session_was_sealed_signs_nothing(
    evidence: Evidence, session: SmallSession
) -> None:
    """The seal names a log of one entry: what was revoked in it was known to whoever sealed."""
    names = (evidence.roster.coordinator.institution, *sorted(evidence.joins))
    assert len(names) == 6
    for name in names:
        key = evidence.roster.coordinator.public_key.key_id if name == names[0] else ""
        early = telling(evidence, session, revocations=(revoked(evidence, 0, name, key=key),))
        assert refused("V65", early) == (
            f"the key of {name} was revoked in entry 0 of the log (left), and the session was sealed after that."
        )
    before = replace(evidence.record, open_proof=replace(evidence.record.open_proof, index=1))
    two = (revoked(evidence, 0), revoked(evidence, 0, "museum-lima"), revoked(evidence, 1, "clinic-lyon"))
    assert refused("V65", but_for(telling(evidence, session, revocations=two), record=before)) == (
        "the key of lab-kyoto was revoked in entry 0 of the log (left), and the session was opened after that; "
        "the key of museum-lima was revoked in entry 0 of the log (left), and the session was opened after that."
    )


def test_a_key_that_nobody_of_the_session_signed_with_does_not_matter(
    evidence: Evidence, session: SmallSession
) -> None:
    foreign = telling(evidence, session, revocations=(revoked(evidence, 0, key="a" * 64),))
    assert found("V65", foreign).sentence == (
        "The log revokes no signer's key before its entry 1, up to which the session took place."
    )


def test_a_key_that_was_revoked_while_the_session_ran_is_an_open_question(
    evidence: Evidence, session: SmallSession
) -> None:
    """The session took place between the log that its seal names, of one entry, and the entry of its result."""
    run = but_for(evidence, result_proof=replace(evidence.result_proof, index=3))
    meanwhile = revoked(evidence, 1), revoked(evidence, 2, "museum-lima")
    finding = found("V65", telling(run, session, revocations=(*meanwhile, revoked(evidence, 3, "clinic-lyon"))))
    assert finding == not_proven(
        "After the session was sealed and before its result stood in the log, keys were revoked: lab-kyoto (left, entry 1), "
        "museum-lima (left, entry 2). That they signed their part before is not shown."
    )
    both = found("V65", telling(run, session, revocations=meanwhile[:1], unreadable=(2, 3)))
    assert both.status is Status.NOT_PROVEN
    assert both.sentence.endswith(
        "is not shown. Entry 2 of the log cannot be read by this version, so whether a key is revoked there is not known: "
        "try a newer vdb-audit, or ask the lead."
    )
    assert found("V65", telling(run, session, unreadable=(2,))).status is Status.NOT_PROVEN
    whole = found("V65", telling(but_for(evidence, draft=True), session, revocations=(revoked(evidence, 5),)))
    assert "lab-kyoto (left, entry 5)" in whole.sentence, "a draft has no entry yet: all of the log counts"


def test_what_was_revoked_behind_the_result_stays_valid_and_is_told(evidence: Evidence, session: SmallSession) -> None:
    finding = found("V65", telling(evidence, session, revocations=(revoked(evidence, 1),), unreadable=(1, 4)))
    assert finding == passed(
        "The log revokes no signer's key before its entry 1, up to which the session took place. Revoked since: lab-kyoto "
        "(left, entry 1); what was signed before stays valid. Entries 1 and 4, behind that, cannot be read."
    )


# How the result stands.


QUIET = Standing(True, (), None, (), (), "", {}, ())


def test_what_speaks_against_a_result_is_not_proven_and_said(evidence: Evidence) -> None:
    objected = replace(QUIET, objections=(Objected("lab-kyoto", "sha256:1", text="No.", reason="data"),))
    finding = found("V63.standing", but_for(evidence, standing=objected))
    assert finding == not_proven("Of the result since: 1 objection.", words_of(objected))
    assert len(finding.said) == 1
    unread = replace(objected, read=False)
    finding = found("V63.standing", but_for(evidence, standing=unread))
    logged_words = "That nobody objects to the result, and that it was not withdrawn or replaced, is seen in the log: "
    assert finding == not_proven(f"Of the result since: 1 objection. {logged_words}give --log.", words_of(unread))
    line = answered("V63.standing", "Since", "", lambda: finding)
    assert (line.status, line.sentence, line.said) == (Status.NOT_PROVEN, finding.sentence, finding.said)
    for nothing in (None, replace(QUIET, read=False)):
        bare = found("V63.standing", but_for(evidence, standing=nothing))
        assert bare == not_proven(f"{logged_words}give --log.")


def test_a_result_of_which_nothing_was_said_stands(evidence: Evidence) -> None:
    words = "The log has no objection to the result, no withdrawal of it, and no session that replaces it."
    assert found("V63.standing", but_for(evidence, standing=QUIET)) == passed(words)
    opened = replace(QUIET, supersedes=NONE)
    assert found("V63.standing", but_for(evidence, standing=opened)) == passed(
        f"{words} It was opened to replace the result of session {NONE}."
    )
    draft = found("V63.standing", but_for(evidence, standing=QUIET, draft=True))
    assert draft == not_proven("This is a draft: nobody can object to it yet, nor withdraw it.")
