"""kill -9 of the agent at every named place: it goes on, or is left behind without a loose end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.faults.failpoints import ELSEWHERE
from testkit.sessions import SITES, Runs, consortium, journal_of, kinds, run_with_failpoint
from vdb_participant.session.exchange import LEAVING
from vdb_participant.site.failpoints import Place
from vdb_shared.errors import SessionAbortedError

SHORT_ROUND = 4
"""Seconds that the others wait for the dead one."""

PLACES = tuple(place for place in get_args(Place) if place not in ELSEWHERE)
"""Failpoints of a session without a restart; see `test_agent_restarts.py` for the others."""


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_it_goes_on_where_it_stopped(
    coordinator: RunningCoordinator, tmp_path: Path, place: str
) -> None:
    *others, victim = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*others)
    assert run_with_failpoint(victim, f"{place}=kill") == -signal.SIGKILL
    runs.start(victim)
    runs.join()
    assert not runs.errors
    assert len({outcome.bundle.read_bytes() for outcome in runs.outcomes.values()}) == 1
    assert kinds(victim) == ["debit"]
    assert victim.measure.calls == (1 if place in ("before-cosign", "after-cosign", "after-join") else 0)


@pytest.mark.parametrize(
    ("place", "ledger"),
    [("after-share-keys", []), ("before-masked-input", ["debit", "refund"])],
)
def test_left_behind_before_its_input_left_it_pays_nothing(
    coordinator: RunningCoordinator, tmp_path: Path, place: str, ledger: list[str]
) -> None:
    *others, victim = consortium(coordinator, tmp_path, round_seconds=SHORT_ROUND)
    runs = Runs()
    runs.start(*others)
    assert run_with_failpoint(victim, f"{place}=kill") == -signal.SIGKILL
    runs.join()
    assert not runs.errors
    assert len(runs.outcomes) == SITES - 1
    for _ in range(2):
        with pytest.raises(SessionAbortedError, match=r"dropped out|went on without us|over"):
            victim.take_part()
    assert kinds(victim) == ledger
    assert LEAVING not in journal_of(victim)
    assert "secret" not in journal_of(victim).values()


def test_killed_after_its_input_left_it_is_in_the_sum_all_the_same(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    *others, victim = consortium(coordinator, tmp_path, round_seconds=SHORT_ROUND)
    runs = Runs()
    runs.start(*others)
    assert run_with_failpoint(victim, "after-masked-input=kill") == -signal.SIGKILL
    runs.join()
    assert not runs.errors
    assert victim.take_part().bundle.read_bytes() == next(iter(runs.outcomes.values())).bundle.read_bytes()
    assert kinds(victim) == ["debit"]
