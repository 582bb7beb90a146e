"""Failpoints stop an agent where a test says, and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from vdb_participant.site.failpoints import DELAY_SECONDS, Failpoints, parse_failpoints
from vdb_shared.errors import StoreError, UsageError

PROGRAM = """
from vdb_participant.site.failpoints import failpoints_from_environment
points = failpoints_from_environment()
points.reach("after-join")
print("went on", flush=True)
points.reach("after-share-keys")
print("never", flush=True)
"""


def start(setting: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"VDB_FAILPOINTS": setting},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_without_a_setting_all_places_are_passed() -> None:
    Failpoints().reach("after-join")
    with start("") as process:
        assert process.communicate()[0].split("\n")[:2] == ["went on", "never"]


def test_kill_ends_the_process_at_once() -> None:
    with start("after-share-keys=kill") as process:
        printed, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert printed == "went on\n"


def test_hold_says_where_and_waits_to_be_killed() -> None:
    with start("after-share-keys=hold") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "went on\n"
        assert "after-share-keys" in process.stdout.readline()
        assert process.poll() is None
        process.kill()


def test_error_is_a_storage_that_refuses() -> None:
    with pytest.raises(StoreError, match="after-debit: refused"):
        parse_failpoints("after-debit=error").reach("after-debit")


def test_delay_stands_still_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("vdb_participant.site.failpoints.time.sleep", slept.append)
    parse_failpoints("before-cosign=delay").reach("before-cosign")
    assert slept == [DELAY_SECONDS]


@pytest.mark.parametrize(
    ("setting", "named"),
    [("after-lunch=kill", "'after-lunch' is not a failpoint"), ("after-join=explode", "not an action")],
)
def test_a_misspelt_setting_is_refused(setting: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse_failpoints(setting)


def test_several_places_can_be_set() -> None:
    assert parse_failpoints("after-join=hold, after-unmask=kill,").actions == {
        "after-join": "hold",
        "after-unmask": "kill",
    }
