"""`export --profile full`: a result with the messages that it was made of, for an accredited auditor."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from sqlalchemy import Connection, select

from vdb_coordinator.commands.terminal import Common, console, write_new
from vdb_coordinator.config import Home
from vdb_coordinator.release import full_archive
from vdb_coordinator.store import schema
from vdb_coordinator.store.blobs import BlobStore
from vdb_coordinator.store.database import read_database
from vdb_coordinator.store.kept_messages import PublishedMessages, published_messages
from vdb_shared.commandline import agreed
from vdb_shared.errors import UsageError

WARNING = (
    "This file holds every masked vector and every share that was revealed: what this coordinator sees. Together with more "
    "than c dishonest institutions, or once X25519 is broken, it gives single vectors (with the noise in them). Hand it to an "
    "accredited auditor alone, encrypted, and have it destroyed after the audit."
)


def export_full(common: Common, session: str, output: Path, *, yes: bool) -> None:
    """Write the bundle of a published session in the profile `full`.

    Raises:
        UsageError: no such session, or it has no result, or nobody consented.
        StoreError: the directory cannot be read.
        FormatError: it would be larger than a bundle may be.
    """
    home = Home(common.directory)
    config = home.read_config()
    blobs = BlobStore(home.blobs)

    def read(connection: Connection) -> PublishedMessages:
        return published_messages(connection, blobs, _known(connection, session))

    found = read_database(home.database(config), read)
    console().print(WARNING, soft_wrap=True)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing was written: the profile full needs a terminal, or --yes")
        if not agreed("Write it?"):
            raise typer.Exit(1)
    content = full_archive(blobs.get(found.archive), found.names, found.messages)
    write_new(output, content, secret=True)
    console().print(
        f"wrote {output} ({len(content):,} bytes); it replays with: vdb-audit verify {output}", soft_wrap=True
    )


def _known(connection: Connection, name: str) -> str:
    """Return the id of the one session whose id begins so."""
    prefix = name.removeprefix("sha256:")
    rows = connection.scalars(select(schema.sessions.c.session)).all()
    found = [row for row in rows if prefix and row.removeprefix("sha256:").startswith(prefix)]
    if len(found) != 1:
        raise UsageError(f"{name}: expected the id of one session, or its beginning, found {len(found)}")
    return str(found[0])
