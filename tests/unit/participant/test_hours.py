"""The hours in which models may run, as policy.toml writes them, against a clock on a wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_participant.site.hours import DAYS, Hours, parse_hours

OSLO = ZoneInfo("Europe/Oslo")
NIGHTS = parse_hours(["Mon-Fri 19:00-07:00", "Sat,Sun 00:00-24:00"], OSLO)


def at(text: str) -> datetime:
    """Return a moment of a week in which the 23rd is a Monday, by the clock in Oslo."""
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=OSLO).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "open_then"),
    [
        ("23 12:00", False),
        ("23 18:59", False),
        ("23 19:00", True),
        ("24 06:59", True),
        ("24 07:00", False),
        ("28 06:59", True),  # Friday's night ends on Saturday, which is open all day
        ("28 12:00", True),
        ("29 23:59", True),
        ("30 00:00", False),  # nobody wrote Sunday's night down
    ],
)
def test_a_week(moment: str, open_then: bool) -> None:
    assert NIGHTS.open_at(at(moment)) is open_then


@pytest.mark.parametrize(
    ("moment", "opens"),
    [("23 12:00", "23 19:00"), ("24 07:00", "24 19:00"), ("23 20:00", "23 20:00"), ("30 03:00", "30 19:00")],
)
def test_when_it_opens_next(moment: str, opens: str) -> None:
    assert NIGHTS.opens(at(moment)) == at(opens)


def test_a_window_once_a_week_is_found_from_any_moment() -> None:
    hours = parse_hours(["Wed 03:00-03:01"], OSLO)
    assert hours.opens(at("25 03:01")) == at("25 03:00") + timedelta(days=7)


def test_days_run_over_the_end_of_the_week() -> None:
    hours = parse_hours(["Sat-Mon 10:00-11:00"], OSLO)
    assert [hours.open_at(at(f"{day} 10:30")) for day in range(23, 30)] == [True, *[False] * 4, True, True]


def test_the_clock_on_the_wall_counts_when_it_is_put_back() -> None:
    """The night of 25 October 2026 has 25 hours: from 22 to 6 are nine of them."""
    night = parse_hours(["daily 22:00-06:00"], OSLO)
    begins = datetime(2026, 10, 24, 12, tzinfo=OSLO).astimezone(UTC)
    assert night.within(begins, begins + timedelta(days=1)) == timedelta(hours=9)


LINES = st.builds(
    lambda day, hours: f"{day} {hours[0]:02d}:{hours[1]:02d}-{hours[2]:02d}:{hours[3]:02d}",
    st.sampled_from(["daily", "Mon-Fri", "Sun-Tue", "Wed,Sat", *DAYS]),
    st.tuples(st.integers(0, 23), st.sampled_from([0, 30]), st.integers(0, 23), st.sampled_from([0, 30])).filter(
        lambda found: found[:2] != found[2:]
    ),
)


@given(st.lists(LINES, min_size=1, max_size=3), st.integers(0, 300), st.integers(1, 300))
def test_hours_within_a_time_are_those_at_which_it_is_open(lines: list[str], begins: int, halves: int) -> None:
    hours, first = parse_hours(lines, OSLO), at("10 00:00")
    moments = [first + timedelta(minutes=30 * (begins + number)) for number in range(halves)]
    last = moments[-1] + timedelta(minutes=30)
    assert hours.within(moments[0], last) == timedelta(minutes=30 * sum(map(hours.open_at, moments)))
    opens = hours.opens(moments[0])
    assert hours.open_at(opens)
    assert not any(hours.open_at(moment) for moment in moments if moment < opens)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "19:00-07:00",
        "Mon-Fri 19:00",
        "mon-fri 19:00-07:00",
        "Mon-Fry 19:00-07:00",
        "Mon- 19:00-07:00",
        "Mon 24:00-07:00",
        "Mon 19:60-20:00",
        "Mon 10:00-10:00",
        "Mon 10:00-24:01",
        "Mon 10:00-11:00 UTC",
    ],
)
def test_what_is_no_window_is_refused_with_examples(line: str) -> None:
    with pytest.raises(ValueError, match="expected hours such as"):
        parse_hours([line])


def test_no_hours_at_all_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing would ever run"):
        parse_hours([])


def test_without_a_zone_it_is_this_machines_clock() -> None:
    now = datetime.now(UTC)
    wall = now.astimezone()
    hours: Hours = parse_hours([f"{DAYS[wall.weekday()]} 00:00-24:00"])
    assert hours.open_at(now)
    assert not hours.open_at(now + timedelta(days=2))
