"""The coordinator's log: what was signed is never contradicted, whatever is lost or put back."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from testkit.log_stories import ORIGIN, append, opened, read, whole
from testkit.statements import coordinator_key
from vdb_coordinator.serving.log_server import LogServer
from vdb_coordinator.serving.transparency import TransparencyLog
from vdb_coordinator.store import log_entries, schema
from vdb_coordinator.store.database import Database
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared.audit.log_files import ForkError, check_remembered, open_log
from vdb_shared.errors import FormatError, StoreError, UnreachableError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.checkpoint import cosign
from vdb_shared.transparency.note import COSIGNATURE, NoteKey


@whole
async def test_what_was_logged_is_read_back(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    assert read(tmp_path, log).checkpoint.size == 0
    remembered = b""
    for count in (1, 2, 253, 1, 300):
        await append(database, log, count)
        found, note = open_log(str(tmp_path / "log"), log.key)
        if remembered:
            check_remembered(found, remembered, log.key)
        remembered = note
    assert len(list(found.entries())) == 557
    database.close()


@whole
async def test_a_restart_goes_on_where_the_log_ends(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 300)
    await database.run(lambda connection: log_entries.append(connection, b"committed, then the power went"))
    database.close()
    database, log = await opened(tmp_path)
    await log.open()
    assert list(read(tmp_path, log).entries(300)) == [b"committed, then the power went"]
    database.close()


@whole
async def test_a_database_from_a_backup_does_not_rewrite_the_log(tmp_path: Path) -> None:
    """Without the check the coordinator would sign another log of the same size; shown by taking the check's file away."""
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 3)
    database.close()
    shutil.copy(tmp_path / "db.sqlite", tmp_path / "backup")
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 2)
    remembered = open_log(str(tmp_path / "log"), log.key)[1]
    database.close()
    shutil.copy(tmp_path / "backup", tmp_path / "db.sqlite")
    database, log = await opened(tmp_path)
    with pytest.raises(StoreError, match="restored from a backup"):
        await log.open()
    shutil.rmtree(tmp_path / "log")
    await log.open()
    await append(database, log, 2, prefix="other")
    with pytest.raises(ForkError, match="not those that were read last"):
        check_remembered(read(tmp_path, log), remembered, log.key)
    database.close()


@pytest.mark.parametrize("size", [1, 3, 256, 257])
@pytest.mark.parametrize("later", [0, 1, 2])
def test_entries_that_a_running_coordinator_published_and_lost_are_not_replaced(
    tmp_path: Path, size: int, later: int
) -> None:
    """The attack: the last entry vanishes under the process, and fewer, as many or more entries than before are there."""

    async def story() -> None:
        database, log = await opened(tmp_path)
        await log.open()
        await append(database, log, size)
        remembered, shown = (tmp_path / "log" / "checkpoint").read_bytes(), log.view(b"entry 0", 0)
        last = schema.log_entries.c.position == size - 1
        await database.run(lambda connection: connection.execute(delete(schema.log_entries).where(last)))
        with pytest.raises(FallenBackError, match=f"entry {size - 1} of the published log is not in it any more"):
            await append(database, log, later, prefix="other")
        assert (tmp_path / "log" / "checkpoint").read_bytes() == remembered
        assert (log.size, log.view(b"entry 0", 0)) == (size, shown)
        with pytest.raises(FallenBackError):
            await log.publish()
        database.close()

    asyncio.run(story())


@whole
async def test_entries_that_were_changed_further_back_are_not_in_what_is_signed(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 300)
    entries = schema.log_entries
    for position, refused in ((10, False), (270, True)):
        remembered = open_log(str(tmp_path / "log"), log.key)[1]
        await database.run(
            lambda c, at=position: c.execute(update(entries).where(entries.c.position == at).values(entry=b"other"))  # type: ignore[misc]  # mypy sees no type for the default
        )
        if refused:
            with pytest.raises(FallenBackError, match="one of the entries 256 to 300 of the published log"):
                await append(database, log, 1, prefix="more")
        else:
            await append(database, log, 1, prefix="more")
            check_remembered(read(tmp_path, log), remembered, log.key)
    database.close()
    database, log = await opened(tmp_path)
    with pytest.raises(StoreError, match="restored from a backup, or changed"):
        await log.open()
    database.close()


@whole
async def test_a_log_that_was_cut_is_told_to_who_remembers(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    shutil.copytree(tmp_path / "log", tmp_path / "older")
    await append(database, log, 2)
    remembered = open_log(str(tmp_path / "log"), log.key)[1]
    with pytest.raises(ForkError, match="was cut"):
        check_remembered(open_log(str(tmp_path / "older"), log.key)[0], remembered, log.key)
    database.close()


@whole
async def test_a_checkpoint_is_there_only_with_its_files(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 5)
    before = (tmp_path / "log" / "checkpoint").read_bytes()
    blocked = tmp_path / "log" / "tile" / "entries"
    shutil.rmtree(blocked)
    blocked.write_bytes(b"in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        await append(database, log, 1)
    assert (tmp_path / "log" / "checkpoint").read_bytes() == before
    blocked.unlink()
    await log.publish()
    assert read(tmp_path, log).checkpoint.size == 6
    database.close()


@whole
async def test_files_that_were_lost_or_damaged_are_there_again_after_a_start(tmp_path: Path) -> None:
    """From the database, whose entries have the root that was signed; the checkpoint itself is not touched."""
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 600)
    database.close()
    tiles = tmp_path / "log" / "tile"
    before = {path: path.read_bytes() for path in tiles.rglob("*") if path.is_file()}
    needed = [tiles / name for name in ("0/000", "0/001", "0/002.p/88", "1/000.p/2", "entries/000", "entries/002.p/88")]
    note = (tmp_path / "log" / "checkpoint").read_bytes()
    for spoil in ("lost", "cut", "all"):
        for path in needed:
            if spoil == "lost":
                path.unlink()
            else:
                path.write_bytes(before[path][:7])
        if spoil == "all":
            shutil.rmtree(tiles)
        database, log = await opened(tmp_path)
        await log.open()
        database.close()
        assert all(path.read_bytes() == before[path] for path in needed)
        assert (tmp_path / "log" / "checkpoint").read_bytes() == note
        assert len(list(read(tmp_path, log).entries())) == 600


@whole
async def test_lost_files_are_not_made_of_other_entries(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 3)
    database.close()
    (tmp_path / "db.sqlite").unlink()
    shutil.rmtree(tmp_path / "log" / "tile")
    database, log = await opened(tmp_path)
    for _ in range(3):
        await database.run(lambda connection: log_entries.append(connection, b"other"))
    with pytest.raises(StoreError, match="restored from a backup, or changed"):
        await log.open()
    assert not (tmp_path / "log" / "tile").exists()
    database.close()


@whole
async def test_another_s_checkpoint_is_refused(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    other = TransparencyLog(database, tmp_path / "log", "elsewhere/vdb-log", coordinator_key(0))
    with pytest.raises(StoreError, match="is not this consortium's"):
        await other.open()
    database.close()


@whole
async def test_tiles_without_their_checkpoint_are_not_signed_anew(tmp_path: Path) -> None:
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 2)
    (tmp_path / "log" / "checkpoint").unlink()
    database.close()
    database, log = await opened(tmp_path)
    with pytest.raises(StoreError, match="put the newest one back"):
        await log.open()
    database.close()


def test_more_connections_than_are_served_are_closed(server: LogServer) -> None:
    host, port = server.address.split(":")
    held = [socket.create_connection((host, int(port)), timeout=10) for _ in range(64)]
    try:
        deadline = time.monotonic() + 10
        while threading.active_count() < 64 and time.monotonic() < deadline:
            time.sleep(0.01)
        with socket.create_connection((host, int(port)), timeout=10) as late:
            assert late.recv(1) == b""
    finally:
        for connection in held:
            connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LogServer]:
    (tmp_path / "log" / "tile" / "0").mkdir(parents=True)
    (tmp_path / "log" / "checkpoint").write_bytes(b"newest")
    (tmp_path / "log" / "tile" / "0" / "000").write_bytes(b"tile")
    (tmp_path / "log" / "secret").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    made = LogServer(tmp_path / "log", "127.0.0.1:0")
    yield made
    made.stop()


def test_only_files_of_the_log_are_served(server: LogServer) -> None:
    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"http://{server.address}/{path}", timeout=10) as answer:
            data: bytes = answer.read()
            return data

    assert get("checkpoint") == b"newest"
    assert get("tile/0/000") == b"tile"
    for path in ("", "secret", "../secret", "tile/0/../../secret", "tile/0/001", "tile/entries/000%00", "checkpoint/"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(path)


def test_a_log_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    key = TransparencyLog(Database(tmp_path / "db"), tmp_path, ORIGIN, coordinator_key(0)).key
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="expected the folder of a log"):
        open_log(str(tmp_path / "missing"), key)
    with pytest.raises(UsageError, match="empty: holds no log, which has a file named checkpoint"):
        open_log(str(tmp_path / "empty"), key)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        open_log("http://127.0.0.1:9", key)
    (tmp_path / "empty" / "checkpoint").write_bytes(b"no note")
    with pytest.raises(FormatError):
        open_log(str(tmp_path / "empty"), key)


@whole
async def test_a_witness_with_a_new_key_does_not_take_the_place_of_its_old_one(tmp_path: Path) -> None:
    """Sessions of two rosters know one institution by two keys; each needs the signature of its own."""
    database, log = await opened(tmp_path)
    await log.open()
    await append(database, log, 1)
    signers = [StatementKey.generate(), StatementKey.generate()]
    keys = [NoteKey("testbed/witness/lab", COSIGNATURE, signer.public_key.raw) for signer in signers]
    for signer, key in zip(signers, keys, strict=True):
        signed = cosign(read(tmp_path, log).checkpoint, key.name, signer, 7)
        assert log.silent([key]) == [key]
        await log.cosign(key, 1, signed.value)
        await log.cosign(key, 1, signed.value)
    assert log.silent(keys) == []
    database.close()
    database, log = await opened(tmp_path)
    await log.open()
    assert [log.gathered(b"entry 0", [key]).cosignatures[0].id for key in keys] == [key.id for key in keys]
    database.close()
