"""Weights: what a directory holds is what the spec agreed on, or it is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from vdb_participant.models import inspect_weights, list_files, manifest_digest, verify_weights
from vdb_shared.errors import ModelError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "vae").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "vae" / "model.safetensors").write_bytes(b"weights")
    (folder / "vae" / "config.json").write_text('{"a": 1}')
    return folder


def test_the_manifest_is_the_canonical_list_of_files(weights: Path) -> None:
    entries = [
        {"path": name, "sha256": "sha256:" + hashlib.sha256((weights / name).read_bytes()).hexdigest(), "size": size}
        for name, size in (("model_index.json", 2), ("vae/config.json", 8), ("vae/model.safetensors", 7))
    ]
    canonical = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
    expected = "sha256:" + hashlib.sha256(canonical).hexdigest()
    assert manifest_digest(weights) == expected
    assert verify_weights(weights, expected).files == {entry["path"]: entry["sha256"] for entry in entries}
    assert list(list_files(weights)) == sorted(list_files(weights))


def test_place_and_hidden_files_do_not_matter(weights: Path, tmp_path: Path) -> None:
    before = manifest_digest(weights)
    (weights / ".cache").mkdir()
    (weights / ".cache" / "download.lock").touch()
    (weights / ".gitattributes").touch()
    elsewhere = shutil.copytree(weights, tmp_path / "elsewhere")
    blob = tmp_path / "blob"
    shutil.move(elsewhere / "vae" / "model.safetensors", blob)
    (elsewhere / "vae" / "model.safetensors").symlink_to(blob)
    assert manifest_digest(weights) == manifest_digest(elsewhere) == before


@pytest.mark.parametrize("change", ["byte", "name", "more", "fewer"])
def test_changed_weights_are_refused_with_both_digests(weights: Path, change: str) -> None:
    expected = manifest_digest(weights)
    match change:
        case "byte":
            (weights / "vae" / "model.safetensors").write_bytes(b"weighty")
        case "name":
            (weights / "vae" / "config.json").rename(weights / "vae" / "configs.json")
        case "more":
            (weights / "README.md").touch()
        case _:
            (weights / "vae" / "config.json").unlink()
    with pytest.raises(ModelError) as refusal:
        verify_weights(weights, expected)
    for part in (str(weights), f"expected {expected}", f"found {manifest_digest(weights)}", "ask the lead"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "vae/model.PT", "x.pkl", "x.ckpt", "pipeline.py", "vae/lib.so", ".hidden/x.pth"]
)
def test_pickles_and_code_are_refused_by_name(weights: Path, name: str) -> None:
    (weights / name).parent.mkdir(exist_ok=True)
    (weights / name).touch()
    with pytest.raises(ModelError, match="only safetensors and JSON are loaded") as refusal:
        inspect_weights(weights)
    assert str(weights / name) in str(refusal.value)


def test_missing_weights_say_where_and_which(weights: Path, tmp_path: Path) -> None:
    expected = manifest_digest(weights)
    with pytest.raises(ModelError, match="found no such directory") as refusal:
        verify_weights(tmp_path / "absent", expected)
    assert str(tmp_path / "absent") in str(refusal.value)
    assert expected in str(refusal.value)
    (weights / "vae" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"expected \.safetensors files, found none"):
        inspect_weights(weights)


def test_linked_folders_are_refused(weights: Path, tmp_path: Path) -> None:
    shutil.move(weights / "vae", tmp_path / "vae")
    (weights / "vae").symlink_to(tmp_path / "vae")
    with pytest.raises(ModelError, match="is a link to a folder"):
        inspect_weights(weights)


def test_a_directory_without_weights_names_the_digest_of_the_spec_too(weights: Path) -> None:
    expected = manifest_digest(weights)
    (weights / "vae" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"expected \.safetensors files, found none") as refusal:
        verify_weights(weights, expected)
    assert str(weights) in str(refusal.value)
    assert expected in str(refusal.value)
