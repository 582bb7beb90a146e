"""What of a session stands in the log follows from its signed statements, and nothing else can stand there."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from testkit.evidence import golden_evidence
from vdb_shared.bundle.logged import AbortedRecord, encode_record, opened_entry, parse_record, published_entry
from vdb_shared.bundle.record import ACCOUNTING
from vdb_shared.bundle.statement import Statement
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError

EVIDENCE = golden_evidence("dropout")
DELTA = EVIDENCE.spec.privacy.delta
SESSION = EVIDENCE.record.open.payload_digest


def published(accounting: bytes, **fields: object) -> bytes:
    """Return the entry of a result with other fields."""
    statement = Statement((), EVIDENCE.result.model_copy(update=fields))
    return published_entry(statement.encode(), accounting, DELTA)


def opened(moment: str) -> bytes:
    return opened_entry(SESSION, EVIDENCE.opening.model_copy(update={"opened": moment}), EVIDENCE.spec.deadlines)


def test_a_session_is_due_after_all_its_deadlines() -> None:
    """60 s to join, 600 s to compute, six rounds of 10 s and 30 s to countersign."""
    entry = parse_canonical_json(opened("2026-01-31T12:00:00Z"))
    assert entry["due"] == "2026-01-31T12:12:30Z"
    assert entry["opened"] == "2026-01-31T12:00:00Z"


def test_what_an_opening_replaces_stands_in_its_entry_and_nothing_where_it_replaces_nothing() -> None:
    plain = parse_canonical_json(opened("2026-01-31T12:00:00Z"))
    assert sorted(plain) == ["due", "kind", "opened", "roster", "session", "spec", "version"]
    replacing = EVIDENCE.opening.model_copy(update={"supersedes": "sha256:" + "6" * 64})
    entry = parse_canonical_json(opened_entry(SESSION, replacing, EVIDENCE.spec.deadlines))
    assert entry["supersedes"] == "sha256:" + "6" * 64
    assert sorted(entry) == sorted([*plain, "supersedes"])


@pytest.mark.parametrize("moment", ["2026-02-30T12:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_session_ends_within_the_calendar(moment: str) -> None:
    with pytest.raises(FormatError, match=f"^{moment} and 750 seconds is not a moment of the calendar$"):
        opened(moment)


def test_the_cost_is_that_of_the_accounting() -> None:
    rho = parse_canonical_json(EVIDENCE.members[ACCOUNTING])["rho"]
    assert parse_canonical_json(published(EVIDENCE.members[ACCOUNTING]))["rho"] == rho
    assert parse_canonical_json(published(b'{"rho":"0.25"}'))["rho"] == "0.25"
    for nothing in (b"{}", b'{"rho":null}'):
        assert parse_canonical_json(published(nothing))["rho"] is None


@pytest.mark.parametrize("accounting", [b"[]", b"1", b'"rho"', b'{"rho":1}', b'{"rho":[]}', b"null"])
def test_an_accounting_without_a_cost_is_refused(accounting: bytes) -> None:
    with pytest.raises(FormatError, match=r"^the accounting names no cost$"):
        published(accounting)


def test_what_no_record_may_hold_is_named() -> None:
    with pytest.raises(FormatError, match=r"^this cannot stand in the log: rho: must be at most"):
        published(b'{"rho":"1000001"}')
    with pytest.raises(FormatError, match=r"^this cannot stand in the log: rho: must be at least"):
        published(b'{"rho":"-1"}')
    with pytest.raises(FormatError, match=r"^this cannot stand in the log: survivors: expected at least 1 of them"):
        published(b"{}", survivors=())
    with pytest.raises(FormatError, match="an institution stands twice"):
        published(b"{}", survivors=("lab-kyoto", "lab-kyoto"))
    with pytest.raises(FormatError, match=r"^this cannot stand in the log: delta: "):
        published_entry(EVIDENCE.result_envelope.payload, b"{}", Decimal(1))
    with pytest.raises(FormatError, match=r"^this cannot stand in the log: delta: "):
        published_entry(EVIDENCE.result_envelope.payload, b"{}", Decimal(0))


def test_a_record_reads_back_as_it_was_written() -> None:
    for entry in (EVIDENCE.opened_entry, EVIDENCE.published_entry):
        assert encode_record(parse_record(entry)) == entry


def test_a_session_that_was_aborted_is_one_record() -> None:
    salt = "0f" * 32
    record = AbortedRecord(session=SESSION, abort=SESSION, stage="joining", aborted="2026-01-31T12:20:00Z", salt=salt)
    assert parse_canonical_json(encode_record(record)) == {
        "aborted": "2026-01-31T12:20:00Z",
        "abort": SESSION,
        "kind": "session-aborted",
        "salt": salt,
        "session": SESSION,
        "stage": "joining",
        "version": "vdb-log/1",
    }
    assert parse_record(encode_record(record)) == record


def test_a_field_that_is_wrong_is_named_with_its_record() -> None:
    value = parse_canonical_json(EVIDENCE.opened_entry)
    with pytest.raises(FormatError, match=r"^an entry of the log is no record: session-opened\.session: "):
        parse_record(canonical_json(value | {"session": "1"}))
    with pytest.raises(FormatError, match=r"^an entry of the log is no record: session-opened\.extra: is no field"):
        parse_record(canonical_json(value | {"extra": 1}))


def test_a_record_has_one_encoding() -> None:
    spaced = EVIDENCE.opened_entry.replace(b",", b", ")
    with pytest.raises(FormatError) as caught:
        parse_record(spaced)
    assert "in its one encoding" not in str(caught.value)  # no canonical JSON, whatever it says
    value = parse_canonical_json(EVIDENCE.published_entry)
    with pytest.raises(FormatError, match="an entry of the log is not in its one encoding"):
        parse_record(canonical_json({name: item for name, item in value.items() if name != "version"}))


def test_nobody_changes_a_record_that_was_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(parse_record(EVIDENCE.opened_entry), "session", SESSION)  # noqa: B010  # as a caller without type checks would
