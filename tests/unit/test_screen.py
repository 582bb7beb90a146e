"""What others wrote reaches a terminal as characters, never as orders to it."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from testkit.audit_cli import vdb_audit
from testkit.bundles import small_session
from testkit.small_specs import small_spec
from vdb_shared.commandline import shown
from vdb_shared.screen import Figures, screen

PAINTED = "\x1b[2J\x1b[H\x1b[1;32mPASS: all 29 checks hold.\x1b[0m\x1b[8m"


@given(st.text())
def test_nothing_that_is_shown_is_obeyed(text: str) -> None:
    found = shown(text)
    assert len(found) == len(text)
    assert all(character in "\n\t" or unicodedata.category(character)[0] not in "C" for character in found)
    assert all(now in (before, "\N{REPLACEMENT CHARACTER}") for before, now in zip(text, found, strict=True))


def test_words_stay_as_they_are() -> None:
    words = "ε = 8, “Größe” 1–2, 95 %, 東京,\tnon-breaking\N{NO-BREAK SPACE}space\nand a line"
    assert shown(words) == words
    assert shown("\N{RIGHT-TO-LEFT OVERRIDE}\x9b\x7f\u2028") == "\N{REPLACEMENT CHARACTER}" * 4


def test_colours_are_the_programs_own() -> None:
    console = screen()
    console.force_terminal = True  # type: ignore[attr-defined]  # read at every print
    with console.capture() as captured:
        console.print(Text(PAINTED, style="bold red"))
        table = Table("head\x1b[31m")
        table.add_row("cell\x9b31m")
        console.print(table)
    assert "\x1b[2J" not in captured.get()
    assert "\x1b[31m" not in captured.get()
    assert "\x9b" not in captured.get()


def test_a_title_of_a_hostile_coordinator_paints_no_verdict(tmp_path: Path) -> None:
    session = small_session(2, small_spec().model_copy(update={"title": PAINTED}))
    (tmp_path / "r.vdbb").write_bytes(session.bundle())
    for words in (("inspect",), ("verify",), ("leaderboard",)):
        done = vdb_audit(*words, tmp_path / "r.vdbb")
        assert "\x1b" not in done.stdout + done.stderr
        if words != ("verify",):
            assert "[2J" in done.stdout


def test_an_error_line_paints_none_either(tmp_path: Path) -> None:
    done = vdb_audit("verify", tmp_path / f"{PAINTED}.vdbb")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "[2J" in done.stderr


def test_errors_go_to_standard_error_and_lines_stay_whole_where_that_is_asked_for() -> None:
    assert [screen(stderr=stderr).stderr for stderr in (True, False)] == [True, False]
    assert [screen(soft_wrap=whole).soft_wrap for whole in (True, False)] == [True, False]
    assert (screen().stderr, screen().soft_wrap) == (False, False)


HEADINGS = ("Rank", "Model", "Value", "95 % interval", "Largest distance")
ROW = ("1–2", "vdb-tiny-1-with-a-long-name", "0.123456", "0.1234 … 0.5678", "12,345")


def drawn(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(Figures(HEADINGS, rows, "Model"))
    return out.getvalue().splitlines()


@given(st.integers(12, 200), st.lists(st.sampled_from([8, 30, 64]), min_size=1, max_size=4))
@example(60, [64])
@example(80, [30])
def test_no_name_and_no_number_of_a_table_is_cut(width: int, names: list[int]) -> None:
    rows = [(ROW[0], "m" * length, *ROW[2:]) for length in names]
    lines = drawn(rows, width)
    assert max(map(len, lines)) <= width
    told = "".join("".join(lines).split())
    for row in rows:
        for cell in row:
            assert "".join(cell.split()) in told
    assert told.count("…") == len(rows), "the intervals' own alone"


def test_a_table_becomes_lines_only_where_it_does_not_fit() -> None:
    def form(width: int) -> str:
        lines = drawn([ROW], width)
        if lines[1].split() == " ".join(HEADINGS).split():
            return "table"
        return "headings of two lines" if lines[2].split()[-2:] == ["interval", "distance"] else "lines"

    forms = [form(width) for width in range(120, 40, -1)]
    assert list(dict.fromkeys(forms)) == ["table", "headings of two lines", "lines"]
    assert forms == sorted(forms, key=["table", "headings of two lines", "lines"].index)
    assert [line.rstrip() for line in drawn([ROW], 60)] == [
        "vdb-tiny-1-with-a-long-name",
        "  Rank: 1–2",
        "  Value: 0.123456",
        "  95 % interval: 0.1234 … 0.5678",
        "  Largest distance: 12,345",
    ]
