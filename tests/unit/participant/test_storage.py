"""Folders outlive power cuts, and a disk that fails is an error of ours, not a traceback."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vdb_coordinator.files import sync_directory
from vdb_participant.site.storage import erase, make_folder, sync_folder, write_private
from vdb_shared.errors import StoreError, UsageError


def test_every_folder_is_synced_into_the_one_above_before_anything_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("vdb_participant.site.storage.sync_folder", synced.append)
    make_folder(tmp_path / "sessions" / "one")
    assert synced == [tmp_path, tmp_path / "sessions"]
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "sessions", tmp_path / "sessions" / "one")] == [
        0o700
    ] * 2
    make_folder(tmp_path / "sessions" / "two")
    assert synced[2:] == [tmp_path / "sessions"]


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        (sync_folder, "cannot be made durable"),
        (sync_directory, "cannot be made durable"),
        (lambda path: make_folder(path / "new"), "cannot be made durable"),
        (lambda path: erase(path / "secret"), "cannot be erased"),
    ],
    ids=["folder", "coordinator's folder", "new folder", "erased file"],
)
def test_a_disk_that_fails_to_sync_is_named(
    refused: Callable[[Path], None], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreError, match=rf"{says}.*Input/output error"):
        refused(tmp_path)
    assert (tmp_path / "secret").exists()


def test_what_is_written_for_the_operator_is_the_operators_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where everybody could read what was there before, and before the first byte is there."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"a much longer text than the new one")
    old.chmod(0o644)
    modes: list[int] = []
    cut = os.ftruncate

    def watched(place: int, size: int) -> None:
        modes.append(os.fstat(place).st_mode & 0o777)
        cut(place, size)

    monkeypatch.setattr(os, "ftruncate", watched)
    for path in (old, new):
        write_private(path, b"exact figures")
        assert path.read_bytes() == b"exact figures"
        assert path.stat().st_mode & 0o777 == 0o600
    assert modes == [0o600, 0o600]


def test_writing_for_the_operator_changes_no_device_and_fails_in_one_line(tmp_path: Path) -> None:
    before = os.stat(os.devnull).st_mode
    write_private(Path(os.devnull), b"x")
    assert os.stat(os.devnull).st_mode == before
    reading, writing = os.pipe()
    write_private(Path(f"/dev/fd/{writing}"), b"figures")
    assert os.read(reading, 100) == b"figures"
    os.close(reading)
    os.close(writing)
    with pytest.raises(UsageError, match=r"cannot be written \(Is a directory\)$"):
        write_private(tmp_path, b"x")
