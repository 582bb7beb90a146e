"""The log in an audit: announced before anyone contributed, seen by a quorum, one result, not rewritten since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from testkit.bundles import SmallSession, logged, small_session, witnesses_of
from testkit.logs import SEEN, MadeLog
from testkit.opened_lines import entry_of
from testkit.statements import INSTITUTIONS
from vdb_shared.audit.report import Line, Report, Status, Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.logged import log_origin
from vdb_shared.bundle.record import OPEN_PROOF, RESULT_PROOF
from vdb_shared.bundle.witnessed import check_logged, witness_name
from vdb_shared.errors import FormatError, SignatureError, UnreachableError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.roster import Roster, parse_roster
from vdb_shared.transparency.checkpoint import cosign
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.proof import LogProof, parse_proof
from vdb_shared.transparency.tiles import Fetch

EVERYBODY = range(5)
BROKEN_TILES = {"tile/0/000.p/2": bytes(64)}
LOG_CHECKS = ("V21.log", "V60", "V61", "V62", "V63")


def roster_of(session: SmallSession) -> Roster:
    return parse_roster(session.record.roster.roster)


def line(report: Report, check: str) -> Line:
    return next(found for found in report.lines if found.id == check)


def statuses(report: Report) -> list[str]:
    return [line(report, check).status.value for check in LOG_CHECKS]


def serving(files: Mapping[str, bytes]) -> Fetch:
    return lambda path: files[path]


def with_result_proof(session: SmallSession, proof: LogProof | bytes) -> Report:
    data = proof if isinstance(proof, bytes) else proof.to_bytes()
    return verify(session.edited({RESULT_PROOF: data}), root=session.root)


def first_failure(report: Report) -> tuple[str, str]:
    assert report.first_failure is not None
    return report.first_failure.id, report.first_failure.detail


def test_a_bundle_proves_that_its_session_was_announced_and_its_result_logged(plain: SmallSession) -> None:
    report = verify(plain.bundle(), root=plain.root)
    assert report.verdict is Verdict.PASS
    assert statuses(report) == ["PASS", "PASS", "PASS", "NOT PROVEN", "NOT PROVEN"]
    assert "5 institutions of the 5 that joined signed that they saw it there" in line(report, "V21.log").sentence
    assert "4 institutions of the 5 that joined signed" in line(report, "V61").sentence


def test_who_reads_the_log_sees_that_it_was_not_rewritten_and_has_one_result(plain: SmallSession) -> None:
    log = logged(plain)
    kept = log.proof(0, {}).checkpoint
    log.entries.append(entry_of("another session"))
    report = verify(plain.bundle(), root=plain.root, fetch=serving(log.files()), remembered=kept)
    assert statuses(report) == ["PASS"] * 5
    assert (
        "names one result of this session, this one, and no other session with this spec"
        in line(report, "V63").sentence
    )


def test_an_entry_that_cannot_be_read_may_name_another_result(plain: SmallSession) -> None:
    log = logged(plain)
    log.entries.append(b'{"not": "a record"}')
    report = verify(plain.bundle(), root=plain.root, fetch=serving(log.files()))
    assert statuses(report) == ["PASS"] * 4 + ["NOT PROVEN"]
    assert line(report, "V63").sentence.startswith("Entry 2 of the log cannot be read by this version")


# Announced.


def test_a_session_that_too_few_saw_in_the_log_before_the_seal_fails() -> None:
    session = small_session(witnesses=(0, 1, 2))
    assert first_failure(verify(session.bundle(), root=session.root)) == (
        "V21.log",
        "3 of 5 witnesses cosigned the log, 4 are needed",
    )


def test_a_quorum_that_saw_it_is_enough() -> None:
    session = small_session(witnesses=(0, 1, 2, 4))
    assert verify(session.bundle(), root=session.root).verdict is Verdict.PASS


def test_a_log_of_another_key_is_not_the_consortiums() -> None:
    session = small_session(log_key=StatementKey.from_seed(bytes(32)))
    check, detail = first_failure(verify(session.bundle(), root=session.root))
    assert check == "V21.log"
    assert "bears no signature of its log" in detail


def test_another_proof_than_the_sealed_one_does_not_count(plain: SmallSession) -> None:
    """Made after the session, with later signatures: contributions do not name it."""
    later = plain.log.proof(0, witnesses_of(plain.seed, EVERYBODY), SEEN + 86_400)
    data = plain.forged({OPEN_PROOF: later.to_bytes()}, accomplices=(0, 1, 3, 4))
    check, detail = first_failure(verify(data, root=plain.root))
    assert check == "V21.log"
    assert "proof that the seal names: expected" in detail


def test_the_announcement_of_another_session_does_not_count(plain: SmallSession) -> None:
    session = plain.record.open.payload_digest.encode()
    entry = plain.log.entries[0].replace(session, b"sha256:" + b"5" * 64)
    proof = MadeLog("testbed", plain.coordinator, [entry]).proof(0, witnesses_of(plain.seed, EVERYBODY))
    with pytest.raises(FormatError, match="does not lead from entry 0 to the log's root"):
        check_logged(proof, plain.log.entries[0], roster_of(plain), INSTITUTIONS, 4)
    data = plain.forged({OPEN_PROOF: proof.to_bytes()}, accomplices=(0, 1, 3, 4))
    assert first_failure(verify(data, root=plain.root))[0] == "V21.log"


# Logged and witnessed.


def test_a_result_that_too_few_saw_in_the_log_fails(plain: SmallSession) -> None:
    report = with_result_proof(plain, logged(plain).proof(1, witnesses_of(plain.seed, (0, 1, 3))))
    assert first_failure(report) == ("V61", "3 of 5 witnesses cosigned the log, 4 are needed")
    assert line(report, "V60").status is Status.PASS


def test_institutions_that_did_not_join_are_no_witnesses(plain: SmallSession) -> None:
    strangers = {f"stranger-{number}": StatementKey.generate() for number in range(5)}
    report = with_result_proof(plain, logged(plain).proof(1, strangers))
    assert first_failure(report)[0] == "V61"


@pytest.mark.parametrize("change", ["stranger", "twice", "order", "time"])
def test_every_line_below_the_log_is_known_and_in_its_place(plain: SmallSession, change: str) -> None:
    """Notes may bear signatures of unknown keys; in a bundle they would be bytes that nobody answers for."""
    proof = logged(plain).proof(1, witnesses_of(plain.seed, EVERYBODY))
    note = parse_note(proof.checkpoint)
    log, *witnesses = note.signatures
    stranger = cosign(
        logged(plain).checkpoint, witness_name("testbed", "zoo-zurich"), StatementKey.from_seed(bytes(32)), SEEN
    )
    lines: Sequence[object] = {
        "stranger": [log, *witnesses, stranger],
        "twice": [log, *witnesses, witnesses[0]],
        "order": [log, witnesses[1], witnesses[0], *witnesses[2:]],
        "time": [log, *witnesses[:1], *witnesses[1:], log],
    }[change]
    changed = (note.text + "\n" + "".join(f"{found}\n" for found in lines)).encode()
    report = with_result_proof(plain, LogProof(proof.index, proof.path, changed))
    assert first_failure(report)[0] == "V61"


def test_every_changed_byte_of_the_results_proof_is_found(plain: SmallSession) -> None:
    data, entry, roster = plain.members[RESULT_PROOF], logged(plain).entries[1], roster_of(plain)
    check_logged(parse_proof(data), entry, roster, INSTITUTIONS, 4)
    for position in range(len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises((FormatError, SignatureError)):
            check_logged(parse_proof(changed), entry, roster, INSTITUTIONS, 4)
    assert first_failure(with_result_proof(plain, changed))[0] == "V60"


def test_the_proof_of_something_else_is_none_of_the_result(plain: SmallSession) -> None:
    log = logged(plain)
    assert first_failure(with_result_proof(plain, log.proof(0, witnesses_of(plain.seed, EVERYBODY))))[0] == "V60"
    other = MadeLog("elsewhere", plain.coordinator, log.entries)
    assert first_failure(with_result_proof(plain, other.proof(1, witnesses_of(plain.seed, EVERYBODY))))[0] == "V60"
    assert other.checkpoint.origin == log_origin("elsewhere")


def test_a_log_that_has_the_result_and_not_the_opening_fails(plain: SmallSession) -> None:
    forked = MadeLog("testbed", plain.coordinator, logged(plain).entries[1:])
    report = with_result_proof(plain, forked.proof(0, witnesses_of(plain.seed, EVERYBODY)))
    assert first_failure(report) == ("V60", "the result is entry 0, its announcement entry 0.")


def test_a_draft_needs_no_proof_of_its_result_yet(plain: SmallSession) -> None:
    draft = plain.edited({RESULT_PROOF: None, "countersign.dsse.json": None})
    report = verify(draft, root=plain.root, draft=True)
    assert [line(report, check).status.value for check in LOG_CHECKS[:3]] == ["PASS", "SKIPPED", "SKIPPED"]
    assert report.first_failure is None


def test_a_published_bundle_without_the_proof_fails(plain: SmallSession) -> None:
    assert first_failure(verify(plain.edited({RESULT_PROOF: None}), root=plain.root))[0] == "V03"


# Read beside the bundle.


def test_witnesses_that_sign_two_logs_let_two_results_pass_and_the_log_betrays_them(plain: SmallSession) -> None:
    """What honest witnesses never do: with it, each of two readers is shown a result of the same session that verifies."""
    entries = logged(plain).entries
    other = MadeLog("testbed", plain.coordinator, [entries[0], b"{}", entries[1]])
    proof = other.proof(2, witnesses_of(plain.seed, EVERYBODY))
    data = plain.edited({RESULT_PROOF: proof.to_bytes()})
    assert verify(data, root=plain.root).verdict is Verdict.PASS
    assert verify(plain.bundle(), root=plain.root).verdict is Verdict.PASS
    longer = MadeLog("testbed", plain.coordinator, [*entries, b"{}", b"{}"])
    report = verify(data, root=plain.root, fetch=serving(longer.files()))
    assert first_failure(report)[0] == "V62"
    kept = MadeLog("testbed", plain.coordinator, [*entries, b"{}"]).proof(0, {}).checkpoint
    report = verify(data, root=plain.root, remembered=kept)
    assert first_failure(report)[0] == "V62"
    assert "show two different logs of 3 entries" in first_failure(report)[1]


@pytest.mark.parametrize("more", [[], [b"{}"]])
def test_a_log_that_does_not_continue_the_proofs_fails(plain: SmallSession, more: list[bytes]) -> None:
    entries = [logged(plain).entries[0], b"{}", *more]
    files = MadeLog("testbed", plain.coordinator, entries).files()
    assert first_failure(verify(plain.bundle(), root=plain.root, fetch=serving(files)))[0] == "V62"


def test_an_older_copy_of_the_log_or_a_page_in_its_place_proves_nothing_against_a_bundle(plain: SmallSession) -> None:
    older = MadeLog("testbed", plain.coordinator, logged(plain).entries[:1]).files()
    for files in (older, {"checkpoint": b"<html>Please log in</html>"}, {**logged(plain).files(), **BROKEN_TILES}):
        report = verify(plain.bundle(), root=plain.root, fetch=serving(files))
        assert line(report, "V62").status is Status.SKIPPED
        assert report.verdict is Verdict.INCOMPLETE


def test_a_second_result_in_the_log_fails(plain: SmallSession) -> None:
    log = logged(plain)
    second = log.entries[1].replace(b'"published":"2026', b'"published":"2027')
    assert second != log.entries[1]
    log.entries.append(second)
    report = verify(plain.bundle(), root=plain.root, fetch=serving(log.files()))
    check, detail = first_failure(report)
    assert check == "V63"
    assert "ends a second time" in detail


def test_other_sessions_with_the_same_spec_are_counted(plain: SmallSession) -> None:
    log = logged(plain)
    session = plain.record.open.payload_digest.encode()
    log.entries.append(log.entries[0].replace(session, b"sha256:" + b"5" * 64))
    report = verify(plain.bundle(), root=plain.root, fetch=serving(log.files()))
    assert "1 other session with this spec" in line(report, "V63").sentence


@pytest.mark.parametrize("error", [UnreachableError("log.example: cannot be reached"), UsageError("x: no such file")])
def test_a_log_that_cannot_be_read_leaves_the_audit_incomplete(plain: SmallSession, error: Exception) -> None:
    def fetch(_path: str) -> bytes:
        raise error

    report = verify(plain.bundle(), root=plain.root, fetch=fetch)
    assert statuses(report)[3:] == ["SKIPPED", "SKIPPED"]
    assert report.verdict is Verdict.INCOMPLETE


def test_a_checkpoint_of_another_log_is_refused(plain: SmallSession) -> None:
    kept = MadeLog("testbed", StatementKey.from_seed(bytes(32)), [b"{}"]).proof(0, {}).checkpoint
    report = verify(plain.bundle(), root=plain.root, remembered=kept)
    assert line(report, "V62").status is Status.SKIPPED
    assert "bears no signature of its log" in line(report, "V62").sentence


def test_times_beyond_the_calendar_are_shown_as_they_are(plain: SmallSession) -> None:
    proof = logged(plain).proof(1, witnesses_of(plain.seed, EVERYBODY), 2**62)
    report = with_result_proof(plain, proof)
    assert f"second {2**62}" in line(report, "V61").sentence
    assert parse_proof(proof.to_bytes()) == proof
