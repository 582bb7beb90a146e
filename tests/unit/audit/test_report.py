"""What follows from the lines of a report: its verdict, its exit status, and what it demands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vdb_shared.audit.report import Facts, Line, Report, Status, Verdict
from vdb_shared.errors import VerificationError


def report(*statuses: Status) -> Report:
    lines = [Line(f"V{number:02}", "Title", status, "It is so.") for number, status in enumerate(statuses)]
    return Report("sha256:0", 0, tuple(lines), None, pinned=False)


@pytest.mark.parametrize(
    ("statuses", "verdict", "code"),
    [
        ((), Verdict.PASS, 0),
        ((Status.PASS,), Verdict.PASS, 0),
        ((Status.PASS, Status.NOT_PROVEN), Verdict.PASS, 0),
        ((Status.PASS, Status.SKIPPED), Verdict.INCOMPLETE, 3),
        ((Status.PASS, Status.NOT_REACHED), Verdict.INCOMPLETE, 3),
        ((Status.FAIL,), Verdict.FAIL, 1),
        ((Status.SKIPPED, Status.NOT_REACHED, Status.FAIL, Status.PASS), Verdict.FAIL, 1),
    ],
)
def test_what_was_not_carried_out_never_counts_as_passed(
    statuses: tuple[Status, ...], verdict: Verdict, code: int
) -> None:
    found = report(*statuses)
    assert (found.verdict, found.exit_code) == (verdict, code)
    assert found.to_json()["verdict"] == verdict.value


def test_outcomes_are_written_as_the_specification_has_them() -> None:
    """protos/README.md §10.1; programs that read reports compare these words."""
    assert [status.value for status in Status] == ["PASS", "FAIL", "NOT PROVEN", "SKIPPED", "NOT REACHED"]
    assert [verdict.value for verdict in Verdict] == ["PASS", "FAIL", "INCOMPLETE"]


def test_the_first_failure_is_named() -> None:
    failing = report(Status.PASS, Status.FAIL, Status.FAIL)
    assert failing.first_failure is failing.lines[1]
    assert failing.to_json()["first_failure"] == "V01"
    assert report(Status.SKIPPED, Status.NOT_REACHED).first_failure is None
    assert report(Status.SKIPPED).to_json()["first_failure"] is None


def test_what_is_required_is_that_nothing_failed() -> None:
    report(Status.SKIPPED, Status.NOT_REACHED, Status.NOT_PROVEN).require()
    with pytest.raises(VerificationError) as caught:
        report(Status.PASS, Status.FAIL).require()
    assert caught.value.check == "V01"
    assert caught.value.reason == "It is so."
    detailed = Line("V02", "Title", Status.FAIL, "It is not so.", "expected 1, found 2.")
    with pytest.raises(VerificationError) as caught:
        Report("sha256:0", 0, (detailed,), None, pinned=False).require()
    assert caught.value.reason == "It is not so. expected 1, found 2."


def test_its_json_says_what_it_says() -> None:
    line = Line("V02", "Title", Status.FAIL, "It is not so.", "expected 1, found 2.")
    assert Report("sha256:0", 7, (line,), None, pinned=True).to_json() == {
        "bundle": "sha256:0",
        "checks": [
            {
                "detail": "expected 1, found 2.",
                "id": "V02",
                "sentence": "It is not so.",
                "status": "FAIL",
                "title": "Title",
            }
        ],
        "facts": None,
        "first_failure": "V02",
        "root_pinned": True,
        "size": 7,
        "standing": None,
        "verdict": "FAIL",
        "version": "vdb-audit-report/1",
    }


def test_json_of_facts_has_every_field_and_what_is_replaced_only_where_something_is() -> None:
    facts = Facts(
        session="sha256:1",
        seal="sha256:2",
        consortium="testbed",
        title="Title",
        joined=("a", "b"),
        survivors=("a",),
        dropped={"b": "joined"},
        private=True,
        epsilon="8",
        delta="0.000001",
        root="sha256:3",
        published="2026-01-31T12:40:00Z",
    )
    plain = {
        "consortium": "testbed",
        "delta": "0.000001",
        "dropped": [{"institution": "b", "stage": "joined"}],
        "epsilon": "8",
        "joined": ["a", "b"],
        "private": True,
        "published": "2026-01-31T12:40:00Z",
        "root": "sha256:3",
        "seal": "sha256:2",
        "session": "sha256:1",
        "survivors": ["a"],
        "title": "Title",
    }
    assert facts.to_json() == plain
    assert replace(facts, supersedes="sha256:4").to_json() == plain | {"supersedes": "sha256:4"}
    told = Report("sha256:0", 7, (), facts, pinned=True).to_json()
    assert (told["facts"], told["root_pinned"], told["size"], told["bundle"]) == (plain, True, 7, "sha256:0")


def test_what_others_said_stands_in_a_line_only_where_they_did() -> None:
    line = Line("V63.standing", "Title", Status.NOT_PROVEN, "It is so.", "", ("A objects.",))
    plain = {"detail": "", "id": "V63.standing", "sentence": "It is so.", "status": "NOT PROVEN", "title": "Title"}
    assert line.to_json() == plain | {"said": ["A objects."]}
    assert replace(line, said=()).to_json() == plain
