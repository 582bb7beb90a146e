"""A coordinator from a backup: in a new directory, with an empty database, going on from the newest log.

Promises that no directory is there before everything was read back and found sound, also when a restoration is cut short, and
that no log is gone on with that is shorter than one which somebody is known to have seen.
Leaves what is lost to `losses.py`, and stopping the other coordinator of these keys to people: two of them fork the log.

Source: protos/README.md §11.6.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from sqlalchemy import Connection

from vdb_coordinator.approvals import SignedOrder, parse_proposal
from vdb_coordinator.backups.container import ManifestFile, read_container
from vdb_coordinator.backups.losses import Circumstances, Losses, later, take_losses
from vdb_coordinator.backups.making import CHECKPOINT, KEYS
from vdb_coordinator.backups.newest import Newest, newest_log, read_seen, seen_at
from vdb_coordinator.backups.workshop import move_into_place, workshop
from vdb_coordinator.config import ConfigFile, Home
from vdb_coordinator.files import make_directories, read_file, write_durably, write_secret
from vdb_coordinator.identity.keys import is_encrypted
from vdb_coordinator.identity.rosters import RosterAuthority
from vdb_coordinator.orders import Handed, ordered, restoration
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.serving.server import Keys, read_keys
from vdb_coordinator.store import log_entries
from vdb_coordinator.store.blobs import BlobStore
from vdb_coordinator.store.copying import copy_rows
from vdb_coordinator.store.database import Database, create_database, migrate, read_database
from vdb_coordinator.store.engines import postgresql_url
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import IdentityError, StoreError, UsageError
from vdb_shared.transparency.merkle import leaf_hash
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, grown_files

PassphraseFor = Callable[[bool], bytes | None]
"""Returns the passphrase of keys that are encrypted or not."""

_DATABASE_LINE: Final = re.compile(r"^[ \t]*database[ \t]*=.*$", re.MULTILINE)


_MOST_DIGITS: Final = 20
"""No log has so many entries that their number is longer."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What `restore` was asked for.

    Attributes:
        backup: the file.
        into: a directory that is not there yet, or is empty.
        database: URL of an empty PostgreSQL database; None for an SQLite file in the directory.
        logs: where checkpoints of the log are: its URL, its folder, checkpoints that institutions have.
        newest_known: entries that the log has in the newest checkpoint which anybody has, as the operator says; or None.
        nothing_lost: whether the operator says that no coordinator served after the backup.
        keys: folder with the private keys, for a backup without them.
        order: what several people signed, where the policy in the backup wants that.
    """

    backup: Path
    into: Path
    database: str | None = None
    logs: tuple[str, ...] = ()
    newest_known: int | None = None
    nothing_lost: bool = False
    keys: Path | None = None
    order: Handed | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: the backup's manifest, what is lost, and how many things were looked at and found sound."""

    manifest: ManifestFile
    losses: Losses
    looked_at: int


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """A backup's files in a folder where nobody looks for a coordinator."""

    home: Home
    config: ConfigFile
    manifest: ManifestFile
    digest: str
    keys: Keys = field(repr=False)


def restore(wish: Wish, passphrase_for: PassphraseFor, now: datetime) -> Restored:
    """Make a coordinator's directory and database from a backup; nobody serves it yet.

    Raises:
        UsageError: the target is not empty, the newest checkpoint is not known, or an option cannot be used.
        FormatError: the backup is damaged, or it and the log are not of one piece.
        IdentityError: the keys are not those of the backup, or the passphrase is wrong.
        StoreError: something cannot be read or written, or what was restored is not sound.
        RefusedError: several people must sign it, and have not, or have signed something else.
    """
    _check_wish(wish)
    with workshop(wish.into) as folder:
        unpacked = _unpack(wish, Home(folder / "home"), passphrase_for)
        newest = _newest(wish, unpacked)
        losses = _take_losses(wish, unpacked, newest, _order(wish, unpacked, newest, now), now)
        _write_log(unpacked.home, newest)
        looked_at = _check_sound(unpacked.home, unpacked.home.sqlite)
        if wish.database is not None:
            looked_at = _move_database(unpacked.home, wish.database)
        move_into_place(unpacked.home.path, wish.into)
    return Restored(unpacked.manifest, losses, looked_at)


def _check_wish(wish: Wish) -> None:
    if wish.into.exists() and (not wish.into.is_dir() or any(wish.into.iterdir())):
        raise UsageError(f"{wish.into}: exists and is not empty; name a new directory")
    if wish.database is not None:
        postgresql_url(wish.database)
    if not wish.logs and wish.newest_known is None:
        raise UsageError(
            "who restores without the newest checkpoint of the log may sign a second log: give --log (the published log's URL "
            "or folder, and checkpoints that institutions have), or, if you asked everybody, --newest-known ENTRIES"
        )


def _unpack(wish: Wish, home: Home, passphrase_for: PassphraseFor) -> _Unpacked:
    """Unpack a backup, with its keys, and bring its database's schema up to date."""
    make_directories(home.path)
    home.path.chmod(0o700)
    manifest, digest = read_container(wish.backup, home.path)
    if not home.sqlite.is_file():
        raise UsageError(f"{wish.backup}: holds no database; take another backup")
    home.blobs.mkdir(exist_ok=True)
    home.blobs.chmod(0o700)
    _put_keys(wish, manifest, home)
    config = _configure(home, wish.database)
    keys = read_keys(home, passphrase_for(is_encrypted(home.key("statement"))))
    certificate = x509.load_pem_x509_certificate(read_file(home.ca_certificate))
    if certificate.public_key() != keys.ca.public_key():
        raise IdentityError(f"{home.key('ca').name}: is not the key of the consortium's certificate authority")
    database = Database(home.sqlite)
    try:
        database.run_now(migrate)
    finally:
        database.close()
    return _Unpacked(home, config, manifest, digest, keys)


def _put_keys(wish: Wish, manifest: ManifestFile, home: Home) -> None:
    if manifest.with_keys:
        if wish.keys is not None:
            raise UsageError(f"{wish.backup}: holds the keys itself; leave --keys out")
        home.key("statement").parent.chmod(0o700)
        return
    if wish.keys is None:
        raise UsageError(f"{wish.backup}: holds no private keys; name the folder that has them with --keys")
    home.key("statement").parent.mkdir(mode=0o700)
    for name in KEYS:
        source = wish.keys / f"{name}.pem"
        if source.exists():
            write_secret(home.path / "keys" / source.name, read_file(source))


def _configure(home: Home, database: str | None) -> ConfigFile:
    """Write where the database is from now on, and return the configuration."""
    before = home.read_config()
    if before.database == database:
        return before
    text = _DATABASE_LINE.sub("", read_file(home.config_file).decode())
    line = "" if database is None else f"database = {json.dumps(database)}\n"
    write_durably(home.config_file, f"{line}{text.strip()}\n".encode())  # behind a table's head it would be the table's
    wanted = before.model_copy(update={"database": database})
    if home.read_config() != wanted:
        raise UsageError(
            "the database in the backup's coordinator.toml cannot be replaced: it does not stand in one line"
        )
    return wanted


def _newest(wish: Wish, unpacked: _Unpacked) -> Newest:
    """Return the log to go on with, after a check that nobody is known to have a longer one."""
    home, keys = unpacked.home, unpacked.keys
    own, roster = read_database(
        home.sqlite,
        lambda connection: (
            log_entries.load(connection, 0),
            RosterAuthority(home.read_roots(), keys.roster).newest(connection),
        ),
    )
    roster.signed.verify(roster.signed.root_fingerprint, None)
    key = log_key(roster.roster)
    if roster.roster.coordinator.public_key != keys.statement.public_key:
        raise IdentityError("the statement key is not the coordinator's in the backup's roster; give the right keys")
    seen = [read_seen(place, key) for place in wish.logs]
    if (home.path / CHECKPOINT).is_file():
        seen.append(seen_at("the backup", read_file(home.path / CHECKPOINT), key))
    newest = newest_log(own, seen)
    _check_known(wish, unpacked.manifest, newest, len(own))
    return newest


def _check_known(wish: Wish, manifest: ManifestFile, newest: Newest, own: int) -> None:
    published = 0 if newest.seen is None else newest.seen.checkpoint.size
    said = wish.newest_known
    if said is not None and not published <= said <= len(newest.entries):
        where = "nobody knows" if newest.seen is None else f"{newest.seen.place} has"
        raise UsageError(
            f"--newest-known {said}: {where} a checkpoint of {published} entries, and {len(newest.entries)} are at hand; "
            "give --log the files of the newest log that anybody has"
        )
    if wish.nothing_lost and not manifest.stopped:
        raise UsageError(
            "--nothing-lost: the backup was made while a coordinator served, so what it did afterwards is lost; leave it out"
        )
    if wish.nothing_lost and max(published, said or 0, len(newest.entries)) > own:
        raise UsageError(
            f"--nothing-lost: the log has {len(newest.entries)} entries and the backup {own}; a coordinator served after it: "
            "leave it out"
        )


def _order(wish: Wish, unpacked: _Unpacked, newest: Newest, now: datetime) -> SignedOrder | None:
    """Return what several people have signed of this restoration, where the backup's policy wants that.

    They say of how many entries the log at least is, which nobody who restores alone can then make shorter.
    """
    entries = len(newest.entries)
    if wish.order is not None:
        said = parse_proposal(wish.order.body).parameters.get("entries", "")
        if len(said) < _MOST_DIGITS and said.isascii() and said.isdecimal() and int(said) <= entries:
            entries = int(said)
    deed = restoration(unpacked.config.consortium, unpacked.digest, entries, nothing_lost=wish.nothing_lost)
    return ordered(unpacked.config.approvals, deed, wish.order, now)


def _take_losses(wish: Wish, unpacked: _Unpacked, newest: Newest, order: SignedOrder | None, now: datetime) -> Losses:
    home, keys = unpacked.home, unpacked.keys
    circumstances = Circumstances(
        now,
        unpacked.manifest.made,
        wish.nothing_lost,
        newest.seen.note if newest.seen else b"",
        RosterAuthority(home.read_roots(), keys.roster),
        keys.statement,
        order,
    )
    database = Database(home.sqlite)
    history = SessionHistory(database, BlobStore(home.blobs))

    def work(connection: Connection) -> Losses:
        found = later(newest.entries[log_entries.size(connection) :])
        return take_losses(connection, history, found, circumstances)

    try:
        return database.run_now(work)
    finally:
        database.close()


def _write_log(home: Home, newest: Newest) -> None:
    """Write the files of the log up to its newest checkpoint, below which a coordinator signs nothing."""
    if newest.seen is None:
        return
    entries = newest.entries[: newest.seen.checkpoint.size]
    for path, data in grown_files(0, entries, [leaf_hash(entry) for entry in entries]):
        make_directories((home.log / path).parent)
        write_durably(home.log / path, data)
    make_directories(home.log)
    write_durably(home.log / CHECKPOINT_PATH, newest.seen.note)


def _check_sound(home: Home, target: Path | str) -> int:
    """Return how many things were looked at and found sound.

    Raises:
        StoreError: one is not.
    """
    database = Database(target)
    try:
        findings = look(Holdings(home, database))
    finally:
        database.close()
    broken = [finding for finding in findings if finding.problem and _matters(home, finding.what)]
    if broken:
        raise StoreError(
            f"what the backup holds is not sound, and nothing was restored: {broken[0].what}: {broken[0].problem}"
        )
    return len(findings)


def _matters(home: Home, what: str) -> bool:
    """Return whether a finding is of something that should be there: a log that was never published has no files."""
    return what != "log files" or (home.log / CHECKPOINT_PATH).exists()


def _move_database(home: Home, url: str) -> int:
    """Copy the restored rows into an empty database of a server, in one transaction, and look at them there."""

    def copy(target: Connection) -> None:
        read_database(home.sqlite, lambda source: copy_rows(source, target))

    create_database(url, copy)
    looked_at = _check_sound(home, url)
    home.sqlite.unlink()
    return looked_at
