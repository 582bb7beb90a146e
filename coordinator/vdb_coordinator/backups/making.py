"""Backups: a copy of all that a coordinator keeps, of one moment, whether it runs or not.

Promises that a backup holds the entries of every checkpoint that it holds: the checkpoint is read first, the database after it,
and blobs last, since a row is written after its blob and a checkpoint after its entries. Promises too that the file is there as
a whole, read back, or not at all. Leaves coming back from it to `restoring.py`.

Source: protos/README.md §11.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from vdb_coordinator.backups.container import DATABASE, ManifestFile, Source, read_container, write_container
from vdb_coordinator.backups.workshop import move_into_place, workshop
from vdb_coordinator.config import ConfigFile, Home
from vdb_coordinator.files import DirectoryLock, read_file
from vdb_coordinator.serving.clock import timestamp
from vdb_coordinator.store import log_entries, schema
from vdb_coordinator.store.copying import begin_snapshot, check_current, copy_rows
from vdb_coordinator.store.database import Database, count_epoch, create_database, newest_revision, read_database
from vdb_coordinator.store.engines import ServedElsewhereError
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import StoreError, UsageError
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.checkpoint import read_checkpoint
from vdb_shared.transparency.tiles import CHECKPOINT_PATH

KEYS: Final = ("root", "roster", "roster-next", "ca", "statement", "admin")
CHECKPOINT: Final = f"log/{CHECKPOINT_PATH}"

_ATTEMPTS: Final = 5
"""How often keys and trust root may change under a backup that begins again each time."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made or checked: its manifest, and the manifest's digest, which stands for all of it."""

    manifest: ManifestFile
    digest: str


def make_backup(home: Home, target: Path, now: datetime, *, with_keys: bool) -> Backup:
    """Write a backup of a coordinator's directory and database.

    Args:
        home: the directory; a coordinator may serve it.
        target: a file that is not there yet.
        now: the time.
        with_keys: whether it holds the private keys, as they lie in the directory.

    Raises:
        UsageError: the target exists, or this is no coordinator's directory.
        StoreError: something cannot be read or written, or is damaged.
    """
    config = home.read_config()
    if target.exists():
        raise UsageError(f"{target}: exists already; name another file or remove it")
    with workshop(target) as folder, _quiet(home, config) as stopped:
        sources, entries, epoch = _snapshot(home, config, folder / DATABASE, with_keys=with_keys)
        manifest = ManifestFile(
            consortium=config.consortium,
            made=timestamp(now),
            stopped=stopped,
            revision=newest_revision() or "",
            epoch=epoch,
            entries=entries,
            files=tuple(source.entry() for source in sources),
        )
        write_container(folder / "backup", manifest, sources)
        found, digest = read_container(folder / "backup")
        move_into_place(folder / "backup", target)
    return Backup(found, digest)


@contextmanager
def _quiet(home: Home, config: ConfigFile) -> Iterator[bool]:
    """Keep coordinators away if none serves, and yield whether that is so."""
    database = Database(home.database(config))
    lock: DirectoryLock | None = None
    try:
        if config.database is None:
            lock = DirectoryLock(home.lock)
        else:
            database.run_now(count_epoch)  # takes the database's lock, and who had lost it does not go on
    except (UsageError, ServedElsewhereError):
        database.close()
        yield False
        return
    try:
        yield True
    finally:
        database.close()
        if lock is not None:
            lock.release()


def _snapshot(home: Home, config: ConfigFile, copy: Path, *, with_keys: bool) -> tuple[list[Source], int, int]:
    """Return what is to be backed up, ascending by path, the number of entries of the log, and the epoch."""
    for _ in range(_ATTEMPTS):
        before, checkpoint = _small_files(home), _checkpoint(home)
        copy.unlink(missing_ok=True)
        blobs, entries, epoch = _copy_database(home, config, copy, checkpoint)
        if _small_files(home) == before:
            break
    else:
        raise StoreError(f"{home.path}: keys or trust root changed again and again; back up later")
    chosen = {path: content for path, content in before.items() if with_keys or not path.startswith("keys/")}
    small = [Source(path, content) for path, content in chosen.items()]
    log = [] if checkpoint is None else [Source(CHECKPOINT, checkpoint)]
    vectors = [Source(f"blobs/{name}", home.blobs / name) for name in blobs]
    return sorted([*small, *log, *vectors, Source(DATABASE, copy)], key=lambda item: item.path), entries, epoch


def _small_files(home: Home) -> dict[str, bytes]:
    """Return configuration, trust root, certificates and keys, by path."""
    roots = [home.root_version(number) for number in range(1, len(home.read_roots()) + 1)]
    keys = [home.path / "keys" / f"{name}.pem" for name in KEYS]
    there = [path for path in keys if path.exists()]
    files = [home.config_file, home.ca_certificate, home.admin_certificate, *roots, *there]
    return {str(path.relative_to(home.path)): read_file(path) for path in files}


def _checkpoint(home: Home) -> bytes | None:
    path = home.log / CHECKPOINT_PATH
    return read_file(path) if path.exists() else None


def _copy_database(home: Home, config: ConfigFile, copy: Path, checkpoint: bytes | None) -> tuple[list[str], int, int]:
    """Copy the database; return names of its blobs, the number of entries of the log, and the epoch."""

    def read(source: Connection) -> tuple[list[str], int, int]:
        begin_snapshot(source)
        check_current(source)
        create_database(copy, lambda target: copy_rows(source, target))
        digests = source.scalars(select(schema.blobs.c.digest)).all()
        entries = log_entries.size(source)
        epoch: int = source.execute(select(schema.epochs.c.number)).scalar() or 0
        _check_covered(source, checkpoint, entries)
        return [digest.removeprefix("sha256:") for digest in digests], entries, epoch

    return read_database(home.database(config), read)


def _check_covered(source: Connection, checkpoint: bytes | None, entries: int) -> None:
    """Check that the database has the entries of the checkpoint that was read before it."""
    if checkpoint is None:
        return
    rosters = schema.rosters.c
    newest = source.scalars(select(rosters.roster).order_by(rosters.version.desc()).limit(1)).one()
    size = read_checkpoint(checkpoint, log_key(parse_roster(newest)))[0].size
    if size > entries:
        raise StoreError(
            f"the log was published with {size} entries, and the database has {entries}: run `vdb-coordinator fsck`"
        )
