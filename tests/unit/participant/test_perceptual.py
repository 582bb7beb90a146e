"""LPIPS and DISTS: against torchmetrics with the same weights, and one frame at a time."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional.image as oracles
from safetensors.torch import load_file, save_file

from testkit.perceptual import write_distance
from testkit.photographs import blurred, panned, with_noise
from vdb_participant.data.resize import resize
from vdb_participant.data.video import Frames
from vdb_participant.measure.backbones import BackboneName
from vdb_participant.measure.extractors.interface import FrameComparer
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.perceptual import ArchitectureName, PerceptualDistance
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError, StatisticError
from vdb_shared.spec import Extractor

CLIP = panned(frames=3, height=80, width=72)
"""More rows than LPIPS compares at once."""
WORSE = with_noise(CLIP, 20)

KINDS: list[tuple[ArchitectureName, BackboneName]] = [("LPIPS", "alex"), ("LPIPS", "vgg"), ("DISTS", "vgg")]

TORCHVISION = {
    "alexnet": "64:11:4:2 R P 192:5:1:2 R P 384:3:1:1 R 256:3:1:1 R 256:3:1:1 R P",
    "vgg16": "64:3:1:1 R 64:3:1:1 R P 128:3:1:1 R 128:3:1:1 R P 256:3:1:1 R 256:3:1:1 R 256:3:1:1 R P "
    "512:3:1:1 R 512:3:1:1 R 512:3:1:1 R P 512:3:1:1 R 512:3:1:1 R 512:3:1:1 R P",
}
"""torchvision's `features`: channels, kernel, stride and padding of each convolution, rectifiers and poolings."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """A directory with random weights for each distance; tests that change it copy it first."""
    place = tmp_path_factory.mktemp("distances")
    return {kind: write_distance(place / "-".join(kind), *kind) for kind in KINDS}


def _loaded(folder: Path, architecture: ArchitectureName, backbone: BackboneName) -> PerceptualDistance:
    return PerceptualDistance.load(inspect_weights(folder), architecture, backbone, "cpu")


@pytest.fixture(scope="module")
def distances(folders: dict[tuple[str, str], Path]) -> dict[tuple[str, str], PerceptualDistance]:
    return {kind: _loaded(folders[kind], *kind) for kind in KINDS}


def _network(name: str, tensors: dict[str, torch.Tensor]) -> torch.nn.Sequential:
    """Return torchvision's `features` of a network, with weights under torchvision's names."""
    kernel = 3 if name == "alexnet" else 2
    layers: list[torch.nn.Module] = []
    channels = 3
    for layer in TORCHVISION[name].split():
        match layer:
            case "R":
                layers.append(torch.nn.ReLU())
            case "P":
                layers.append(torch.nn.MaxPool2d(kernel, 2))
            case _:
                outputs, size, stride, padding = map(int, layer.split(":"))
                layers.append(torch.nn.Conv2d(channels, outputs, size, stride, padding))
                channels = outputs
    network = torch.nn.Sequential(OrderedDict((str(index), layer) for index, layer in enumerate(layers)))
    own = {key.removeprefix("features."): value for key, value in tensors.items() if key.startswith("features.")}
    network.load_state_dict(own, strict=True)
    return network


def _planes(clip: Frames) -> torch.Tensor:
    return torch.from_numpy(clip.transpose(0, 3, 1, 2).astype(np.float32)) / 255


@pytest.mark.parametrize(("backbone", "name"), [("alex", "alexnet"), ("vgg", "vgg16")])
def test_lpips_is_torchmetrics(
    backbone: BackboneName, name: str, folders: dict[tuple[str, str], Path], tmp_path: Path, monkeypatch: Any
) -> None:
    """With the published heads, which torchmetrics carries, on random convolutions, which it would have downloaded."""
    folder = Path(shutil.copytree(folders["LPIPS", backbone], tmp_path / "x"))
    tensors = load_file(folder / "model.safetensors")
    published = torch.load(Path(oracles.__file__).parent / "lpips_models" / f"{backbone}.pth", map_location="cpu")
    save_file(tensors | published, folder / "model.safetensors")
    monkeypatch.setattr(
        "torchmetrics.functional.image.lpips._get_tv_model_features", lambda *_: _network(name, tensors)
    )
    ours = _loaded(folder, "LPIPS", backbone)
    for worse in (WORSE, blurred(CLIP, 2), CLIP[[1, 2, 0]], 255 - CLIP):
        expected = oracles.learned_perceptual_image_patch_similarity(
            _planes(CLIP), _planes(worse), net_type=backbone, reduction="none", normalize=True
        )
        assert expected.min() > 1e-3
        np.testing.assert_allclose(ours.distances(CLIP, worse), expected.numpy(), rtol=1e-5)


def test_dists_is_torchmetrics(folders: dict[tuple[str, str], Path], tmp_path: Path, monkeypatch: Any) -> None:
    """With the published alpha and beta, which torchmetrics carries, on random convolutions."""
    folder = Path(shutil.copytree(folders["DISTS", "vgg"], tmp_path / "x"))
    tensors = load_file(folder / "model.safetensors")
    published = torch.load(Path(oracles.__file__).parent / "dists_models" / "weights.pt", map_location="cpu")
    save_file(tensors | published, folder / "model.safetensors")

    class Network:
        DEFAULT = None

        def __init__(self, weights: Any = None) -> None:
            self.features = _network("vgg16", tensors)

    module = "torchmetrics.functional.image.dists."
    monkeypatch.setattr(module + "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(module + "VGG16_Weights", Network, raising=False)
    monkeypatch.setattr(module + "vgg16", Network, raising=False)
    ours = _loaded(folder, "DISTS", "vgg")
    for worse in (WORSE, blurred(CLIP, 2), CLIP[[1, 2, 0]], 255 - CLIP):
        expected = oracles.deep_image_structure_and_texture_similarity(_planes(CLIP), _planes(worse), reduction="none")
        assert expected.min() > 1e-3
        np.testing.assert_allclose(ours.distances(CLIP, worse), expected.detach().numpy(), rtol=1e-4, atol=1e-6)


def _without_convolutions(folder: Path, **changed: torch.Tensor) -> None:
    tensors = load_file(folder / "model.safetensors")
    blank = {name: torch.zeros_like(value) for name, value in tensors.items() if name.startswith("features.")}
    save_file(tensors | blank | changed, folder / "model.safetensors")


@pytest.mark.parametrize("size", [(256, 300), (300, 280), (257, 400)])
def test_dists_of_colours_alone_is_done_by_hand(
    size: tuple[int, int], folders: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    """Where features are all zero only the colours of the frame, shrunk to 256, are compared."""
    folder = Path(shutil.copytree(folders["DISTS", "vgg"], tmp_path / "x"))
    alpha, beta = torch.zeros(1, 1475, 1, 1), torch.zeros(1, 1475, 1, 1)
    alpha[0, :4, 0, 0] = torch.tensor([1.0, 2.0, 3.0, 0.5])
    beta[0, :4, 0, 0] = torch.tensor([0.5, 0.25, 0.25, 0.5])
    _without_convolutions(folder, alpha=alpha, beta=beta)
    clip = np.tile(panned(frames=1, height=300, width=300), (1, 1, 2, 1))[:, : size[0], : size[1]]
    worse = with_noise(clip, 60)
    shorter = min(size)
    one, other = (
        resize(frames, 256 * size[0] // shorter, 256 * size[1] // shorter)[0] / 255 for frames in (clip, worse)
    )
    expected = 0.0
    for channel in range(3):
        a, b = one[..., channel], other[..., channel]
        texture = (2 * a.mean() * b.mean() + 1e-6) / (a.mean() ** 2 + b.mean() ** 2 + 1e-6)
        covariance = ((a - a.mean()) * (b - b.mean())).mean()
        structure = (2 * covariance + 1e-6) / (a.var() + b.var() + 1e-6)
        expected += float(alpha[0, channel]) * (1 - texture) + float(beta[0, channel]) * (1 - structure)
    found = _loaded(folder, "DISTS", "vgg").distances(clip, worse)
    np.testing.assert_allclose(found, [expected / 8], rtol=1e-5)


def test_features_that_are_all_zero_are_equal(folders: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["LPIPS", "alex"], tmp_path / "x"))
    _without_convolutions(folder)
    np.testing.assert_array_equal(_loaded(folder, "LPIPS", "alex").distances(CLIP, WORSE), np.zeros(3))


@pytest.mark.parametrize("kind", KINDS)
class TestEveryDistance:
    """What LPIPS and DISTS have in common."""

    def test_equal_frames_are_at_zero(self, kind: Any, distances: Any) -> None:
        for clip in (CLIP, np.zeros_like(CLIP), np.full_like(CLIP, 255)):
            np.testing.assert_array_equal(distances[kind].distances(clip, clip), np.zeros(3))

    def test_neither_clip_comes_first(self, kind: Any, distances: Any) -> None:
        there, back = distances[kind].distances(CLIP, WORSE), distances[kind].distances(WORSE, CLIP)
        np.testing.assert_array_equal(there, back)
        assert there.dtype == np.float64
        assert there.shape == (3,)
        assert there.min() > 0

    def test_more_noise_and_more_blur_are_farther(self, kind: Any, distances: Any) -> None:
        clip = CLIP[:1]
        noisy = [float(distances[kind].distances(clip, with_noise(clip, d))[0]) for d in (2, 8, 32)]
        soft = [float(distances[kind].distances(clip, blurred(clip, d))[0]) for d in (0.5, 1, 2)]
        for scores in (noisy, soft):
            assert all(earlier < later for earlier, later in pairwise([0.0, *scores]))

    def test_a_frame_does_not_know_its_company(self, kind: Any, distances: Any) -> None:
        together = distances[kind].distances(CLIP, WORSE)
        alone = [distances[kind].distances(CLIP[i : i + 1], WORSE[i : i + 1])[0] for i in range(3)]
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(distances[kind].distances(CLIP[::-1], WORSE[::-1]), together[::-1])

    def test_threads_change_distances_by_rounding_only(self, kind: Any, distances: Any) -> None:
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(2)
            found = distances[kind].distances(CLIP, WORSE)
        finally:
            torch.set_num_threads(before)
        np.testing.assert_allclose(found, distances[kind].distances(CLIP, WORSE), rtol=1e-5)

    def test_clips_that_do_not_fit_are_refused(self, kind: Any, distances: Any) -> None:
        with pytest.raises(StatisticError, match=r"found \(3, 80, 72, 3\) and \(2, 80, 72, 3\)"):
            distances[kind].distances(CLIP, CLIP[:2])
        with pytest.raises(StatisticError, match=f"{kind[0]} needs a frame, found none"):
            distances[kind].distances(CLIP[:0], CLIP[:0])

    def test_the_smallest_frames(self, kind: Any, distances: Any) -> None:
        smallest = {("LPIPS", "alex"): 31, ("LPIPS", "vgg"): 16, ("DISTS", "vgg"): 1}[kind]
        assert distances[kind].smallest == smallest
        clip = panned(frames=1, height=smallest, width=smallest + 3)
        assert distances[kind].distances(clip, 255 - clip)[0] > 0
        if smallest > 1:
            with pytest.raises(StatisticError, match=f"{kind[0]} needs frames of at least {smallest}x{smallest}"):
                distances[kind].distances(clip[:, 1:], clip[:, 1:])

    @pytest.mark.gpu
    def test_a_gpu_differs_by_rounding(self, kind: Any, distances: Any, folders: Any) -> None:
        on_gpu = PerceptualDistance.load(inspect_weights(folders[kind]), kind[0], kind[1], "cuda")
        expected = distances[kind].distances(CLIP, WORSE)
        np.testing.assert_allclose(on_gpu.distances(CLIP, WORSE), expected, rtol=1e-4)


CONFIGS = [
    ('{"architecture": "LPIPS"}', "expected the architecture and backbone"),
    ('{"architecture": "LPIPS", "backbone": "squeeze"}', "expected the architecture and backbone"),
    ('{"architecture": "LPIPS", "backbone": "alex", "version": "0.0"}', "expected the architecture and backbone"),
    ('{"architecture": "DISTS", "backbone": "alex"}', "expected DISTS with vgg, found alex"),
    (
        '{"architecture": "LPIPS", "backbone": "vgg"}',
        "expected LPIPS with alex as the metric needs, found LPIPS with vgg",
    ),
    (
        '{"architecture": "DISTS", "backbone": "vgg"}',
        "expected LPIPS with alex as the metric needs, found DISTS with vgg",
    ),
    ("nothing", "is not JSON, so that nobody can say what it names"),
    ("[]", "expected the architecture and backbone"),
]


@pytest.mark.parametrize(("config", "problem"), CONFIGS)
def test_other_configurations_are_refused(config: str, problem: str, folders: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["LPIPS", "alex"], tmp_path / "x"))
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match=problem) as refused:
        _loaded(folder, "LPIPS", "alex")
    assert "\n" not in str(refused.value)


def test_a_missing_configuration_is_refused(folders: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["LPIPS", "alex"], tmp_path / "x"))
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="expected the architecture and backbone"):
        _loaded(folder, "LPIPS", "alex")


HEAD = "lin3.model.1.weight"

DAMAGES: dict[str, tuple[dict[str, torch.Tensor | None], str]] = {
    "missing": ({HEAD: None}, rf"expected {HEAD} as float32 \(1, 256, 1, 1\), found none"),
    "surplus": ({"classifier.1.weight": torch.ones(1)}, "found classifier.1.weight besides; leave it out"),
    "shape": ({HEAD: torch.ones(256)}, r"found torch.float32 \(256,\)"),
    "type": ({HEAD: torch.ones(1, 256, 1, 1).half()}, "found torch.float16"),
    "negative": ({HEAD: torch.full((1, 256, 1, 1), -0.1)}, f"expected {HEAD} without negative values"),
    "not a number": ({"features.3.bias": torch.full((192,), torch.nan)}, "expected features.3.bias with finite values"),
    "nothing": (
        {f"lin{i}.model.1.weight": torch.zeros(1, c, 1, 1) for i, c in enumerate((64, 192, 384, 256, 256))},
        "above zero somewhere",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_other_tensors_are_refused(damage: str, folders: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["LPIPS", "alex"], tmp_path / "x"))
    changes, problem = DAMAGES[damage]
    tensors = load_file(folder / "model.safetensors") | changes
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=problem) as refused:
        _loaded(folder, "LPIPS", "alex")
    assert str(folder / "model.safetensors") in str(refused.value)


def test_files_that_cannot_be_read_are_refused(folders: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["LPIPS", "alex"], tmp_path / "x"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(ModelError, match="distance cannot be loaded"):
        _loaded(folder, "LPIPS", "alex")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(ModelError, match="distance cannot be loaded"):
        _loaded(folder, "LPIPS", "alex")


def test_the_directory_says_what_it_is(distances: dict[tuple[str, str], PerceptualDistance]) -> None:
    for kind, distance in distances.items():
        assert (distance.architecture, distance.backbone) == kind


@pytest.mark.parametrize(("name", "kind"), [("LPIPSAlex", ("LPIPS", "alex")), ("DISTS", ("DISTS", "vgg"))])
def test_as_extractors_they_say_the_same_and_refuse_others(
    name: str, kind: tuple[ArchitectureName, BackboneName], folders: dict[tuple[str, str], Path]
) -> None:
    weights = inspect_weights(folders[kind])
    extractor = Extractor(id="eye", architecture=name, manifest=weights.manifest, dimension=1)
    loaded = load_extractor(weights, extractor, "cpu")
    assert isinstance(loaded, FrameComparer)
    frames, reference = CLIP[:1], CLIP[1:2]
    np.testing.assert_array_equal(
        loaded.distances(frames, reference), PerceptualDistance.load(weights, *kind, "cpu").distances(frames, reference)
    )
    with pytest.raises(ModelError, match="expected 2 classes, found 1"):
        load_extractor(weights, extractor.model_copy(update={"dimension": 2}), "cpu")
    with pytest.raises(ModelError, match="expected LPIPS with vgg as the metric needs"):
        load_extractor(weights, extractor.model_copy(update={"architecture": "LPIPSVgg"}), "cpu")
