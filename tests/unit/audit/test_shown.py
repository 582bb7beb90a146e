"""What readers are shown is word for word what was agreed to show them: text, terminals, pages, tables and JSON."""

from __future__ import annotations

import pytest

from testkit.pages import outline
from testkit.shown import FOLDER, KINDS
from vdb_shared.audit.chart import Axis
from vdb_shared.audit.several import shortened


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_shown_word_for_word_on_pages_that_close_their_tags(kind: str) -> None:
    shown = KINDS[kind]()
    for name, text in shown.items():
        with (FOLDER / name).open(encoding="utf-8", newline="") as file:
            assert text == file.read(), f"{name}: write anew with `PYTHONPATH=tests python -m testkit.shown`, and read"
        assert not name.endswith(".html") or not outline(text).open
    assert shown.keys() == {file.name for file in FOLDER.iterdir() if file.name.startswith(tuple(kind.split()))}


def test_no_file_is_left_over() -> None:
    beginnings = tuple(beginning for kind in KINDS for beginning in kind.split())
    assert all(file.name.startswith(beginnings) for file in FOLDER.iterdir())


def test_of_a_long_list_of_names_six_are_shown_and_the_others_counted() -> None:
    names = [f"site-{place}" for place in range(8)]
    assert shortened([]) == "–"
    assert shortened(names[:1]) == "site-0"
    assert shortened(names[:6]) == "site-0, site-1, site-2, site-3, site-4, site-5"
    assert shortened(names) == "site-0, site-1, site-2, site-3, site-4, site-5 and 2 more"


@pytest.mark.parametrize(
    ("ends", "low", "high"),
    [([1.0, 3.0, 2.0], 0.88, 3.12), ([3.0], 2.85, 3.15), ([-4.0, -4.0], -4.2, -3.8), ([0.0], -1.0, 1.0)],
)
def test_an_axis_leaves_a_little_room_on_both_sides_also_of_one_number(
    ends: list[float], low: float, high: float
) -> None:
    axis = Axis.over(ends)
    assert axis.low == pytest.approx(low)
    assert axis.high == pytest.approx(high)
    assert (axis.place(axis.low), axis.place(axis.high), axis.place((axis.low + axis.high) / 2)) == (8.0, 292.0, 150.0)
