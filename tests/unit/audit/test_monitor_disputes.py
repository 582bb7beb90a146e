"""What the whole log tells of results since they were published: objections, withdrawals, and what replaces them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from testkit.audit_cli import vdb_audit
from testkit.disputed import dispute
from testkit.statements import coordinator_key
from vdb_shared.audit.monitor import Monitored, monitor
from vdb_shared.bundle.logged import (
    ObjectionRecord,
    OpenedRecord,
    PublishedRecord,
    Record,
    RevokedRecord,
    WithdrawalRecord,
    encode_record,
    log_origin,
    parse_record,
)
from vdb_shared.errors import FormatError
from vdb_shared.transparency.checkpoint import Checkpoint
from vdb_shared.transparency.note import ED25519, NoteKey

NOW = "2026-03-01T12:00:00Z"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def opened(number: int, supersedes: int | None = None) -> OpenedRecord:
    return OpenedRecord(
        session=digest(number),
        spec=digest(500 + number),
        roster=digest(77),
        opened="2026-02-01T12:00:00Z",
        due="2026-04-01T13:00:00Z",
        supersedes=None if supersedes is None else digest(supersedes),
    )


def published(number: int) -> PublishedRecord:
    return PublishedRecord(
        session=digest(number),
        result=digest(900 + number),
        published="2026-02-01T12:30:00Z",
        survivors=("hospital-a",),
        rho=None,
        delta=Decimal("0.000001"),
    )


def objected(number: int, statement: int = 1, result: int | None = None) -> ObjectionRecord:
    return ObjectionRecord(
        session=digest(number),
        result=digest(900 + number if result is None else result),
        objector="hospital-a",
        objection=digest(1000 + statement),
        received="2026-02-02T12:00:00Z",
        salt="0" * 64,
    )


def withdrawn(number: int, successor: int | None = None) -> WithdrawalRecord:
    return WithdrawalRecord(
        session=digest(number),
        result=digest(900 + number),
        withdrawal=digest(2000 + number),
        superseded_by=None if successor is None else digest(successor),
        withdrawn="2026-02-03T12:00:00Z",
        salt="0" * 64,
    )


def read(*records: Record) -> Monitored:
    checkpoint = Checkpoint("lung-video/vdb-log", len(records), b"r" * 32)
    return monitor(checkpoint, [encode_record(record) for record in records], NOW)


def test_a_chain_of_results_is_followed_from_both_sides() -> None:
    found = read(opened(1), published(1), withdrawn(1), opened(2, 1), published(2), opened(3, 2), published(3))
    first, second, third = found.sessions
    assert (first.successors, second.successors, third.successors) == ((digest(2),), (digest(3),), ())
    assert (first.supersedes, second.supersedes, third.supersedes) == ("", digest(1), digest(2))
    assert (found.wrong, found.alarming) == ((), False)


def test_objections_and_withdrawals_are_remarked_and_no_alarm() -> None:
    found = read(opened(1), published(1), objected(1), objected(1, 2), withdrawn(1))
    assert [len(session.objections) for session in found.sessions] == [2]
    assert sum("hospital-a objects to the result" in remark for remark in found.remarks) == 2
    assert sum("was withdrawn 2026-02-03T12:00:00Z" in remark for remark in found.remarks) == 1
    assert not found.alarming


def test_an_objection_after_a_revocation_of_its_members_key_is_asked_about() -> None:
    gone = RevokedRecord(
        institution="hospital-a", key="a" * 64, reason="compromised", revoked="2026-02-02T00:00:00Z", salt="0" * 64
    )
    early = read(opened(1), published(1), objected(1), gone)
    late = read(opened(1), published(1), gone, objected(1))
    whose = read(opened(1), published(1), gone.model_copy(update={"institution": "hospital-b"}), objected(1))
    words = "was revoked before (entry "
    assert [sum(words in remark for remark in found.remarks) for found in (early, late, whose)] == [0, 1, 0]
    assert any("; a key of hospital-a was revoked before (entry 2, compromised), and" in item for item in late.remarks)


def test_a_replacement_that_was_not_announced_at_its_opening_is_asked_about() -> None:
    """A consortium that runs again in quiet and then names the nicer result as the one that counts."""
    found = read(opened(1), published(1), opened(2), published(2), withdrawn(1, 2))
    assert any("did not say so when it was opened" in remark for remark in found.remarks)
    honest = read(opened(1), published(1), opened(2, 1), published(2), withdrawn(1, 2))
    assert not any("did not say so" in remark or "were opened to replace" in remark for remark in honest.remarks)
    assert honest.sessions[0].successors == (digest(2),)


def test_two_replacements_of_one_result_are_asked_about() -> None:
    found = read(opened(1), published(1), opened(2, 1), opened(3, 1))
    assert any("2 sessions were opened to replace the result" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ((opened(1), objected(1), published(1)), "is to no result that session"),
        ((opened(1), published(1), objected(1, result=5)), "is to no result that session"),
        ((opened(1), published(1), objected(1), objected(1)), "is logged again"),
        ((objected(4),), "is to no result that session"),
        ((opened(1), withdrawn(1), published(1)), "a withdrawal is of no result"),
        ((opened(1), published(1), withdrawn(1), withdrawn(1)), "is withdrawn a second time"),
        ((opened(1), published(1), withdrawn(1, 9)), "which is not announced before it"),
        ((opened(1), opened(2, 1), published(1)), "which has none before it"),
        ((opened(2, 8),), "which has none before it"),
    ],
)
def test_what_an_honest_coordinator_never_logs_is_wrong(records: tuple[Record, ...], words: str) -> None:
    found = read(*records)
    assert [words in sentence for sentence in found.wrong] == [True]
    assert all(fault.afterwards for fault in found.faults)
    assert found.alarming


def test_records_have_one_encoding_and_absent_fields_are_not_there() -> None:
    for record in (opened(1), opened(2, 1), objected(1), withdrawn(1), withdrawn(1, 2)):
        assert parse_record(encode_record(record)) == record
    assert b"supersede" not in encode_record(opened(1)) + encode_record(withdrawn(1))
    for entry in (encode_record(opened(2, 1)), encode_record(withdrawn(1, 2))):
        start, _, rest = entry.partition(b'"supersede')
        name, _, _ = rest.partition(b'"')
        empty = start + b'"supersede' + name + b'":null' + rest[rest.index(b'"', len(name) + 3) + 1 :]
        with pytest.raises(FormatError):
            parse_record(empty)


def test_the_program_shows_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    found, folder = dispute(), tmp_path_factory.mktemp("log")
    for path, data in found.log.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    key = NoteKey(log_origin("testbed"), ED25519, coordinator_key("dispute").public_key.raw)
    done = vdb_audit("monitor", folder, "--key", str(key))
    assert done.returncode == 0, done.stderr
    first, second = (line for line in done.stdout.splitlines() if line.startswith("published"))
    assert "withdrawn 2026-02-03T10:00:00Z" in first
    assert "2 objections" in first
    assert f"replaced by {found.second.record.open.payload_digest[:19]}" in first
    assert f"replaces {found.first.record.open.payload_digest[:19]}" in second
    assert "ASK" in done.stdout


# What is said, word for word.


def test_what_a_reader_should_ask_about_is_said_in_full() -> None:
    found = read(
        opened(1), published(1), objected(1), opened(2), opened(3, 1), withdrawn(1, 2), published(2), published(3)
    )
    assert found.remarks == (
        f"hospital-a objects to the result of session {digest(1)}, logged 2026-02-02T12:00:00Z: ask for the statement "
        f"{digest(1001)}, which says why",
        f"the result of session {digest(1)} was withdrawn 2026-02-03T12:00:00Z: ask for the statement {digest(2001)}, which "
        "says why",
        f"2 sessions were opened to replace the result of session {digest(1)}: ask which one counts",
        f"session {digest(2)}, which is to replace the result of session {digest(1)}, did not say so when it was opened: ask "
        "the lead why",
    )
    assert found.sessions[0].successors == (digest(3), digest(2))


def test_what_an_honest_coordinator_never_logs_is_said_with_its_entry() -> None:
    records = (opened(1), published(1), objected(1), objected(1), objected(2), withdrawn(2), opened(4, 3))
    found = read(*records, withdrawn(1, 9), withdrawn(1))
    assert found.wrong == (
        f"entry 3: an objection of hospital-a to the result of session {digest(1)} is logged again",
        f"entry 4: an objection of hospital-a is to no result that session {digest(2)} has before it",
        f"entry 5: a withdrawal is of no result that session {digest(2)} has before it",
        f"entry 6: session {digest(4)} is to replace the result of {digest(3)}, which has none before it",
        f"entry 7: the result of session {digest(1)} is withdrawn for session {digest(9)}, which is not announced before it",
        f"entry 8: the result of session {digest(1)} is withdrawn a second time; only the first counts",
    )
    of = [digest(1), digest(2), digest(2), digest(4), digest(1), digest(1)]
    assert [fault.session for fault in found.faults] == of
    assert found.sessions[0].withdrawal == withdrawn(1, 9), "only the first counts"


def test_json_of_a_disputed_session_has_both_records_whole() -> None:
    found = read(opened(1), published(1), objected(1), opened(2, 1), withdrawn(1, 2))
    assert found.wrong == ()
    sessions = found.to_json()["sessions"]
    assert isinstance(sessions, list)
    first, second = sessions
    assert first["objections"] == [
        {
            "entry": 2,
            "kind": "objection",
            "objection": digest(1001),
            "objector": "hospital-a",
            "received": "2026-02-02T12:00:00Z",
            "result": digest(901),
            "salt": "0" * 64,
            "session": digest(1),
            "version": "vdb-log/1",
        }
    ]
    assert first["withdrawal"] == {
        "kind": "withdrawal",
        "result": digest(901),
        "salt": "0" * 64,
        "session": digest(1),
        "superseded_by": digest(2),
        "version": "vdb-log/1",
        "withdrawal": digest(2001),
        "withdrawn": "2026-02-03T12:00:00Z",
    }
    assert (first["successors"], second["supersedes"]) == ([digest(2)], digest(1))
