"""A debit that was returned outlives every power cut, and no power cut leaves a ledger that cannot be used."""

from __future__ import annotations

import pytest

from testkit.faults.tracing import tracer
from testkit.power_cuts import campaign, record


@pytest.fixture(scope="module")
def strace() -> str:
    found = tracer()
    if found is None:
        pytest.skip("strace, which records what SQLite does to the disk, is not there or may not trace")
    return found


def test_what_was_returned_is_there_after_a_cut_at_any_operation(strace: str) -> None:
    found = campaign(record(strace, "EXTRA"), seed=1, disks=2)
    assert found.holds, found
    assert found.operations > 50
    assert found.disks > found.operations


@pytest.mark.parametrize("weaker", ["FULL"])
def test_the_replay_finds_a_setting_that_loses_debits(strace: str, weaker: str) -> None:
    assert campaign(record(strace, weaker), seed=1, disks=0).undercounts
