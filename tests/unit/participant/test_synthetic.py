"""Synthetic clips and tiny models: the same bytes again, different from site to site, and small."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from vdb_participant.data.dataset import Dataset
from vdb_participant.data.video import decode
from vdb_participant.models import manifest_digest
from vdb_participant.synthetic.clips import FRAMES, MOTIONS, SHAPES, SIZE, Scene, main, render, scenes, write_site
from vdb_participant.synthetic.models import build_all, projection_of


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: manifest_digest(path) for path in sorted(folder.iterdir())}


def test_a_sites_clips_are_captioned_real_videos(site_data: Path) -> None:
    dataset = Dataset.open(site_data, frames=FRAMES)
    assert dataset.problems == ()
    assert len(dataset.records) == 12
    for record, scene in zip(dataset.records, scenes(0, 12), strict=True):
        assert record.prompt is not None
        assert record.clip is not None
        assert record.prompt.text == scene.caption
        clip = decode(record.clip)
        assert clip.frames.shape == (FRAMES, SIZE, SIZE, 3)
        assert clip.fps == 8
        assert np.abs(clip.frames.astype(int) - render(scene, 0)).mean() < 10


def test_the_same_arguments_give_the_same_files(tmp_path: Path, site_data: Path) -> None:
    write_site(tmp_path, site=0, clips=12)
    for path in (path for path in site_data.rglob("*") if path.is_file()):
        assert (tmp_path / path.relative_to(site_data)).read_bytes() == path.read_bytes()


def test_sites_show_different_mixtures() -> None:
    shares = [
        np.array([sum(scene.shape == shape for scene in scenes(site, 200)) for shape in SHAPES]) / 200
        for site in range(5)
    ]
    for site in range(5):
        assert shares[site].argmax() == site
        for other in range(site):
            assert np.abs(shares[site] - shares[other]).sum() > 0.1
    assert len({scene.caption for scene in scenes(3, 200)}) == 200
    assert not np.array_equal(render(scenes(0, 1)[0], 0), render(scenes(0, 1)[0], 1))


@pytest.mark.parametrize("motion", MOTIONS)
def test_what_moves_moves(motion: str) -> None:
    frames = render(Scene("cross", "white", motion, "a plain"), 4).astype(int)
    assert np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)).min() > 0.1


def test_moving_left_is_moving_left() -> None:
    bright = render(Scene("circle", "white", "moving left", "a plain"), 4).sum(axis=3) > 600
    columns = [np.nonzero(frame)[1].mean() for frame in bright]
    assert all(later < earlier for earlier, later in pairwise(columns))


@pytest.mark.parametrize("clips", ["0", "1601", "many"])
def test_impossible_numbers_of_clips_are_a_usage_error(tmp_path: Path, clips: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--clips", clips])
    assert stop.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_clips_command_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from vdb_participant.synthetic.clips import main; "
        f"main([{str(tmp_path)!r}, '--clips', '2']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert len(list((tmp_path / "clips").iterdir())) == 2


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
