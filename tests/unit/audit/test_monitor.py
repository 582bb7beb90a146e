"""What the whole log tells: sessions that never ended, second ends, and what each institution has spent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from vdb_shared.audit.entries import MOST_FAULTS
from vdb_shared.audit.monitor import Monitored, monitor
from vdb_shared.bundle.logged import AbortedRecord, OpenedRecord, PublishedRecord, Record, encode_record, parse_record
from vdb_shared.errors import FormatError
from vdb_shared.privacy.conversion import epsilon_of_rho
from vdb_shared.transparency.checkpoint import Checkpoint

NOW = "2026-03-01T12:00:00Z"
SPEC = "sha256:" + "5" * 64
DELTA = Decimal("0.000001")


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def opened(number: int, *, spec: str = SPEC, due: str = "2026-02-01T13:00:00Z") -> OpenedRecord:
    return OpenedRecord(session=digest(number), spec=spec, roster=digest(77), opened="2026-02-01T12:00:00Z", due=due)


def published(number: int, *survivors: str, rho: str | None = "0.5", result: int = 9) -> PublishedRecord:
    return PublishedRecord(
        session=digest(number),
        result=digest(result),
        published="2026-02-01T12:30:00Z",
        survivors=survivors or ("hospital-a", "studio-b"),
        rho=None if rho is None else Decimal(rho),
        delta=DELTA,
    )


def aborted(number: int) -> AbortedRecord:
    return AbortedRecord(
        session=digest(number), abort=digest(7), stage="sharing keys", aborted="2026-02-01T12:10:00Z", salt="0" * 64
    )


def read(*records: Record) -> Monitored:
    checkpoint = Checkpoint("lung-video/vdb-log", len(records), b"r" * 32)
    return monitor(checkpoint, [encode_record(record) for record in records], NOW)


def test_an_honest_log_has_nothing_wrong() -> None:
    found = read(opened(1), opened(2, spec=digest(55)), published(1), aborted(2))
    assert [session.state for session in found.sessions] == ["published", "aborted"]
    assert (found.wrong, found.remarks, found.alarming) == ((), (), False)


def test_a_session_of_which_nothing_was_published_is_seen() -> None:
    found = read(opened(1), published(1), opened(2, spec=digest(55)))
    assert found.alarming
    assert len(found.remarks) == 1
    assert digest(2) in found.remarks[0]
    assert "neither a result nor an abort" in found.remarks[0]


def test_a_session_that_is_still_in_time_is_no_alarm() -> None:
    found = read(opened(1, due="2026-04-01T00:00:00Z"))
    assert [session.state for session in found.sessions] == ["open"]
    assert not found.alarming


@pytest.mark.parametrize("due", ["9999-12-31T23:59:59Z", "2026-13-01T00:00:00Z"])
def test_a_session_that_need_never_end_is_remarked(due: str) -> None:
    found = read(opened(1, due=due))
    assert any("need not end before" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rho":"0.5"', b'"rho":"-1"'),
        (b'"delta":"0.000001"', b'"delta":"0"'),
        (b'"delta":"0.000001"', b'"delta":"2"'),
        (b'"studio-b"', b'"hospital-a"'),
    ],
)
def test_costs_that_nobody_can_have_are_no_record(old: bytes, new: bytes) -> None:
    entry = encode_record(published(1))
    assert old in entry
    with pytest.raises(FormatError):
        parse_record(entry.replace(old, new))


def test_the_nicest_of_three_runs_is_remarked() -> None:
    found = read(opened(1), aborted(1), opened(2), aborted(2), opened(3), published(3))
    assert f"spec {SPEC} was run in 3 sessions: 1 published, 2 aborted, 0 open, 0 overdue" in found.remarks
    assert not found.alarming


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ((opened(1), published(1), published(1, result=10)), "ends a second time"),
        ((opened(1), aborted(1), published(1)), "ends a second time"),
        ((published(1),), "was never announced"),
        ((published(1), opened(1)), "was never announced"),
        ((opened(1), opened(1)), "is opened again"),
    ],
)
def test_what_an_honest_log_never_holds(records: tuple[Record, ...], words: str) -> None:
    found = read(*records)
    assert found.alarming
    assert any(words in sentence for sentence in found.wrong)


def test_an_entry_that_is_no_record_is_wrong_and_the_rest_is_read() -> None:
    entries = [encode_record(opened(1)), b"{}", b"\xff", encode_record(published(1))]
    found = monitor(Checkpoint("log", 4, b"r" * 32), entries, NOW)
    assert [sentence.split(":")[0] for sentence in found.wrong] == ["entry 1", "entry 2"]
    assert found.sessions[0].state == "published"


def test_costs_add_up_for_each_institution() -> None:
    found = read(
        opened(1), opened(2), published(1, "hospital-a", "studio-b"), published(2, "hospital-a", rho="0.25", result=10)
    )
    spent = {item.institution: item for item in found.spent}
    assert (spent["hospital-a"].rho, spent["hospital-a"].results) == (Decimal("0.75"), 2)
    assert spent["hospital-a"].epsilon == epsilon_of_rho(Decimal("0.75"), DELTA)
    assert spent["studio-b"].rho == Decimal("0.5")


def test_a_result_without_noise_has_no_epsilon() -> None:
    found = read(opened(1), published(1, rho=None))
    assert [(item.rho, item.epsilon) for item in found.spent] == [(None, None)] * 2


def test_records_have_one_encoding() -> None:
    for record in (opened(1), published(1), published(1, rho=None), aborted(1)):
        assert parse_record(encode_record(record)) == record
    entry = encode_record(opened(1))
    for other in (entry + b" ", entry.replace(b"vdb-log/1", b"vdb-log/2"), entry.replace(b'"due"', b'"duf"')):
        with pytest.raises(FormatError):
            parse_record(other)


def test_too_many_institutions_for_one_entry_are_refused() -> None:
    with pytest.raises(FormatError, match="longer than an entry"):
        encode_record(published(1, *(f"institution-{number:052}" for number in range(1000))))


def test_costs_that_nobody_can_compute_with_are_wrong_and_no_crash() -> None:
    """A coordinator can log what it likes; the reader must not fall over it, nor over sums of it."""
    entry = encode_record(published(1))
    huge = entry.replace(b'"rho":"', b'"rho":"1000000000000000000000000000000')
    assert huge != entry
    found = monitor(Checkpoint("t/vdb-log", 1, bytes(32)), [huge], NOW)
    assert "rho" in found.wrong[0]
    assert not found.spent


# What is said, word for word.


def test_what_a_reader_should_ask_about_is_said_in_full() -> None:
    late, long = opened(2, due="2026-02-01T12:59:59Z"), opened(4, spec=digest(56), due="2026-04-02T12:00:01Z")
    found = read(opened(1), published(1), late, opened(3), aborted(3), long)
    assert found.remarks == (
        f"session {digest(2)} was opened 2026-02-01T12:00:00Z, should have ended by 2026-02-01T12:59:59Z, and neither a "
        "result nor an abort was logged: ask the lead what became of it",
        f"session {digest(4)} was opened 2026-02-01T12:00:00Z and need not end before 2026-04-02T12:00:01Z: ask the lead why",
        f"spec {SPEC} was run in 3 sessions: 1 published, 1 aborted, 0 open, 1 overdue",
    )


def test_a_spec_that_was_run_twice_is_remarked_and_one_that_was_run_once_is_not() -> None:
    found = read(opened(1), published(1), opened(2), published(2, result=10), opened(3, spec=digest(6)), published(3))
    assert found.remarks == (f"spec {SPEC} was run in 2 sessions: 2 published, 0 aborted, 0 open, 0 overdue",)


def test_sixty_days_and_the_very_moment_of_a_deadline_are_in_time() -> None:
    assert not read(opened(1, due="2026-04-02T12:00:00Z")).remarks
    due = read(opened(1, due=NOW))
    assert [session.state for session in due.sessions] == ["open"]
    assert [session.ended for session in due.sessions] == [""]


def test_each_session_is_told_with_its_times_and_the_statement_that_ended_it() -> None:
    late = opened(3, spec=digest(56), due="2026-02-01T12:59:59Z")
    found = read(opened(1), published(1), opened(2, spec=digest(55)), aborted(2), late)
    told = [(item.state, item.ended, item.statement) for item in found.sessions]
    assert told == [
        ("published", "2026-02-01T12:30:00Z", digest(9)),
        ("aborted", "2026-02-01T12:10:00Z", digest(7)),
        ("overdue", "2026-02-01T12:59:59Z", ""),
    ]


def test_a_session_is_found_by_its_id() -> None:
    found = read(opened(1), opened(2))
    assert found.session(digest(2)) == found.sessions[1]
    assert found.session(digest(3)) is None


def test_what_an_honest_log_never_holds_is_said_with_its_entry() -> None:
    found = read(opened(1), published(1), opened(1), published(1, result=10), published(2))
    assert found.wrong == (
        f"entry 2: session {digest(1)} is opened again",
        f"entry 3: session {digest(1)} ends a second time; only its first end counts",
        f"entry 4: session {digest(2)} ends and was never announced",
    )
    assert [(fault.session, fault.afterwards) for fault in found.faults] == [
        (digest(1), False),
        (digest(1), False),
        (digest(2), False),
    ]
    assert (found.sessions[0].statement, len(found.sessions)) == (digest(9), 1)


def test_the_smallest_delta_of_several_results_counts_and_one_without_noise_leaves_no_cost() -> None:
    stricter = published(2, "hospital-a", rho="0.25", result=10).model_copy(update={"delta": Decimal("0.0000001")})
    (spent,) = read(opened(1), opened(2), published(1, "hospital-a"), stricter).spent
    assert (spent.delta, spent.results) == (Decimal("0.0000001"), 2)
    assert spent.epsilon == epsilon_of_rho(Decimal("0.75"), Decimal("0.0000001"))
    (spent,) = read(opened(1), opened(2), published(1, "hospital-a"), published(2, "hospital-a", rho=None)).spent
    assert (spent.institution, spent.results, spent.rho, spent.epsilon, spent.delta) == (
        "hospital-a",
        2,
        None,
        None,
        DELTA,
    )


def test_json_of_a_log_has_every_field() -> None:
    found = read(
        opened(1), published(1, "hospital-a"), opened(2, spec=digest(55), due="2026-02-01T12:59:59Z")
    ).to_json()
    epsilon = epsilon_of_rho(Decimal("0.5"), DELTA)
    assert found == {
        "version": "vdb-log-monitor/1",
        "origin": "lung-video/vdb-log",
        "size": 3,
        "root": (b"r" * 32).hex(),
        "sessions": [
            {
                "session": digest(1),
                "spec": SPEC,
                "opened": "2026-02-01T12:00:00Z",
                "state": "published",
                "ended": "2026-02-01T12:30:00Z",
                "statement": digest(9),
                "supersedes": "",
                "objections": [],
                "withdrawal": None,
                "successors": [],
            },
            {
                "session": digest(2),
                "spec": digest(55),
                "opened": "2026-02-01T12:00:00Z",
                "state": "overdue",
                "ended": "2026-02-01T12:59:59Z",
                "statement": "",
                "supersedes": "",
                "objections": [],
                "withdrawal": None,
                "successors": [],
            },
        ],
        "spent": [
            {
                "institution": "hospital-a",
                "results": 1,
                "rho": "0.5",
                "epsilon": f"{epsilon.normalize():f}",
                "delta": "0.000001",
            }
        ],
        "wrong": [],
        "remarks": [
            f"session {digest(2)} was opened 2026-02-01T12:00:00Z, should have ended by 2026-02-01T12:59:59Z, and neither "
            "a result nor an abort was logged: ask the lead what became of it"
        ],
        "revocations": [],
    }
    (spent,) = read(opened(1), published(1, "hospital-a", rho=None)).spent
    assert (spent.to_json()["rho"], spent.to_json()["epsilon"]) == (None, None)


def test_a_log_of_nothing_but_faults_is_told_and_not_kept_whole() -> None:
    found = read(opened(1), *[opened(1)] * (3 * MOST_FAULTS), published(2))
    assert len(found.wrong) == MOST_FAULTS + 1
    assert "ends and was never announced" in found.wrong[-1], "those of another session are kept"


def test_sessions_that_replace_a_result_are_in_the_order_of_their_opening() -> None:
    replacing = [replace_result(number) for number in (4, 3)]
    found = read(opened(1), published(1), *replacing, replacing[0])
    first = found.session(digest(1))
    assert first is not None
    assert first.successors == (digest(4), digest(3)), "an opening that is repeated counts once"


def replace_result(number: int) -> OpenedRecord:
    return opened(number).model_copy(update={"supersedes": digest(1)})
