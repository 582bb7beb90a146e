"""The checkpoint that is published never goes back, whoever is cancelled, held up or spoils the file."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from testkit.log_stories import ORIGIN, append, opened, read, whole
from testkit.statements import coordinator_key
from vdb_coordinator.serving.failpoints import Failpoints, Place
from vdb_coordinator.serving.transparency import TransparencyLog
from vdb_coordinator.store.database import Database
from vdb_shared.errors import StoreError
from vdb_shared.transparency.checkpoint import Checkpoint, sign_checkpoint


class Held(Failpoints):
    """Holds the first thread that comes by after `armed`, when all but the checkpoint is written."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False
        self.reached, self.go = threading.Event(), threading.Event()

    def reach(self, place: Place) -> None:
        if place == "in-append" and self.armed:
            self.armed = False
            self.reached.set()
            assert self.go.wait(20)


@whole
async def test_a_publication_whose_caller_went_away_is_finished_before_the_next(tmp_path: Path) -> None:
    """The attack: a call is cancelled in the middle, and its thread would write its checkpoint after a later, longer one."""
    database, held = Database(tmp_path / "db.sqlite"), Held()
    await database.open()
    log = TransparencyLog(database, tmp_path / "log", ORIGIN, coordinator_key(0), held)
    await log.open()
    await append(database, log, 1)
    held.armed = True
    call = asyncio.ensure_future(append(database, log, 1, prefix="second"))
    assert await asyncio.to_thread(held.reached.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    following = asyncio.ensure_future(append(database, log, 1, prefix="third"))
    await asyncio.wait({following}, timeout=1)
    assert (log.size, read(tmp_path, log).checkpoint.size) == (1, 1)
    held.go.set()
    await following
    assert (log.size, read(tmp_path, log).checkpoint.size) == (3, 3)
    database.close()


@whole
async def test_a_coordinator_that_was_held_up_does_not_shorten_what_its_successor_published(tmp_path: Path) -> None:
    """The attack: it stands still between reading entries and writing the checkpoint, and wakes up after the takeover."""
    database, held = Database(tmp_path / "db.sqlite"), Held()
    await database.open()
    former = TransparencyLog(database, tmp_path / "log", ORIGIN, coordinator_key(0), held)
    await former.open()
    held.armed = True
    publishing = asyncio.ensure_future(append(database, former, 2))
    assert await asyncio.to_thread(held.reached.wait, 10)
    successors_database, successor = await opened(tmp_path)
    await successor.open()
    await append(successors_database, successor, 1, prefix="later")
    shown = (tmp_path / "log" / "checkpoint").read_bytes()
    held.go.set()
    with pytest.raises(StoreError, match="another coordinator has published 3 entries here, this one was to publish 2"):
        await publishing
    assert (tmp_path / "log" / "checkpoint").read_bytes() == shown
    assert not list((tmp_path / "log").glob(".checkpoint*"))
    database.close()
    successors_database.close()


@whole
async def test_a_checkpoint_that_is_not_the_one_that_was_written_is_written_again(tmp_path: Path) -> None:
    """A shorter one, a damaged one and none; not one of another log of the same key, which would be hidden by that."""
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 1)
    file = tmp_path / "log" / "checkpoint"
    shorter = file.read_bytes()
    await append(database, log, 2)
    newest = file.read_bytes()
    for spoil in (lambda: file.write_bytes(shorter), lambda: file.write_bytes(b"\0" * 40), file.unlink):
        spoil()
        await log.publish()
        assert file.read_bytes() == newest
    forked = sign_checkpoint(Checkpoint(ORIGIN, 2, bytes(32)), coordinator_key(0)).to_bytes()
    file.write_bytes(forked)
    with pytest.raises(StoreError, match="another coordinator has published 2 entries here"):
        await log.publish()
    assert file.read_bytes() == forked
    database.close()
