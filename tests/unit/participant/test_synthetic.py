"""Tiny models with random weights: the same bytes again, all different, and small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from vdb_participant.measure.extractors.projection import projection_of
from vdb_participant.models import manifest_digest
from vdb_participant.synthetic.models import build_all


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: manifest_digest(path) for path in sorted(folder.iterdir())}


def test_tiny_models_are_the_same_bytes_again(tiny_models: Path, tmp_path: Path) -> None:
    build_all(tmp_path)
    assert _digests(tmp_path) == _digests(tiny_models)


def test_tiny_models_are_small_and_all_different(tiny_models: Path) -> None:
    assert set(_digests(tiny_models)) == {"tiny-wan-a", "tiny-wan-b", "tiny-wan-c", "tiny-clip", "tiny-videomae"}
    assert len(set(_digests(tiny_models).values())) == 5
    for folder in tiny_models.iterdir():
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2**20


def test_the_tokenizer_reads_any_text(tiny_models: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_models / "tiny-wan-a" / "tokenizer", local_files_only=True)
    for text in ("a red circle", "Ein grüner Kreis — 円 🎬", ""):
        ids = tokenizer(text)["input_ids"]
        assert len(ids) == len(text.encode()) + 1
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_projection_is_the_principal_axes() -> None:
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    scales = np.array([5.0, 4.0, 3.0, 0.1, 0.1, 0.1])
    features = np.random.default_rng(1).normal(size=(4000, 6)) * scales @ axes.T + 7
    found = projection_of(features, 3)
    np.testing.assert_allclose(found["basis"].T @ found["basis"], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.abs(np.diag(found["basis"].T @ axes[:, :3])), 1, atol=0.02)
    np.testing.assert_allclose(found["centre"], features.mean(axis=0))
    norms = np.linalg.norm((features - found["centre"]) @ found["basis"], axis=1)
    assert found["radius"] == pytest.approx(np.median(norms))
    assert all(column[np.abs(column).argmax()] > 0 for column in found["basis"].T)
