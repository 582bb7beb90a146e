"""Real agents whose coordinator came back from a backup: nobody waits, nobody pays twice, and a second log is caught."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.backups import back_up, bring_back, key_of, monitored, newest_note, serving
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.crashes import Crash
from testkit.dishonest import Remembering
from testkit.institutions import Institution
from testkit.lives import DyingAt
from testkit.sessions import SITES, Runs, consortium, kinds
from vdb_participant.site.failpoints import Place
from vdb_shared.errors import ProtocolError, SessionAbortedError


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


def die_at(place: Place, *institutions: Institution) -> None:
    """Let institutions come to a place in their session and die there."""

    def run(institution: Institution) -> None:
        with pytest.raises(Crash):
            replace(institution, failpoints=DyingAt(place=place)).take_part()

    threads = [threading.Thread(target=run, args=[institution], daemon=True) for institution in institutions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "an agent hangs"


@pytest.mark.parametrize("opened", [True, False], ids=["opened before the backup", "opened after it"])
def test_an_input_that_left_stays_paid_and_no_agent_waits(
    coordinator: RunningCoordinator, tmp_path: Path, opened: bool
) -> None:
    if not opened:
        back_up(coordinator, tmp_path / "backup")
    institutions = consortium(coordinator, tmp_path)
    one, two, *others = institutions
    die_at("before-masked-input", *institutions)
    if opened:
        back_up(coordinator, tmp_path / "backup")
    die_at("after-masked-input", one, two)
    log, key = newest_note(coordinator.home), key_of(coordinator)
    coordinator.stop()
    bring_back(tmp_path / "backup", tmp_path / "restored", one.site.folder.log, coordinator.home.log)
    runs = Runs()
    with serving(tmp_path / "restored", coordinator) as restored:
        runs.start(*institutions)
        runs.join()
        assert len(runs.errors) == SITES
        for error in runs.errors.values():
            assert isinstance(error, SessionAbortedError)
            assert "backup of" in str(error)
        if opened:
            restored.settle(one.session)
        report = monitored(restored.home, key, log)
    assert report.wrong == ()
    assert [session.state for session in report.sessions] == ["aborted"]
    assert [kinds(each) for each in (one, two)] == [["debit"], ["debit"]]
    assert [kinds(each) for each in others] == [["debit", "refund"], ["debit", "refund"]]


def test_an_agent_that_saw_the_longer_log_leaves_the_fork_before_anything_of_its_data_does(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """The guard is off: the operator says that nobody has seen more than the backup."""
    back_up(coordinator, tmp_path / "backup")
    institutions = consortium(coordinator, tmp_path / "first")
    die_at("after-join", *institutions)
    coordinator.stop()
    bring_back(tmp_path / "backup", tmp_path / "fork", newest_known=0)
    with serving(tmp_path / "fork", coordinator) as fork:
        victim = consortium(fork, tmp_path / "second")[0]
        again = replace(victim, site=institutions[0].site)
        with Remembering(again) as link:
            with pytest.raises(ProtocolError, match="shows another log than before"):
                again.take_part(link)
            assert link.kinds == ["abort"]
    assert list(institutions[0].site.folder.log.glob("fork-*.txt"))
