"""What an auditor knows of the log beside an answer to a spot check: it is held against everything that the answer shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from testkit.bundles import Past, SmallSession, logged, small_session
from testkit.consortium import signer
from testkit.disputed import objection, objection_entry, withdrawal, withdrawal_entry
from testkit.logs import MadeLog
from testkit.opened_lines import INSTITUTION, SEAT, Story, entry_of, kept_list
from testkit.statements import Twist, coordinator_key, sign
from vdb_shared.audit.report import Line
from vdb_shared.audit.spot_report import SampleReport
from vdb_shared.bundle.logged import RevokedRecord, encode_record
from vdb_shared.bundle.statement import RunManifest
from vdb_shared.errors import UnreachableError
from vdb_shared.identity import StatementKey


@pytest.fixture(scope="module")
def story() -> Story:
    return Story(kept_list())


@pytest.fixture(scope="module")
def file(story: Story) -> bytes:
    return story.file(story.question())


@dataclass(frozen=True)
class AfterRevocation(Story):
    """A session that was opened after the institution's key had been revoked, signed with that key all the same."""

    @cached_property
    def session(self) -> SmallSession:
        key = signer(self.seed, SEAT).public_key.key_id
        revoked = RevokedRecord(
            institution=INSTITUTION, key=key, reason="compromised", revoked="2026-01-01T00:00:00Z", salt="7" * 64
        )
        twist = Twist(RunManifest, "sample_root", self.kept.root, INSTITUTION)
        return small_session(self.seed, twist=twist, past=Past(entries=(encode_record(revoked),)))


def reading(files: Mapping[str, bytes]) -> Callable[[str], bytes]:
    return lambda path: files[path]


def line(report: SampleReport, check: str) -> Line:
    return next(item for item in report.lines if item.id == check)


def fork(story: Story, *entries: bytes, shared: int | None = None) -> MadeLog:
    """Return another log that the coordinator signed: the first entries of the true one, then these."""
    true = story.log
    return MadeLog(true.consortium, true.signer, [*true.entries[:shared], *entries])


def test_a_result_that_the_log_refutes_is_not_spot_checked() -> None:
    late = AfterRevocation(kept_list())
    given = late.file(late.question())
    assert late.check_all(given).exit_code == 0
    report = late.check_all(given, fetch=reading(late.log.files()))
    assert (report.exit_code, line(report, "S01").status.value) == (1, "FAIL")
    assert line(report, "S01").detail.startswith("V65: ")
    assert line(report, "S04").status.value == "NOT REACHED"


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_a_checkpoint_of_another_log_is_noticed_whatever_its_size(story: Story, file: bytes, size: int) -> None:
    """Alone where it has the size of a state that the answer or the bundle shows; with the log always."""
    other = fork(story, *(entry_of(f"fork {number}") for number in range(size)), shared=1)
    other.entries[size:] = []
    note = other.files()["checkpoint"]
    alone = story.check_all(file, remembered=note)
    assert alone.exit_code == (1 if size in {2, 3, 5} else 0)
    assert size in {2, 3, 5} or line(alone, "S05").status.value == "NOT PROVEN"
    long = MadeLog(story.log.consortium, story.log.signer, [*story.log.entries, entry_of("fifth")])
    both = story.check_all(file, remembered=note, fetch=reading(long.files()))
    assert both.exit_code == 1
    assert both.failure is not None
    assert both.failure.id in {"S01", "S05"}
    only_spot = story.check(file, remembered=note, fetch=reading(long.files()))
    assert line(only_spot, "S05").status.value == "FAIL"


def test_a_file_with_which_another_log_chose_is_noticed_though_its_sizes_are_others(story: Story, file: bytes) -> None:
    """Two states that both choose after one result are two logs, also if neither checkpoint has a size of the other's."""
    asked = Story(story.kept, later=(b"no record", entry_of("a"), entry_of("b"), entry_of("c"), entry_of("d")))
    report = story.check(file, remembered=asked.choice().encode())
    assert line(report, "S05").status.value == "FAIL"
    assert "the coordinator signed two logs" in line(report, "S05").detail
    grown = Story(story.kept, later=(*story.later, entry_of("later"), entry_of("last")))
    assert line(story.check(file, remembered=grown.choice().encode()), "S05").status.value == "PASS"


def test_a_log_that_differs_behind_the_state_that_chose_is_noticed(story: Story, file: bytes) -> None:
    """The answer bears a signed checkpoint of five entries; a log that shares three with it is another one."""
    other = fork(story, *(entry_of(f"fork {number}") for number in range(4)), shared=3)
    report = story.check(file, fetch=reading(other.files()))
    assert "does not begin with the 5 entries of the checkpoint in the file" in line(report, "S05").detail


def test_a_log_that_is_shorter_and_another_one_is_no_older_copy(story: Story, file: bytes) -> None:
    """It has four entries, the checkpoint in the answer five; the state that chose has three, and it begins otherwise."""
    other = fork(story, entry_of("fork"), entry_of("another"), shared=2)
    report = story.check(file, fetch=reading(other.files()))
    assert line(report, "S05").status.value == "FAIL"
    assert line(report, "S05").detail == "the log does not begin with the 3 entries of the state that chose."


def unreachable(_path: str) -> bytes:
    raise UnreachableError("checkpoint: cannot be reached (timed out); check the log's address and the network")


def test_a_log_that_cannot_be_read_leaves_the_check_incomplete_and_accuses_nobody(story: Story, file: bytes) -> None:
    stranger = MadeLog(story.log.consortium, StatementKey.generate(), story.log.entries)
    damaged = {path: data[:-1] for path, data in story.log.files().items()}
    ways: list[dict[str, Any]] = [
        {"fetch": unreachable},
        {"fetch": reading(logged(story.session).files())},
        {"fetch": reading(fork(story, shared=4).files())},
        {"fetch": reading(stranger.files())},
        {"fetch": reading(damaged)},
        {"remembered": b"no checkpoint"},
        {"remembered": stranger.files()["checkpoint"]},
    ]
    for known in ways:
        report = story.check_all(file, **known)
        assert report.exit_code == 3, known
        assert report.verdict.startswith("INCOMPLETE: nothing failed, but ")
        assert line(report, "S05").status.value == "SKIPPED"
        assert report.to_json()["verdict"] == "INCOMPLETE"


def test_what_was_said_of_the_result_since_is_said_here_too(story: Story, file: bytes) -> None:
    said, taken_back = objection(story.session), withdrawal(story.session)
    objected = fork(story, objection_entry(sign(said, story.session.key(SEAT)), said))
    report = story.check_all(file, fetch=reading(objected.files()))
    assert report.exit_code == 0
    assert "there is 1 objection: see S01" in report.verdict
    withdrawn = fork(story, withdrawal_entry(sign(taken_back, coordinator_key(story.seed)), taken_back))
    report = story.check_all(file, fetch=reading(withdrawn.files()))
    assert report.verdict.startswith("PASS, BUT THE RESULT IS WITHDRAWN: ")
    assert line(report, "S01").sentence != line(story.check_all(file), "S01").sentence
    assert "withdr" in str(line(report, "S01").to_json()).lower()
    assert report.to_json()["standing"]["mark"] == "withdrawn"
