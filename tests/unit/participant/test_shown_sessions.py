"""What `status` and `sessions` show of sessions whose titles and ends somebody else wrote."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from vdb_participant.commands import listing, standing
from vdb_participant.session.standing import Step
from vdb_shared.wire.status import Phase, SessionSummary

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FEIGNED = "Harmless\n  published\n  budget: nothing debited\n777777777777  Another session"
WORDS = (FEIGNED, FEIGNED.replace("\n", "\u2800" * 60), "\u65e5" * 300 + FEIGNED, "x " * 400 + FEIGNED)


def session(digit: str) -> str:
    return f"sha256:{digit * 64}"


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("width", [40, 80, 132])
def test_a_title_and_an_end_are_rows_of_their_session_and_begin_none_of_ours(words: str, width: int) -> None:
    item = standing.Standing(session("5"), words, Step.ENDED, f"aborted: {words}", at_work=False, last=NOW, spent="0.5")
    first, *rest = standing.session_lines(item, width)
    assert first.startswith("555555555555  ")
    assert [row for row in rest if row.startswith("  budget")] == ["  budget: rho 0.5 debited"]
    assert [row for row in rest if not row.startswith("   ")] == [rest[0], "  budget: rho 0.5 debited"]
    assert rest[0].startswith("  aborted:")
    assert all(cell_len(row) <= max(width, 80) for row in (first, *rest))


def test_a_session_that_was_left_says_so_and_is_not_offered() -> None:
    found = [SessionSummary(session("1"), "Ours", phase) for phase in (Phase.ACCEPTING, Phase.PUBLISHED)]
    rows = list(listing.listed_lines(found, listing.Standings(left={session("1"): "our data\nwere withdrawn"}), ""))
    assert rows[1::2] == [
        "  left by this site for good (our data were withdrawn); others can join still",
        "  published; left by this site for good (our data were withdrawn)",
    ]
    assert len(rows) == 4, "no command to join it"


@pytest.mark.parametrize("words", WORDS)
def test_a_listed_title_is_one_row(words: str) -> None:
    found = [SessionSummary(session("1"), "Ours", Phase.ACCEPTING), SessionSummary(session("2"), words, Phase.ABORTED)]
    rows = list(listing.listed_lines(found, listing.Standings(), ""))
    assert len(rows) == 5
    assert rows[2].startswith("222222222222  ")
    assert cell_len(rows[2]) <= 80
    assert rows[3] == "  ended without a result"
    assert rows[4].endswith("join 111111111111 --data DIR --dry-run")
