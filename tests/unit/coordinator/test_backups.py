"""Backups as files: one encoding, nothing damaged is taken, nothing unfinished has a name; and copies of databases."""

from __future__ import annotations

import random
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, insert, select, text

from testkit.backups import bring_back, unsound
from vdb_coordinator.backups.container import BackupEntry, ManifestFile, Source, read_container, write_container
from vdb_coordinator.backups.making import make_backup
from vdb_coordinator.backups.restoring import Wish, restore
from vdb_coordinator.backups.workshop import move_into_place, workshop
from vdb_coordinator.config import Home
from vdb_coordinator.identity.founding import found, new_config
from vdb_coordinator.store import attempts, restorations, schema
from vdb_coordinator.store.copying import begin_snapshot, copy_rows
from vdb_coordinator.store.database import Database, create_database, read_database
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, IdentityError, StoreError, UsageError, VdbError

NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
FIELDS = {
    "consortium": "testbed",
    "made": "2026-02-01T12:00:00Z",
    "stopped": True,
    "revision": "0005",
    "epoch": 3,
    "entries": 0,
}


def manifest_of(*sources: Source) -> ManifestFile:
    return ManifestFile.model_validate({**FIELDS, "files": tuple(source.entry() for source in sources)})


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A backup of three small files, one of them empty, one larger than a block."""
    blob = b"0123456789" * 70
    sources = [
        Source(f"blobs/{sha256_digest(blob).removeprefix('sha256:')}", blob),
        Source("ca.pem", b""),
        Source("coordinator.toml", b"version = 1\n"),
    ]
    write_container(tmp_path / "small", manifest_of(*sources), sources)
    return tmp_path / "small"


def test_what_was_written_is_read_and_any_tar_program_reads_it(small: Path, tmp_path: Path) -> None:
    manifest, _ = read_container(small, tmp_path / "out")
    assert stat.S_IMODE(small.stat().st_mode) == 0o600
    names = ["manifest.json", *(entry.path for entry in manifest.files)]
    with tarfile.open(small) as archive:
        assert archive.getnames() == names
    for entry in manifest.files:
        assert sha256_digest((tmp_path / "out" / entry.path).read_bytes()) == entry.digest
    modes = [stat.S_IMODE((tmp_path / "out" / entry.path).stat().st_mode) for entry in manifest.files]
    assert modes == [0o600, 0o644, 0o644]


def test_a_backup_that_was_cut_short_anywhere_is_refused(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    cut = tmp_path / "cut"
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(FormatError) as refusal:
            read_container(cut)
        assert "\n" not in str(refusal.value)


def test_no_byte_of_a_backup_can_be_changed(small: Path, tmp_path: Path) -> None:
    whole, other = small.read_bytes(), tmp_path / "other"
    chance = random.Random(8)  # noqa: S311 - chooses places, no secret
    for place in [*range(0, len(whole), 61), *chance.sample(range(len(whole)), 60)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        other.write_bytes(changed)
        with pytest.raises(FormatError):
            read_container(other)


def test_nothing_may_follow_a_backup(small: Path) -> None:
    with small.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(FormatError, match="something follows"):
        read_container(small)


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "/etc/passwd",
        "keys/../../x.pem",
        "keys/other.pem",
        "blobs/short",
        "lock",
        "log/tile/0/000",
        "a\nb",
    ],
)
def test_no_file_has_a_name_that_a_directory_does_not_have(path: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        BackupEntry(path=path, size=0, digest="sha256:" + "0" * 64)


def test_files_stand_once_and_in_order() -> None:
    entries = tuple(BackupEntry(path=path, size=0, digest="sha256:" + "0" * 64) for path in ("root.json", "ca.pem"))
    for files in (entries, (entries[0], entries[0])):
        with pytest.raises(ValueError, match="each path once"):
            ManifestFile.model_validate({**FIELDS, "files": files})


def test_what_is_no_backup_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"", b"no backup", bytes(10240), b"x" * 10240):
        file.write_bytes(content)
        with pytest.raises(FormatError, match="is no backup of a coordinator"):
            read_container(file)
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        read_container(tmp_path / "nothing")


def test_a_file_that_changes_under_the_backup_stops_it(tmp_path: Path) -> None:
    manifest = manifest_of(Source("ca.pem", b"before"))
    with pytest.raises(StoreError, match="changed while it was backed up"):
        write_container(tmp_path / "backup", manifest, [Source("ca.pem", b"behind")])


def test_two_programs_never_make_the_same_file(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with workshop(target) as folder:
        (folder / "left").write_bytes(b"")
        with pytest.raises(UsageError, match="another program works there"), workshop(target):
            pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_program_left_is_gone(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from vdb_coordinator.backups.workshop import workshop\n"
        "with workshop(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'secret').write_text('x'); (folder / 'deep').mkdir(); os.kill(os.getpid(), 9)"
    )
    target = tmp_path / "target"
    subprocess.run([sys.executable, "-c", program, target], env={"PYTHONPATH": ":".join(sys.path)}, check=False)
    (left,) = tmp_path.iterdir()
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    with workshop(target) as folder:
        assert list(folder.iterdir()) == []


def test_nothing_is_moved_over_what_is_there(tmp_path: Path) -> None:
    made, target = tmp_path / "made", tmp_path / "target"
    made.mkdir()
    target.mkdir()
    move_into_place(made, target)
    made.mkdir()
    (target / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="exists already"):
        move_into_place(made, target)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A coordinator's directory that never served."""
    home = Home(tmp_path / "coordinator")
    found(home, new_config("testbed", "127.0.0.1:0", "127.0.0.1:0"), None, NOW)
    return home


@pytest.mark.parametrize("directions", [("sqlite", "postgresql"), ("postgresql", "sqlite")], ids=" to ".join)
def test_a_copy_holds_all_rows_and_numbers_go_on(
    directions: tuple[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue("postgresql")
    places: dict[str, Path | str] = {"sqlite": tmp_path / "db.sqlite", "postgresql": url}
    source, target = (places[name] for name in directions)

    def fill(connection: Connection) -> None:
        connection.execute(insert(schema.epochs), {"id": 1, "number": 7})
        for number in range(1201):
            entry = {"session": "s", "sequence": number, "body": bytes([number % 256]), "digest": bytes(32)}
            connection.execute(insert(schema.events), entry)
        connection.execute(
            insert(schema.receipts), {"session": "s", "seat": 1, "kind": "k", "digest": b"", "sequence": 3}
        )
        for number in range(3):
            attempts.record(connection, NOW, "who", "did", str(number))

    def rows(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
        found = {}
        for table in schema.metadata.sorted_tables:
            query = select(table).order_by(*table.primary_key)
            found[table.name] = [tuple(row) for row in connection.execute(query)]
        return found

    def copy(connection: Connection) -> None:
        begin_snapshot(connection)
        create_database(target, lambda other: copy_rows(connection, other))

    create_database(source, fill)
    read_database(source, copy)
    assert read_database(target, rows) == read_database(source, rows)
    database = Database(target)
    database.run_now(lambda connection: attempts.record(connection, NOW, "who", "did", "more"))
    assert [row[0] for row in database.run_now(rows)["attempts"]] == [1, 2, 3, 4]
    database.close()


def first_epoch(connection: Connection) -> None:
    connection.execute(insert(schema.epochs), {"id": 1, "number": 1})


def test_a_copy_is_of_one_moment(target: Path | str, tmp_path: Path) -> None:
    """A writer changes two tables in one transaction, between the two reads of one copy."""
    create_database(target, first_epoch)
    writer = Database(target)

    def work(reader: Connection) -> tuple[int, int]:
        begin_snapshot(reader)
        before = reader.execute(select(schema.epochs.c.number)).scalar_one()
        writer.run_now(restorations.later_epoch)
        return before, reader.execute(select(schema.epochs.c.number)).scalar_one()

    before, after = read_database(target, work)
    writer.close()
    assert before == after == 1


def test_epochs_of_two_restorations_of_one_backup_differ(target: Path | str) -> None:
    create_database(target, first_epoch)
    database = Database(target)
    found = [database.run_now(restorations.later_epoch) for _ in range(3)]
    database.close()
    assert all(later - earlier >= restorations.STRIDE for earlier, later in pairwise(found))


def test_a_coordinator_that_never_served_comes_back(home: Home, tmp_path: Path) -> None:
    made = make_backup(home, tmp_path / "backup", NOW, with_keys=True)
    assert made.manifest.with_keys
    assert made.digest == read_container(tmp_path / "backup")[1]
    bring_back(tmp_path / "backup", tmp_path / "again", newest_known=0)
    again = Home(tmp_path / "again")
    assert {path.name for path in again.path.iterdir()} == {
        "admin.pem",
        "blobs",
        "ca.pem",
        "coordinator.sqlite",
        "coordinator.toml",
        "keys",
        "root.json",
    }
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (again.path / "keys").iterdir()} == {0o600}
    assert set(unsound(again)) == {"log files"}


def test_a_backup_without_keys_needs_them_and_no_others(home: Home, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "backup", NOW, with_keys=False)
    with tarfile.open(tmp_path / "backup") as archive:
        assert not [name for name in archive.getnames() if name.startswith("keys")]
    with pytest.raises(UsageError, match="holds no private keys; name the folder"):
        bring_back(tmp_path / "backup", tmp_path / "again", newest_known=0)
    stranger = Home(tmp_path / "stranger")
    found(stranger, new_config("testbed", "127.0.0.1:0", "127.0.0.1:0"), None, NOW)
    with pytest.raises(IdentityError, match="is not the one roster key"):
        bring_back(tmp_path / "backup", tmp_path / "again", newest_known=0, keys=stranger.path / "keys")
    for name, words in (
        ("statement", "the statement key is not the coordinator's"),
        ("ca", "is not the key of the consortium's"),
    ):
        mixed = tmp_path / f"mixed-{name}"
        shutil.copytree(home.path / "keys", mixed)
        shutil.copy(stranger.path / "keys" / f"{name}.pem", mixed / f"{name}.pem")
        with pytest.raises(IdentityError, match=words):
            bring_back(tmp_path / "backup", tmp_path / "again", newest_known=0, keys=mixed)
    assert not (tmp_path / "again").exists()
    bring_back(tmp_path / "backup", tmp_path / "again", newest_known=0, keys=home.path / "keys")
    make_backup(home, tmp_path / "with", NOW, with_keys=True)
    with pytest.raises(UsageError, match="holds the keys itself"):
        bring_back(tmp_path / "with", tmp_path / "more", newest_known=0, keys=home.path / "keys")


def test_a_passphrase_is_asked_for_and_must_be_the_right_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "coordinator")
    found(home, new_config("testbed", "127.0.0.1:0", "127.0.0.1:0"), b"open sesame", NOW)
    make_backup(home, tmp_path / "backup", NOW, with_keys=True)
    wish = Wish(tmp_path / "backup", tmp_path / "again", newest_known=0)
    with pytest.raises(IdentityError, match="is not opened by this passphrase"):
        restore(wish, lambda encrypted: b"wrong", NOW)
    assert not (tmp_path / "again").exists()
    restore(wish, lambda encrypted: b"open sesame" if encrypted else None, NOW)


def test_nothing_is_restored_over_anything(home: Home, tmp_path: Path, postgresql: str) -> None:
    make_backup(home, tmp_path / "backup", NOW, with_keys=True)
    with pytest.raises(UsageError, match="exists and is not empty"):
        bring_back(tmp_path / "backup", home.path, newest_known=0)
    create_database(postgresql, lambda connection: None)
    bring_back(tmp_path / "backup", tmp_path / "one", newest_known=0, database=postgresql)
    assert f'database = "{postgresql}"' in (tmp_path / "one" / "coordinator.toml").read_text()
    assert not (tmp_path / "one" / "coordinator.sqlite").exists()
    with pytest.raises(UsageError, match="holds a consortium already"):
        bring_back(tmp_path / "backup", tmp_path / "two", newest_known=0, database=postgresql)
    with pytest.raises(UsageError, match="exists already"):
        make_backup(home, tmp_path / "backup", NOW, with_keys=True)
    assert not (tmp_path / "two").exists()


def damage_events(home: Home) -> None:
    database = Database(home.sqlite)
    database.run_now(
        lambda connection: connection.execute(insert(schema.blobs), {"digest": "sha256:" + "1" * 64, "size": 1})
    )
    database.close()


def revoke_schema(home: Home) -> None:
    database = Database(home.sqlite)
    database.run_now(lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'"))
    database.close()


@pytest.mark.parametrize(
    ("damage", "words"), [(damage_events, "cannot be read"), (revoke_schema, "start `serve` once with this program")]
)
def test_a_damaged_directory_is_not_backed_up(
    home: Home, tmp_path: Path, damage: Callable[[Home], None], words: str
) -> None:
    damage(home)
    with pytest.raises(VdbError, match=words):
        make_backup(home, tmp_path / "backup", NOW, with_keys=True)
    assert {path.name for path in tmp_path.iterdir()} == {"coordinator"}


def test_a_roster_of_a_restored_coordinator_is_newer_than_any_that_was_seen(home: Home, tmp_path: Path) -> None:
    """Also than that of an earlier restoration of the same backup, after which the roster changed."""
    make_backup(home, tmp_path / "backup", NOW, with_keys=True)
    wish = Wish(tmp_path / "backup", tmp_path / "one", newest_known=0)
    first = restore(wish, lambda encrypted: None, NOW).losses.version
    later = datetime(2026, 2, 1, 12, 1, tzinfo=UTC)
    second = restore(
        Wish(tmp_path / "backup", tmp_path / "two", newest_known=0), lambda encrypted: None, later
    ).losses.version
    assert 1 < first < second < 2**31


@pytest.mark.parametrize(("revision", "words"), [("0004", ""), ("9999", "cannot be brought up to date")])
def test_a_backup_of_an_older_program_is_brought_up_to_date_and_one_of_a_newer_is_not_taken(
    home: Home, tmp_path: Path, revision: str, words: str
) -> None:
    manifest = make_backup(home, tmp_path / "backup", NOW, with_keys=True).manifest
    read_container(tmp_path / "backup", tmp_path / "files")
    database = Database(tmp_path / "files" / "coordinator.sqlite")

    def change(connection: Connection) -> None:
        if revision == "0004":
            config = Config()
            config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.downgrade(config, revision)
        connection.execute(text("UPDATE alembic_version SET version_num = :number"), {"number": revision})

    database.run_now(change)
    database.close()
    sources = [Source(entry.path, tmp_path / "files" / entry.path) for entry in manifest.files]
    changed = {"revision": revision, "files": tuple(source.entry() for source in sources)}
    write_container(tmp_path / "other", manifest.model_copy(update=changed), sources)
    if words:
        with pytest.raises(StoreError, match=words):
            bring_back(tmp_path / "other", tmp_path / "again", newest_known=0)
        assert not (tmp_path / "again").exists()
    else:
        bring_back(tmp_path / "other", tmp_path / "again", newest_known=0)
        assert set(unsound(Home(tmp_path / "again"))) == {"log files"}
