"""A coordinator that dies, is refused by its storage or stands still keeps its promises; a slice of `make faults`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from testkit.coordinator import running_coordinator
from testkit.faulting import SPEC, Fault, Notes, broken_result, broken_store, one_hot, suffer
from testkit.members import STEPS, TestMember, play
from vdb_shared.wire.status import Phase, Receipt

SLICE = (
    Fault("in-commit", "error", 5),
    Fault("after-commit", "kill", 6),
    Fault("after-commit", "error", 14),
    Fault("before-acknowledge", "kill", 9),
    Fault("before-freeze", "kill", 1),
    Fault("after-unmask", "kill", 1),
    Fault("in-append", "kill", 1),
    Fault("after-publish", "kill", 1),
)


@pytest.mark.parametrize("fault", SLICE, ids=lambda fault: fault.setting)
def test_every_promise_is_kept(fault: Fault, tmp_path: Path) -> None:
    outcome = suffer(fault, tmp_path)
    assert not outcome.broken
    assert outcome.deaths == (fault.action == "kill")


def test_the_comparison_sees_what_it_is_for(tmp_path: Path) -> None:
    notes = Notes()
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        session = coordinator.admin.create_session(SPEC)
        members = [TestMember(coordinator, one, session, one_hot(one.seat)) for one in coordinator.identities]
        play(members, *STEPS)
        members[0].wait(Phase.PUBLISHED)
        notes.add(0, "join", members[0].join())
        bundle = members[0].bundle()
        for member in members:
            member.__exit__(None, None, None)
        coordinator.stop()
        assert not list(broken_store(coordinator, session, notes))
        assert not list(broken_result(coordinator, bundle))
        notes.add(1, "join", Receipt(bytes(32), 2))
        assert list(broken_store(coordinator, session, notes)) == ["seat 1, join: acknowledged and not stored"]
        with closing(sqlite3.connect(coordinator.home.sqlite)) as connection, connection:
            connection.execute("delete from receipts where seat = 0")
        assert "seat 0, join: acknowledged and not stored" in list(broken_store(coordinator, session, notes))


def test_a_sum_that_counts_somebody_twice_is_seen(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        session = coordinator.admin.create_session(SPEC)
        lanes = [one_hot(one.seat) + one_hot(0) for one in coordinator.identities]
        members = [
            TestMember(coordinator, one, session, lane) for one, lane in zip(coordinator.identities, lanes, strict=True)
        ]
        play(members, *STEPS)
        members[0].wait(Phase.PUBLISHED)
        bundle = members[0].bundle()
        for member in members:
            member.__exit__(None, None, None)
        assert list(broken_result(coordinator, bundle)) == ["the sum holds [5, 1, 1, 1], expected each member once"]
