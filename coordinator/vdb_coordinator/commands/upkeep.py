"""What the commands about a directory that nobody serves do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vdb_coordinator.commands.terminal import Common, console, print_json
from vdb_coordinator.config import Home
from vdb_coordinator.files import DirectoryLock
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_coordinator.store.database import Database, count_epoch


@contextmanager
def held(home: Home) -> Iterator[Database]:
    """Keep coordinators away from a directory and its database for the length of a block.

    One that had lost a PostgreSQL database for a moment, and so its lock, finds a later epoch when it comes back, and ends.

    Raises:
        UsageError: a coordinator serves the directory.
        ServedElsewhereError: one serves the database.
    """
    config = home.read_config()
    lock = DirectoryLock(home.lock) if config.database is None else None
    database = Database(home.database(config))
    try:
        if lock is None:
            database.run_now(count_epoch)
        yield database
    finally:
        database.close()
        if lock is not None:
            lock.release()


def fsck(common: Common, *, as_json: bool) -> None:
    """Read everything that a coordinator keeps, and say what is not as it was written; exit status 1 if anything is."""
    home = Home(common.directory)
    with held(home) as database:
        findings = look(Holdings(home, database))
    broken = [finding for finding in findings if finding.problem]
    if as_json:
        print_json(
            {
                "version": "vdb-fsck/1",
                "sound": not broken,
                "findings": [{"what": finding.what, "problem": finding.problem or None} for finding in findings],
            }
        )
    else:
        screen = console()
        for finding in findings:
            screen.print(f"{finding.what}: {finding.problem or 'sound'}", style="red" if finding.problem else None)
        screen.print(
            f"{len(broken)} of {len(findings)} are not as they were written" if broken else "everything is sound"
        )
    if broken:
        raise typer.Exit(1)
