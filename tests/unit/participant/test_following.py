"""Measuring beside generation: in the order of the tasks, and no failure is lost."""

from __future__ import annotations

import threading

import pytest

from vdb_participant.measure.following import Follower


def _ignore(_done: int) -> None:
    pass


def test_items_are_measured_in_their_order_whatever_the_order_of_settling() -> None:
    measured: list[tuple[int, str | None]] = []
    follower = Follower(["a", "b", "a", "c"], lambda number, failure: measured.append((number, failure)))
    told: list[int] = []
    with follower.following():
        follower.settled("c", None)
        follower.settled("b", "why")
        follower.settled("a", None)
        follower.finish(told.append)
    assert measured == [(0, None), (1, "why"), (2, None), (3, None)]
    assert told[-1] == 4
    assert told == sorted(told)


def test_measuring_goes_on_while_others_are_generated() -> None:
    measured = threading.Event()
    follower = Follower(["a", "b"], lambda _number, _failure: measured.set())
    with follower.following():
        follower.settled("a", None)
        assert measured.wait(60)  # "b" is still being generated
        follower.settled("b", None)
        follower.finish(_ignore)


def test_a_failure_of_measuring_stops_generation_at_the_next_clip() -> None:
    failed = threading.Event()

    def measure(_number: int, _failure: str | None) -> None:
        failed.set()
        raise OSError("the disk is gone")

    follower = Follower(["a", "b", "c"], measure)
    with follower.following():
        follower.settled("a", None)
        failed.wait(60)
        with pytest.raises(OSError, match="the disk is gone"):
            follower.finish(_ignore)
        with pytest.raises(OSError, match="the disk is gone"):
            follower.settled("b", None)


def test_a_failure_of_generation_ends_measuring() -> None:
    follower = Follower(["a", "b"], lambda _number, _failure: None)
    with pytest.raises(RuntimeError, match="generation"), follower.following():
        raise RuntimeError("generation failed")
    assert not any(thread.name == "measuring" for thread in threading.enumerate())


def test_nothing_to_measure() -> None:
    follower = Follower[str]([], lambda _number, _failure: None)
    with follower.following():
        follower.finish(_ignore)
