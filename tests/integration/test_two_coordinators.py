"""Two coordinators on one PostgreSQL database: one serves, the other waits, takes over, and sessions go on."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from testkit.coordinator import running_coordinator
from testkit.coordinator_process import Process, persistently
from testkit.members import TestMember
from testkit.playing import PHASES, STEPS, play
from testkit.postgres import running_postgres
from testkit.small_specs import small_spec
from vdb_shared.audit.verify import verify
from vdb_shared.wire.status import Phase

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")


def test_the_second_takes_over_when_the_first_dies_and_the_session_goes_on(tmp_path: Path) -> None:
    with (
        running_postgres() as server,
        running_coordinator(tmp_path, institutions=4, database=server.database("vdb")) as coordinator,
        ExitStack() as stack,
    ):
        session = coordinator.admin.create_session(PATIENT)
        members = [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]
        play(members, *STEPS[:2])
        members[0].wait(PHASES[2])
        coordinator.stop()
        first = Process(coordinator, tmp_path / "first.log")
        first.wait_until_it_listens()
        for member in members:
            member.reconnect()
        receipt = persistently(members[0].share)
        second = Process(coordinator, tmp_path / "second.log")
        _wait_for(second.output, "waiting to take over")
        first.kill()
        second.wait_until_it_listens()
        for member in members:
            member.reconnect()
        assert persistently(members[0].share) == receipt
        play(members[1:], STEPS[2])
        play(members, *STEPS[3:])
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
        bundle = coordinator.admin.bundle(session)
        assert second.stop() == 0
        report = verify(bundle, root=coordinator.root_fingerprint)
    assert not [line for line in report.lines if line.status.value == "FAIL"]


def test_one_that_waits_can_be_stopped(tmp_path: Path) -> None:
    with (
        running_postgres() as server,
        running_coordinator(tmp_path, database=server.database("vdb")) as coordinator,
    ):
        waiting = Process(coordinator, tmp_path / "log")
        _wait_for(waiting.output, "waiting to take over")
        assert waiting.stop() == 0


def _wait_for(log: Path, words: str) -> None:
    for _ in range(600):
        if words in log.read_text(errors="replace"):
            return
        time.sleep(0.1)
    raise AssertionError(f"never said {words!r}: {log.read_text(errors='replace')[-2000:]}")
