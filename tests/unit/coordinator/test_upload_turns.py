"""Uploads do not wait for each other: a disk that holds one of them up holds up nobody else's. One upload takes turns."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from testkit.consortium import expect
from testkit.session_story import BEGIN, EVERYBODY, Story, story
from vdb_coordinator.events import SessionOpened
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.serving.live import Snapshot
from vdb_coordinator.sessions import apply
from vdb_coordinator.store.blobs import BlobStore, UploadStore, upload_prefix
from vdb_coordinator.store.database import Database
from vdb_shared.errors import StoreError

FIRST, SECOND = (upload_prefix("sha256:" + "1" * 64, seat) + "0" * 64 for seat in (1, 2))
PATIENCE = 10.0
"""Seconds after which a write that waits for another upload's is taken to wait for ever."""


def until(there: Callable[[], bool], work: Future[int]) -> None:
    end = time.monotonic() + PATIENCE
    while not there() and not work.done() and time.monotonic() < end:
        time.sleep(0.001)


def test_an_upload_that_stalls_holds_up_no_other(tmp_path: Path) -> None:
    """The first one's file is a pipe that nobody reads: its write begins, and does not end."""
    store, pipe = UploadStore(tmp_path / "uploads"), tmp_path / "uploads" / FIRST
    os.mkfifo(pipe)
    with ThreadPoolExecutor(2) as threads:
        stalled = threads.submit(store.extend, FIRST, 0, b"stalled")
        try:
            until(lambda: len(store.extending) == 1, stalled)
            assert threads.submit(store.extend, SECOND, 0, b"12").result(PATIENCE) == 2
            assert store.content(SECOND) == b"12"
            assert not stalled.done()
        finally:
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            with pytest.raises(StoreError, match="cannot be written"):
                stalled.result(PATIENCE)
            os.close(reader)
    assert len(store.extending) == 0


def test_two_writes_of_one_upload_take_turns(tmp_path: Path) -> None:
    """A connection broke while its last chunk was written: the chunk that the next connection sends does not go in between."""
    store = UploadStore(tmp_path / "uploads")
    with ThreadPoolExecutor(1) as threads:
        with store.extending.take(FIRST):
            second = threads.submit(store.extend, FIRST, 0, b"second")
            wait([second], 0.2)  # long enough for a write that does not wait for its turn
            (tmp_path / "uploads" / FIRST).write_bytes(b"first")
        with pytest.raises(ValueError, match="ends at 5, not at 0"):
            second.result(PATIENCE)
    assert store.content(FIRST) == b"first"


def test_what_ended_is_forgotten(tmp_path: Path) -> None:
    """Whether it was written, refused, or could not be written."""
    store = UploadStore(tmp_path / "uploads")
    for seat in range(100):
        store.extend(upload_prefix("sha256:" + "1" * 64, seat), 0, b"x")
    with pytest.raises(ValueError, match="ends at 0, not at 7"):
        store.extend(FIRST, 7, b"x")
    (tmp_path / "uploads" / SECOND).mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        store.extend(SECOND, 0, b"x")
    assert len(store.extending) == 0


class HeldUp(BlobStore):
    """A store whose disk stands still while it writes a blob, until it is let go on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def put(self, content: bytes) -> str:
        self.begun.set()
        assert self.may_go_on.wait(PATIENCE)
        return super().put(content)


def test_a_vector_that_is_made_durable_holds_up_nobody_elses_events(tmp_path: Path) -> None:
    """The database has one writer; what is long about a masked input, its bytes and their fsync, is done before its turn."""
    told = story(Story.mask)
    before = list(told.events)
    told.mask(EVERYBODY[0])
    database, store = Database(tmp_path / "db.sqlite"), HeldUp(tmp_path / "blobs")
    history = SessionHistory(database, store)

    async def play() -> Snapshot:
        await database.open()
        snapshot = await history.create(expect(SessionOpened, before[0]))
        for event in before[1:]:
            snapshot = await history.append(snapshot, event, apply(snapshot.state, event), None)
        masked = told.events[-1]
        storing = asyncio.ensure_future(history.append(snapshot, masked, apply(snapshot.state, masked), None))
        await asyncio.to_thread(store.begun.wait, PATIENCE)
        try:
            await asyncio.wait_for(database.beat(BEGIN), PATIENCE)
            assert not storing.done()
        finally:
            store.may_go_on.set()
        await storing
        return await history.load(told.state.opening.session)

    assert asyncio.run(play()).state == told.state
    database.close()
