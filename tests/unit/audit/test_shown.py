"""What readers are shown is word for word what was agreed to show them: text, terminals, pages, tables and JSON."""

from __future__ import annotations

import re

import pytest

from testkit.pages import outline
from testkit.shown import FOLDER, KINDS
from vdb_shared.audit.chart import Axis, error_bar, histogram
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


def bars_of(bins: list[int]) -> list[tuple[str, str, str, str]]:
    """Return x, y, width and height of each bar."""
    return re.findall(r'x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)" height="([0-9.]+)"/>', histogram(bins))


def test_bars_of_a_histogram_stand_in_their_places_and_the_highest_is_as_high_as_the_picture() -> None:
    assert bars_of([1, 0, 4]) == [("0.0", "18.0", "27.2", "6.0"), ("64.0", "0.0", "27.2", "24.0")]
    assert bars_of([1]) == [("0.0", "0.0", "81.6", "24.0")]
    assert bars_of([1, 100])[0] == ("0.0", "23.8", "40.8", "0.2"), "one clip of many is seen too"
    assert bars_of([2, 2]) == [("0.0", "0.0", "40.8", "24.0"), ("48.0", "0.0", "40.8", "24.0")]
    for nothing in ([], [0], [0, 0, 0]):
        assert bars_of(nothing) == []
        assert f"Histogram of 0 clips in {len(nothing)} bins over the range" in histogram(nothing)


def test_words_in_a_picture_close_no_attribute() -> None:
    picture = error_bar(Axis(0.0, 1.0), "0.5", "0.25", "0.75", '95 %" onload="x')
    assert 'aria-label="0.5; 95 %&quot; onload=&quot;x interval from 0.25 to 0.75"' in picture
