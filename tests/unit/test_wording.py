"""Numbers with nouns, and others' words within lines of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from vdb_shared.wording import counted, one_line, quoted, wrapped

BLANK = "\u2800\u3164\u115f\u1160\uffa0\U0001d159"


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries"), (1000, "1000 entries")]
)
def test_a_number_stands_with_its_noun(number: int, words: str) -> None:
    assert counted(number, "entry", "entries") == words
    assert counted(number, "site").endswith("site" if number == 1 else "sites")


@pytest.mark.parametrize("space", ["\n", "\r", "\t", "\x1b", "\u2028", "\u0085", "\u00a0", "\u3000", "\u202e", *BLANK])
def test_what_has_no_shape_is_a_space(space: str) -> None:
    assert one_line(f"{space}a{space * 3}b{space}") == "a b"


def test_a_long_line_is_cut_by_cells() -> None:
    assert one_line("patients " * 20, 20) == "patients patients p…"
    assert one_line("日" * 20, 20) == "日" * 9 + "…"
    assert one_line("日" * 10, 20) == "日" * 10


def test_quotation_marks_stand_nowhere_in_what_is_quoted() -> None:
    assert quoted("a ” b\n“c") == '“a " b "c”'


def test_a_digest_is_not_broken_and_its_line_is() -> None:
    digest = "sha256:" + "a" * 64
    assert list(wrapped(f"  of {digest}, and more", 60, 4)) == ["  of", f"    {digest},", "    and more"]


def test_a_line_that_fits_is_left_as_it_is() -> None:
    assert list(wrapped("    a   b", 20, 8)) == ["    a   b"]


ANY = st.text(st.sampled_from("ab日本: -" + BLANK + "\n\t\u00a0e\u0301"), max_size=200)


@given(ANY, st.integers(20, 90), st.integers(0, 60))
def test_no_row_is_wider_and_each_begins_with_the_hang(text: str, width: int, hang: int) -> None:
    line = f"  Title    {one_line(text)}"
    first, *rest = wrapped(line, width, hang)
    assert first.startswith("  Title")
    indent = " " * min(hang, width // 2)
    assert all(row.startswith(indent) and row[len(indent) :].strip() for row in rest)
    assert all(cell_len(row) <= width for row in (first, *rest))
    assert "".join("".join((first, *rest)).split()) == "".join(line.split())
