"""A coordinator that dies at any point goes on where its log ends."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.coordinator_process import Process, persistently
from testkit.members import TestMember
from testkit.playing import PHASES, STEPS, play
from testkit.small_specs import small_spec
from vdb_shared.audit.verify import verify
from vdb_shared.errors import StoreError
from vdb_shared.wire.status import Phase, Receipt

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
QUORUM = 3
"""Of four: with the shares of so many the sum follows, and whoever reveals after them may come too late."""
ONE_AFTER_ANOTHER = [(step, seat) for step in STEPS for seat in range(4) if step != "reveal" or seat < QUORUM]


def members_of(stack: ExitStack, coordinator: RunningCoordinator) -> list[TestMember]:
    session = coordinator.admin.create_session(PATIENT)
    return [stack.enter_context(TestMember(coordinator, identity, session)) for identity in coordinator.identities]


def test_a_restart_before_and_after_every_submission_changes_nothing(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator, ExitStack() as stack:
        members = members_of(stack, coordinator)
        receipts: dict[tuple[str, int], Receipt] = {}
        for step, seat in ONE_AFTER_ANOTHER:
            member = members[seat]
            member.wait(PHASES[STEPS.index(step)])
            receipts[step, seat] = getattr(member, step)()
            coordinator.restart()
            for each in members:
                each.reconnect()
            assert getattr(member, step)() == receipts[step, seat]
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
        report = verify(coordinator.admin.bundle(members[0].session), root=coordinator.root_fingerprint)
    assert not [line for line in report.lines if line.status.value == "FAIL"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """Return the directory of a coordinator that stopped after a published session, its id and its number of events."""
    path = tmp_path_factory.mktemp("finished")
    with running_coordinator(path, institutions=4) as coordinator, ExitStack() as stack:
        members = members_of(stack, coordinator)
        play(members, *STEPS)
        status = members[0].wait(Phase.PUBLISHED)
        session = members[0].session
    return path / "coordinator", session, status.event


def cut_log(home: Path, session: str, events: int) -> None:
    """Leave the first events of a session's log only, as if the process had died before the next one."""
    with sqlite3.connect(home / "coordinator.sqlite") as connection:
        for table in ("receipts", "events"):
            connection.execute(f"delete from {table} where session = ? and sequence > ?", (session, events))  # noqa: S608 (the names are constants of this test)
        connection.execute("update sessions set phase = 1, last_event = ? where session = ?", (events, session))
    connection.close()


def test_whatever_was_the_last_event_the_session_goes_on(finished: tuple[Path, str, int], tmp_path: Path) -> None:
    home, session, events = finished
    phases = []
    for last in range(1, events + 1):
        copy = tmp_path / str(last)
        shutil.copytree(home, copy)
        cut_log(copy, session, last)
        coordinator = RunningCoordinator(copy)
        coordinator.start()
        try:
            coordinator.settle(session)
            phases.append(coordinator.admin.details(session).status.phase)
        finally:
            coordinator.stop()
    assert phases == sorted(phases)
    assert phases[0] is Phase.ACCEPTING
    assert set(phases) == set(Phase) - {Phase.ABORTED}
    assert phases.count(Phase.PUBLISHED) == 2


def test_a_log_that_was_tampered_with_stops_the_start(finished: tuple[Path, str, int], tmp_path: Path) -> None:
    home, session, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    cut_log(copy, session, 10)
    with sqlite3.connect(copy / "coordinator.sqlite") as connection:
        connection.execute("update events set body = body || ' ' where sequence = 3")
    connection.close()
    coordinator = RunningCoordinator(copy)
    with pytest.raises(StoreError, match=r"event 3 of session .* is not the one that was written"):
        coordinator.start()


@pytest.mark.parametrize("point", STEPS[1:])
def test_sigkill_of_the_real_process_loses_nothing_that_was_acknowledged(tmp_path: Path, point: str) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator, ExitStack() as stack:
        members = members_of(stack, coordinator)
        before = STEPS[: STEPS.index(point)]
        play(members, *before)
        members[0].wait(PHASES[len(before)])
        receipt = getattr(members[0], point)()
        coordinator.stop()
        process = Process(coordinator)
        process.wait_until_it_listens()
        for each in members:
            each.reconnect()
        receipt_again = persistently(getattr(members[0], point))
        assert receipt_again == receipt
        second = getattr(members[1], point)()
        process.kill()
        coordinator.start()
        for each in members:
            each.reconnect()
        assert getattr(members[1], point)() == second
        play(members[2:], point)
        play(members, *STEPS[len(before) + 1 :])
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
