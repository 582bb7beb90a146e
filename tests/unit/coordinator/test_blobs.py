"""Bundles are read in pieces, and what a file system refuses is an error of the storage."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from vdb_coordinator.store.blobs import BlobStore, UploadStore, upload_prefix
from vdb_shared.errors import StoreError

SESSION = "sha256:" + "1" * 64
MEBIBYTE = 2**20


def test_a_large_blob_is_read_in_pieces_of_which_one_is_in_memory_for_each_reader(tmp_path: Path) -> None:
    """Twenty who read eight mebibytes each: together they hold what twenty pieces are."""
    store, content = BlobStore(tmp_path / "blobs"), bytes(range(256)) * (8 * MEBIBYTE // 256)
    digest = store.put(content)
    assert b"".join(store.pieces(digest, 3 * MEBIBYTE + 1)) == content
    assert list(store.pieces(store.put(b""), 10)) == []
    del content
    tracemalloc.start()
    try:
        readers = [store.pieces(digest, MEBIBYTE // 4) for _ in range(20)]
        held = [next(reader) for reader in readers]
        assert {len(piece) for piece in held} == {MEBIBYTE // 4}
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_of_a_damaged_blob_no_piece_is_read_whenever_it_was_damaged(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    digest = store.put(b"abc" * 1000)
    (path,) = (tmp_path / "blobs").iterdir()
    pieces = store.pieces(digest, 1000)
    assert next(pieces) == (b"abc" * 1000)[:1000]
    path.write_bytes(b"abd" * 1000)
    os.utime(path, ns=(0, 0))
    with pytest.raises(StoreError, match="changed while it was read"):
        next(pieces)
    with pytest.raises(StoreError, match="damaged"):
        next(store.pieces(digest, 1000))
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        next(store.pieces(digest, 1000))


def test_a_file_system_that_refuses_an_upload_is_an_error_of_the_storage(tmp_path: Path) -> None:
    """Whatever it is that it refuses: nothing else than these errors has a reason that agents know."""
    store, name = UploadStore(tmp_path / "uploads"), upload_prefix(SESSION, 0) + "1" * 400
    for act in (
        lambda: store.stored(name),
        lambda: store.extend(name, 0, b"x"),
        lambda: store.content(name),
        lambda: store.discard(name),
    ):
        with pytest.raises(StoreError, match="File name too long"):
            act()
    store.extend("kept", 0, b"x")
    inside = tmp_path / "uploads" / "folder"
    inside.mkdir()
    for act in (lambda: store.keep_only("f", "kept"), lambda: store.retain(())):
        with pytest.raises(StoreError, match="cannot be deleted"):
            act()
