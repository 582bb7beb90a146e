"""Stories of a coordinator's log: a database, the log, entries, and what everybody reads."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path

from sqlalchemy import Connection

from testkit.statements import coordinator_key
from vdb_coordinator.serving.transparency import TransparencyLog
from vdb_coordinator.store import log_entries
from vdb_coordinator.store.database import Database
from vdb_shared.audit.log_files import open_log
from vdb_shared.transparency.tiles import TiledLog

ORIGIN = "testbed/vdb-log"


def whole(story: Callable[[Path], Coroutine[None, None, None]]) -> Callable[[Path], None]:
    """Run an asynchronous story to its end."""

    @functools.wraps(story)
    def run(tmp_path: Path) -> None:
        asyncio.run(story(tmp_path))

    return run


async def opened(path: Path) -> tuple[Database, TransparencyLog]:
    """Return a new database, opened, and its log, which is not."""
    database = Database(path / "db.sqlite")
    await database.open()
    return database, TransparencyLog(database, path / "log", ORIGIN, coordinator_key(0))


async def append(database: Database, log: TransparencyLog, count: int, prefix: str = "entry") -> None:
    """Store so many entries and publish them."""

    def store(connection: Connection) -> None:
        for number in range(count):
            log_entries.append(connection, f"{prefix} {number}".encode())

    await database.run(store)
    await log.publish()


def read(path: Path, log: TransparencyLog) -> TiledLog:
    """Return the log as everybody reads it."""
    return open_log(str(path / "log"), log.key)[0]
