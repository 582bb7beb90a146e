"""A slice of the fault campaign (`make faults`), and that its comparison sees what it is for."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.faults import (
    certificates,
    clocks,
    failpoints,
    messages,
    network,
    postgresql,
    random_kills,
    site_clocks,
)
from testkit.faults.clocks import Jump
from testkit.faults.crew import MEMBERS, SPEC, Crew, one_hot, place_of
from testkit.faults.failpoints import Fault
from testkit.faults.history import Held, broken_growth, broken_result, held_by
from testkit.faults.outcomes import Outcome, from_json, to_json, to_table
from testkit.members import TestMember
from testkit.playing import STEPS, play
from vdb_shared.transparency.checkpoint import Checkpoint
from vdb_shared.wire.status import Phase, Receipt

SLICE = (
    Fault("coordinator", "in-commit", "error", 5),
    Fault("coordinator", "after-commit", "kill", 6),
    Fault("coordinator", "before-acknowledge", "kill", 9),
    Fault("coordinator", "before-freeze", "kill"),
    Fault("coordinator", "in-append", "kill"),
    Fault("coordinator", "after-publish", "kill"),
    Fault("agent", "after-debit", "error"),
    Fault("agent", "before-countersign", "kill"),
)


@pytest.mark.parametrize("fault", SLICE, ids=lambda fault: f"{fault.side}-{fault.setting}")
def test_every_promise_is_kept_at_a_failpoint(fault: Fault, tmp_path: Path) -> None:
    outcome = failpoints.suffer(fault, tmp_path)
    assert not outcome.broken
    assert outcome.deaths == (fault.action == "kill")
    assert outcome.ended == "published"


@pytest.mark.parametrize("seed", [9])
def test_every_promise_is_kept_when_eight_agents_and_their_coordinator_are_killed(seed: int, tmp_path: Path) -> None:
    outcome = random_kills.suffer(seed, tmp_path)
    assert not outcome.broken
    assert outcome.deaths


@pytest.mark.parametrize("fault", messages.FAULTS)
def test_every_promise_is_kept_with_messages_that_come_again_or_from_elsewhere(fault: str, tmp_path: Path) -> None:
    assert not messages.suffer(fault, tmp_path).broken


@pytest.mark.parametrize("weather", [network.WEATHERS[1]], ids=lambda weather: weather.name)
def test_every_promise_is_kept_on_a_bad_network(weather: network.Weather, tmp_path: Path) -> None:
    assert not network.suffer(weather, 1, tmp_path).broken


@pytest.mark.parametrize(
    "jump",
    [Jump(timedelta(hours=-1), "in the middle"), Jump(timedelta(days=400), "before anybody connects")],
    ids=lambda jump: jump.name,
)
def test_a_clock_that_was_wrong_for_a_while_costs_no_session(jump: Jump, tmp_path: Path) -> None:
    outcome = clocks.suffer(jump, tmp_path)
    assert not outcome.broken
    assert outcome.ended == "published by 4 of 4"


@pytest.mark.parametrize("wrong", [site_clocks.FAULTS[1], site_clocks.FAULTS[-2]], ids=lambda wrong: wrong.name)
def test_an_institution_whose_clock_is_wrong_costs_no_session(wrong: site_clocks.Wrong, tmp_path: Path) -> None:
    if site_clocks.compiler() is None:
        pytest.skip("there is no C compiler to make a wrong clock with")
    outcome = site_clocks.suffer(wrong, tmp_path)
    assert not outcome.broken
    assert outcome.ended == "published by 4 of 4"


def test_a_wrong_clock_is_wrong_for_everything_in_its_process_and_can_be_set_while_it_runs(tmp_path: Path) -> None:
    """Python's own clocks, and those of C libraries; the monotonic one is nobody's to set."""
    if site_clocks.compiler() is None:
        pytest.skip("there is no C compiler to make a wrong clock with")
    program = (
        "import ctypes, sys, time\n"
        "for _ in sys.stdin:\n"
        "    print(time.time(), ctypes.CDLL(None).time(None), time.monotonic(), flush=True)\n"
    )
    clock = site_clocks.Clock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for off in (timedelta(0), timedelta(hours=-1), timedelta(days=400)):
            clock.set(off)
            process.stdin.write("\n")
            process.stdin.flush()
            python, libraries, monotonic = map(float, process.stdout.readline().split())
            wanted = time.time() + off.total_seconds()
            assert (abs(python - wanted) < 60, abs(libraries - wanted) < 60) == (True, True)
            assert abs(monotonic - time.monotonic()) < 60
        process.stdin.close()


@pytest.mark.parametrize("fault", postgresql.FAULTS)
def test_every_promise_is_kept_on_postgresql(fault: str, tmp_path: Path) -> None:
    outcome = postgresql.suffer(fault, tmp_path)
    assert not outcome.broken
    assert outcome.ended == "published by 4 of 4"
    assert bool(outcome.deaths) == (fault != postgresql.DROPPED)


@pytest.mark.parametrize("fault", ["another's certificate and key", certificates.RENEWED])
def test_certificates_open_what_they_must_and_nothing_else(fault: str, tmp_path: Path) -> None:
    assert not certificates.suffer(fault, tmp_path).broken


def test_the_comparison_sees_what_it_is_for(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=MEMBERS) as coordinator:
        session = coordinator.admin.create_session(SPEC)
        with Crew(coordinator, coordinator.identities, session) as crew:
            bundle, broken = crew.finish()
            coordinator.stop()
            assert bundle is not None
            assert not broken
            assert not list(crew.compare(coordinator, bundle))
            crew.notes.add(1, "join", Receipt(bytes(32), 2))
            assert list(crew.compare(coordinator, bundle)) == ["seat 1, join: acknowledged and not stored"]
            with closing(sqlite3.connect(coordinator.home.sqlite)) as connection, connection:
                connection.execute("delete from receipts where seat = 0")
            assert "seat 0, join: acknowledged and not stored" in list(crew.compare(coordinator, bundle))


def test_a_log_that_shrinks_and_a_state_that_goes_back_are_seen(tmp_path: Path) -> None:
    coordinator = RunningCoordinator(tmp_path / "coordinator")
    coordinator.start()
    for number in range(4):
        coordinator.enrol(f"site-{number}")
    session = coordinator.admin.create_session(SPEC)
    coordinator.stop()
    now = held_by(coordinator.home)
    assert not list(broken_growth([now], now))
    assert now.checkpoint is not None
    forked = replace(now, checkpoint=Checkpoint(now.checkpoint.origin, now.checkpoint.size, bytes(32)))
    further = replace(now, phase={session: int(Phase.PUBLISHED)})
    more = replace(now, events={**now.events, (session, 99): bytes(32)}, receipts={(session, 0, "Join"): bytes(32)})
    assert [_words(one, now) for one in (forked, further, more)] == [
        [f"the log as it was at death 0 ({now.checkpoint.size} entries) is no beginning of the log"],
        ["the session went back from PUBLISHED to ACCEPTING"],
        [
            "events that were stored at death 0 are not there any more",
            "receipts that were stored at death 0 are not there any more",
        ],
    ]


def _words(earlier: Held, now: Held) -> list[str]:
    return list(broken_growth([earlier], now))


def test_a_sum_that_counts_somebody_twice_is_seen(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=MEMBERS) as coordinator:
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
        expected = {place_of(seat): 1 for seat in range(MEMBERS)}
        assert list(broken_result(coordinator, bundle, expected)) == [
            "the sum holds [5, 1, 1, 1], expected [1, 1, 1, 1]"
        ]


def test_the_report_names_every_fault_and_what_was_broken() -> None:
    outcomes = [
        Outcome("kills", "agents seed 1", "published", deaths=2, recovery=1.5),
        Outcome("kills", "agents seed 2", "published", deaths=1),
        Outcome("disks", "full", "published"),
    ]
    table = to_table(outcomes)
    assert "| kills | agents | 2 | 3 | 1.50 | 2 published |" in table
    assert "| disks | full | 1 | 0 |  | published |" in table
    assert from_json(to_json(outcomes, 7)) == outcomes
    outcomes[1].recovery = 6.0
    outcomes[1].judge(busy=True)
    assert "BROKEN" not in to_table(outcomes)
    outcomes[1].judge(busy=False)
    assert "| kills | agents | 2 | 3 | 6.00 | BROKEN: served again only after 6.0 s |" in to_table(outcomes)
