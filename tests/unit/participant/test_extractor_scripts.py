"""TorchScript extractors: a program that runs only after its digest was compared, by the StyleGAN-V convention."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from testkit.tiny_extractors import TinyC3D, TinyI3D, extractor_at, loaded_from, save_script, write_extractor
from vdb_participant.commands.models import verified
from vdb_participant.embedded.scenes import render, scenes
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.extractors.torchscript import C3D, I3D
from vdb_participant.models import inspect_weights, script_in, verify_extractor
from vdb_shared.errors import ModelError
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Extractor

CLIP = render(scenes(2, 2)[0], 2, frames=20, size=40)
SCRIPT = "i3d_torchscript.pt"

WEIGHTS = os.environ.get("VDB_I3D")
"""Folder with the published I3D, for those who have it."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return write_extractor(tmp_path, "I3D")


def _i3d(place: Path) -> I3D:
    loaded = loaded_from(place, "I3D")
    assert isinstance(loaded, I3D)
    return loaded


def test_features_are_the_logits_of_the_first_sixteen_frames(tmp_path: Path) -> None:
    torch.manual_seed(8)
    model = TinyI3D()
    (tmp_path / "i3d").mkdir()
    save_script(model, tmp_path / "i3d" / SCRIPT)
    pixels = torch.from_numpy(CLIP[:16].copy()).permute(3, 0, 1, 2)[None].float()
    with torch.no_grad():
        expected = model(pixels, rescale=True, resize=True, return_features=True)[0]
    found = _i3d(tmp_path / "i3d").embed_clip(CLIP)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert abs(found.sum() - 1) > 1e-3  # no softmax
    changed = CLIP.copy()
    changed[16:] = 0
    np.testing.assert_array_equal(_i3d(tmp_path / "i3d").embed_clip(changed), found)
    with pytest.raises(ModelError, match="takes 16 frames, the clip has 15"):
        _i3d(tmp_path / "i3d").embed_clip(CLIP[:15])


def test_c3d_gives_probabilities_or_is_refused(tmp_path: Path) -> None:
    place = write_extractor(tmp_path, "C3D")
    loaded = loaded_from(place, "C3D")
    assert isinstance(loaded, C3D)
    assert loaded.probabilities(CLIP).shape == (5,)
    assert loaded.probabilities(CLIP).sum() == pytest.approx(1, abs=1e-6)
    save_script(TinyC3D(scale=2.0), place / "c3d_ucf101.pt")
    with pytest.raises(ModelError, match="expected probabilities, found numbers that sum to 2"):
        loaded_from(place, "C3D")


def test_a_program_of_another_digest_is_not_even_parsed(place: Path) -> None:
    extractor = extractor_at(place, "I3D")
    (place / SCRIPT).write_bytes(b"anything at all")
    with pytest.raises(ModelError, match=f"expected {extractor.manifest} in the spec") as refusal:
        verify_extractor(extractor, place.parent)
    assert str(place) in str(refusal.value)
    with pytest.raises(ModelError, match=f"expected {extractor.manifest} in the spec"):
        load_extractor(inspect_weights(place, SCRIPT), extractor, "cpu")


def test_a_program_that_changes_after_it_was_verified_does_not_run(place: Path) -> None:
    extractor = extractor_at(place, "I3D")
    weights = verify_extractor(extractor, place.parent)
    save_script(TinyI3D(), place / SCRIPT)
    with pytest.raises(ModelError, match="changed after it was verified"):
        load_extractor(weights, extractor, "cpu")
    (place / SCRIPT).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_extractor(weights, extractor, "cpu")


def test_no_other_file_of_its_kind_may_stand_beside_it(place: Path) -> None:
    extractor = extractor_at(place, "I3D")
    assert script_in(place) == SCRIPT
    with pytest.raises(ModelError, match="is a pickle or another old weights format"):
        inspect_weights(place)
    (place / "more").mkdir()
    for name in ("other.pt", f"more/{SCRIPT}", "hook.py"):
        (place / name).touch()
        with pytest.raises(ModelError, match=str(place / name)):
            verify_extractor(extractor, place.parent)
        (place / name).unlink()
    clip = extractor.model_copy(update={"architecture": "CLIPModel"})
    with pytest.raises(ModelError, match="is a pickle or another old weights format"):
        verify_extractor(clip, place.parent)


def test_a_missing_program_is_named_with_its_place_and_digest(place: Path) -> None:
    extractor = extractor_at(place, "I3D")
    (place / SCRIPT).rename(place / "weights.safetensors")
    with pytest.raises(ModelError, match=f"{place}: expected {SCRIPT}, found none") as refusal:
        verify_extractor(extractor, place.parent)
    assert extractor.manifest in str(refusal.value)
    gone = Extractor.model_validate(extractor.model_dump() | {"id": "gone"})
    with pytest.raises(ModelError, match="found no such directory") as refusal:
        verify_extractor(gone, place.parent)
    assert str(place.parent / "gone") in str(refusal.value)
    assert extractor.manifest in str(refusal.value)


def test_the_commands_show_the_digest_of_a_program(place: Path) -> None:
    found = verified(place.parent, load_registry(None))
    assert found["i3d"]["manifest"] == extractor_at(place, "I3D").manifest
    assert list(found["i3d"]["files"]) == [SCRIPT]


@pytest.mark.parametrize("what", ["garbage", "signature"])
def test_a_program_that_is_none_is_refused_in_one_line(place: Path, what: str) -> None:
    if what == "garbage":
        (place / SCRIPT).write_bytes(b"no archive")
    else:
        save_script(TinyC3D(), place / SCRIPT)
    with pytest.raises(ModelError, match=f"{place}: extractor cannot be loaded") as refusal:
        loaded_from(place, "I3D")
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(WEIGHTS is None, reason="VDB_I3D names no folder with i3d_torchscript.pt")
def test_the_published_i3d_gives_the_published_numbers() -> None:
    loaded = loaded_from(Path(str(WEIGHTS)), "I3D", 400)
    assert isinstance(loaded, I3D)
    black, white = (loaded.logits(np.full((30, 64, 64, 3), value, dtype=np.uint8)) for value in (0, 255))
    assert float(((black - white) ** 2).sum()) == pytest.approx(151.2565, abs=1e-3)


class Spy(torch.nn.Module):
    """Gives the last clip's brightness as the features of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.nn.Buffer(torch.zeros(10))

    def forward(
        self, pixels: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        """Return what was seen, and see."""
        before = self.seen.clone()[None]
        self.seen.copy_(torch.zeros(10) + pixels.mean())
        return before


class Reader(torch.nn.Module):
    """Gives a file's bytes as features."""

    def forward(
        self, pixels: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        """Return bytes of a file."""
        return torch.from_file("/etc/hostname", False, 10, dtype=torch.uint8).to(torch.float32)[None]


def test_nothing_of_one_clip_reaches_the_features_of_another(tmp_path: Path) -> None:
    """A private clip is measured before the next model's public ones, whose sums carry no noise."""
    (tmp_path / "i3d").mkdir()
    save_script(Spy(), tmp_path / "i3d" / SCRIPT)
    extractor = _i3d(tmp_path / "i3d")
    public = np.full((16, 64, 64, 3), 100, np.uint8)
    alone = extractor.embed_clip(public)
    for secret in (7, 200):
        extractor.embed_clip(np.full((16, 64, 64, 3), secret, np.uint8))
        np.testing.assert_array_equal(extractor.embed_clip(public), alone)


def test_a_program_that_reads_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "i3d").mkdir()
    save_script(Reader(), tmp_path / "i3d" / SCRIPT)
    with pytest.raises(ModelError, match=r"its program uses aten::from_file, which reads or writes files; refuse"):
        _i3d(tmp_path / "i3d")
