"""Real agents that are shown two logs by the consortium's own key: they leave, signed, and keep the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.crashes import Crash
from testkit.dishonest import Remembering, dies
from testkit.institutions import Institution
from testkit.logs import MadeLog
from testkit.sessions import SITES, Runs, consortium, journal_of, kinds
from vdb_coordinator.serving.server import read_keys
from vdb_shared.errors import ProtocolError
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.merkle import consistency_proof, inclusion_proof, leaf_hash, of_leaves
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.tiles import TiledLog
from vdb_shared.wire.status import LogView


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path / "consortium", institutions=SITES) as running:
        yield running


@dataclass
class Fork:
    """A second log under the consortium's own key, which differs from the true one behind the openings."""

    home: RunningCoordinator
    key: StatementKey

    def view(self, true: LogView, size: int) -> LogView:
        """Return what a lying coordinator shows."""
        shown = parse_checkpoint(parse_note(true.checkpoint).text)
        folder = self.home.home.log
        entries = [*TiledLog(shown, lambda path: (folder / path).read_bytes()).entries(), b"only for you"]
        complete = of_leaves([leaf_hash(entry) for entry in entries])
        now = len(entries)
        return LogView(
            MadeLog("testbed", self.key, entries).proof(true.index, {}).checkpoint,
            tuple(consistency_proof(min(size, now), now, complete)),
            true.index,
            tuple(inclusion_proof(true.index, now, complete)),
        )


class TwoLogs(Remembering):
    """Shows a fork first and the true log afterwards, and keeps our signature of the fork to itself."""

    def __init__(self, institution: Institution, fork: Fork) -> None:
        super().__init__(institution)
        self.fork, self.shown = fork, False

    def log_view(self, session: str, size: int) -> LogView:
        true = super().log_view(session, size)
        self.shown, first = True, not self.shown
        return self.fork.view(true, size) if first else true

    def cosign(self, session: str, size: int, cosignature: bytes) -> None:
        self.sent.append(("cosignature", cosignature))


def test_a_site_that_is_shown_a_log_of_its_own_leaves_before_anything_of_its_data_does(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """It witnessed the fork and joined; the others witnessed the true log, and the seal names their signatures."""
    *others, victim = consortium(coordinator, tmp_path, minimum=SITES - 1)
    fork = Fork(coordinator, read_keys(coordinator.home, None).statement)
    runs = Runs()
    runs.start(*others)
    with TwoLogs(victim, fork) as link:
        with pytest.raises(ProtocolError, match=r"another log than before .* compare them with what other"):
            victim.take_part(link)
        assert link.kinds == ["cosignature", "join", "abort"]
    runs.join()
    assert not runs.errors
    assert kinds(victim) == []
    (kept,) = (victim.site.folder.log).glob("fork-*.txt")
    assert kept.read_text().count("testbed/vdb-log\n") >= 2


def test_a_site_that_saw_another_log_before_never_joins(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    fork = Fork(coordinator, read_keys(coordinator.home, None).statement)
    with Remembering(first) as link:
        seen = fork.view(link.log_view(first.session, 0), 0).checkpoint
        first.site.folder.log.mkdir(parents=True)
        (first.site.folder.log / "checkpoint").write_bytes(seen)
        with pytest.raises(ProtocolError, match="fewer than the 2 that it had before"):
            first.take_part(link)
        assert link.kinds == ["abort"]
    assert kinds(first) == []
    (kept,) = (first.site.folder.log).glob("fork-*.txt")
    assert kept.read_bytes().startswith(seen)


class DiesCountersigning(Remembering):
    """The life ends where its countersignature would leave."""

    def countersign(self, session: str, countersignature: bytes) -> None:
        dies()


def test_who_countersigned_waits_for_witnesses_without_any_secret(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """A logged result has no deadline: machines that never come back must not keep the others' secrets alive."""
    *others, victim = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*others)
    with DiesCountersigning(victim) as link, pytest.raises(Crash):
        victim.take_part(link)
    assert "countersign/sent" in journal_of(victim)
    assert "outcome" not in journal_of(victim)
    assert "secret" not in journal_of(victim).values()
    runs.start(victim)
    runs.join()
    assert not runs.errors
    assert len({outcome.bundle.read_bytes() for outcome in runs.outcomes.values()}) == 1
    assert victim.measure.calls == 1
