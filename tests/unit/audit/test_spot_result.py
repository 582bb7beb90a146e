"""What the audit of a result means for a spot check of records of it, one outcome at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vdb_shared.audit.report import Line, Report, Status
from vdb_shared.audit.spot_check import result_line
from vdb_shared.audit.standing import Objected, Standing

PASSES = "The result passes its audit: vdb-audit verify."
DOES_NOT = "The result itself does not pass its audit."
QUIET = Standing(True, (), None, (), (), "", {}, ())
SINCE = Line(
    "V63.standing", "Since publication", Status.NOT_PROVEN, "Of the result since: 1 objection.", "", ("A: “B”",)
)


def audited(*lines: tuple[str, Status], standing: Standing | None = None) -> Report:
    """Return a report with a line that says how the result stands, and one line for each of these checks."""
    found = [Line(check, "Title", status, f"{check} says so.", "Found 1.") for check, status in lines]
    return Report("sha256:0", 0, (*found, SINCE), None, pinned=True, standing=standing)


def test_a_result_that_passes_is_said_to_pass_with_what_was_said_of_it_since() -> None:
    plain = Line("S01", "Result", Status.PASS, PASSES)
    checks = ("V60", Status.PASS), ("V33", Status.NOT_PROVEN)
    assert result_line(audited(*checks)) == plain
    assert result_line(audited(*checks, standing=QUIET)) == plain
    objected = replace(QUIET, objections=(Objected("lab-kyoto", "sha256:1"),))
    told = replace(plain, sentence=f"{PASSES} Of the result since: 1 objection.", said=("A: “B”",))
    assert result_line(audited(*checks, standing=objected)) == told


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.NOT_REACHED])
@pytest.mark.parametrize("check", ["V62", "V63", "V63.standing", "V65"])
def test_what_only_the_log_answers_leaves_the_spot_check_open(check: str, status: Status) -> None:
    found = result_line(audited(("V61", Status.PASS), (check, status), ("V65", Status.SKIPPED)))
    assert found == Line("S01", "Result", Status.SKIPPED, f"{check} of its audit could not be tried. {check} says so.")


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.NOT_REACHED])
def test_what_is_left_out_beside_the_log_fails_it_and_is_named(status: Status) -> None:
    """A draft, or a bundle of another form: nobody has audited that result."""
    found = result_line(audited(("V62", Status.SKIPPED), ("V51", status), ("V60", status)))
    assert found == Line("S01", "Result", Status.FAIL, DOES_NOT, "V51: V51 says so.")


def test_a_result_that_fails_is_not_spot_checked_and_the_first_failure_is_named() -> None:
    found = result_line(audited(("V51", Status.SKIPPED), ("V40", Status.FAIL), ("V50", Status.FAIL)))
    assert found == Line("S01", "Result", Status.FAIL, DOES_NOT, "V40: V40 says so. Found 1.")
    bare = Report("sha256:0", 0, (Line("V01", "Container", Status.FAIL, "It is cut."),), None, pinned=True)
    assert result_line(bare).detail == "V01: It is cut."
