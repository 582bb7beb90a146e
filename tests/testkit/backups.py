"""Backups of running coordinators, and coordinators that come back from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from testkit.coordinator import RunningCoordinator
from testkit.members import TestMember
from testkit.refusals import reason_of
from vdb_coordinator.backups.making import Backup, make_backup
from vdb_coordinator.backups.restoring import Restored, Wish, restore
from vdb_coordinator.commands.upkeep import held
from vdb_coordinator.config import Home
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_shared.audit.log_files import check_remembered, open_log
from vdb_shared.audit.monitor import Monitored, monitor
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.tiles import CHECKPOINT_PATH


def back_up(coordinator: RunningCoordinator, target: Path, *, with_keys: bool = True) -> Backup:
    """Write a backup of a coordinator, which may run."""
    return make_backup(coordinator.home, target, datetime.now(UTC), with_keys=with_keys)


def bring_back(backup: Path, into: Path, *logs: Path | str, **wish: Any) -> Restored:
    """Restore a backup whose keys are plain."""
    wanted = replace(Wish(backup, into, logs=tuple(map(str, logs))), **wish)
    return restore(wanted, lambda encrypted: None, datetime.now(UTC))


@contextmanager
def refusal(reason: str, words: str) -> Iterator[None]:
    """Expect that a call is refused for this reason and with these words."""
    with pytest.raises(grpc.RpcError, match=words) as caught:
        yield
    assert reason_of(caught.value) == reason


@contextmanager
def serving(
    directory: Path, before: RunningCoordinator, members: list[TestMember] | None = None
) -> Iterator[RunningCoordinator]:
    """Serve a restored directory, and connect members of the coordinator before to it."""
    restored = RunningCoordinator(directory)
    restored.identities, restored.address = before.identities, before.address
    restored.start()
    for member in members or []:
        member.coordinator = restored
        member.reconnect()
    try:
        yield restored
    finally:
        restored.stop()


def unsound(home: Home) -> dict[str, str]:
    """Return what fsck finds of a directory that nobody serves."""
    with held(home) as database:
        return {finding.what: finding.problem for finding in look(Holdings(home, database)) if finding.problem}


def key_of(coordinator: RunningCoordinator) -> NoteKey:
    """Return the key of a consortium's log."""
    return log_key(parse_roster(coordinator.identities[0].roster.roster))


def newest_note(home: Home) -> bytes:
    """Return the newest checkpoint that a coordinator signed."""
    return (home.log / CHECKPOINT_PATH).read_bytes()


def monitored(home: Home, key: NoteKey, remembered: bytes | None = None) -> Monitored:
    """Return what a reader of the whole log finds, who remembers an earlier checkpoint."""
    log, _ = open_log(str(home.log), key)
    if remembered is not None:
        check_remembered(log, remembered, key)
    return monitor(log.checkpoint, log.entries(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
