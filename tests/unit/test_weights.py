from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from vdb_shared.canonical import canonical_json
from vdb_shared.errors import ModelError
from vdb_shared.weights import manifest_of


def write(directory: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def test_digest_is_that_of_the_sorted_list_of_paths_digests_and_sizes(tmp_path: Path) -> None:
    files, digest = manifest_of(write(tmp_path, {"vae/b.json": b"{}", "a.safetensors": b"weights"}))
    entries = [
        {"path": name, "sha256": "sha256:" + hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in (("a.safetensors", b"weights"), ("vae/b.json", b"{}"))
    ]
    assert digest == "sha256:" + hashlib.sha256(canonical_json(entries)).hexdigest()
    assert list(files) == ["a.safetensors", "vae/b.json"]


def test_paths_are_sorted_by_their_bytes(tmp_path: Path) -> None:
    files, _ = manifest_of(write(tmp_path, {"é": b"1", "z": b"2", "Z/a": b"3", "Z-": b"4"}))
    assert list(files) == ["Z-", "Z/a", "z", "é"]


def test_hidden_files_and_folders_do_not_count(tmp_path: Path) -> None:
    plain = manifest_of(write(tmp_path / "a", {"w": b"1"}))
    assert manifest_of(write(tmp_path / "b", {"w": b"1", ".git/x": b"2", ".lock": b"3", "c/.d": b"4"})) == plain


def test_linked_files_count_as_what_they_lead_to(tmp_path: Path) -> None:
    plain = manifest_of(write(tmp_path / "a", {"w": b"1"}))
    write(tmp_path / "cache", {"blob": b"1"})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "w").symlink_to(tmp_path / "cache" / "blob")
    assert manifest_of(tmp_path / "b") == plain


@pytest.mark.parametrize("change", [{"w": b"2"}, {"v": b"1"}, {"w": b"1", "x": b""}])
def test_every_change_changes_the_digest(tmp_path: Path, change: dict[str, bytes]) -> None:
    before = manifest_of(write(tmp_path / "a", {"w": b"1"}))[1]
    assert manifest_of(write(tmp_path / "b", change))[1] != before


def test_missing_empty_and_linked_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "linked", {"w": b"1"})
    (tmp_path / "linked" / "vae").symlink_to(tmp_path / "empty")
    for name, words in (("missing", "found none"), ("empty", "no files"), ("linked", "link to a folder")):
        with pytest.raises(ModelError, match=words):
            manifest_of(tmp_path / name)
