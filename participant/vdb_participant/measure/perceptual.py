"""Perceptual distances of frames to a reference: LPIPS and DISTS, from verified local weights.

Promises that a distance depends on the two frames, the weights, the device and its number of threads alone: each frame
is a forward pass of its own, because kernels for more frames may round otherwise. Features are float32, distances of
features float64. Memory is that of two neighbouring stages of one pair of frames.

A directory has config.json, {"architecture": "LPIPS" or "DISTS", "backbone": "alex" or "vgg"} (DISTS: "vgg"), and
model.safetensors with these float32 tensors, no more and no fewer, each under the name that its source gives it:

* features.N.weight and features.N.bias of torchvision's AlexNet or VGG16 trained on ImageNet, without the classifier
  (`backbones.py` has each N and shape);
* for LPIPS, lin0.model.1.weight to lin4.model.1.weight, (1, C, 1, 1), none negative: version 0.1 of the linear heads,
  the files alex.pth and vgg.pth of the authors' repository;
* for DISTS, alpha and beta, (1, 1475, 1, 1), none negative: the authors' weights.pt. 1475 is 3 colours and VGG16's
  64, 128, 256, 512 and 512 features.

With the published weights LPIPS with AlexNet of a black frame against a white one, 64x64, is 0.81401.

Source: Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018, eq. 1, and the
authors' version 0.1; Ding, Ma, Wang & Simoncelli, Image quality assessment: unifying structure and texture similarity,
IEEE TPAMI 2022, eq. 1 to 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from vdb_participant.data.resize import resize
from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic, resolve_device
from vdb_participant.measure.backbones import BACKBONES, Backbone, BackboneName, Shape
from vdb_participant.measure.paired.pairs import Picture, check_pairs
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError

Vector = NDArray[np.float64]
Tensors = Mapping[str, torch.Tensor]

ArchitectureName = Literal["LPIPS", "DISTS"]

CONFIG_NAME: Final = "config.json"
TENSORS_NAME: Final = "model.safetensors"

COLOURS: Final = 3
"""Channels of a frame, which DISTS takes for its first features."""

_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)
"""LPIPS: what is subtracted from, and divides, colours in [-1, 1]."""
_LENGTH_EPSILON: Final = 1e-10
"""LPIPS: added to the length of a pixel's features before they are divided by it."""
_ROWS: Final = 64
"""LPIPS: rows of features that are compared at once in float64; bounds memory, and is the order of summation."""

_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)
"""DISTS: mean and standard deviation of ImageNet's colours in [0, 1]."""
_SHORTER: Final = 256
"""DISTS: shorter side that larger frames are shrunk to."""
_STABILISER: Final = 1e-6
"""DISTS: keeps both similarities finite where features are constant."""
_POOLING: Final = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))
"""DISTS: a Hann window over sixteen, of the pooling of squares."""
_POOLING_EPSILON: Final = 1e-12


class ConfigFile(BaseModel):
    """The fields of config.json."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    architecture: ArchitectureName
    backbone: BackboneName


class PerceptualDistance:
    """A perceptual distance of frames: 0 for equal frames, larger for less alike ones, the same both ways.

    Attributes:
        architecture: "LPIPS" or "DISTS".
        backbone: "alex" or "vgg".
        smallest: shorter side that frames must have.
    """

    def __init__(self, config: ConfigFile, tensors: Tensors, device: str) -> None:
        self.architecture: Final = config.architecture
        self.backbone: Final = config.backbone
        network = BACKBONES[config.backbone]
        self.smallest: Final = network.smallest if config.architecture == "LPIPS" else 1
        on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
        self._distance: Final = (_Lpips if config.architecture == "LPIPS" else _Dists)(network, on_device)
        self._device = device

    @classmethod
    def load(
        cls, weights: Weights, architecture: ArchitectureName, backbone: BackboneName, device: str = "auto"
    ) -> PerceptualDistance:
        """Return the distance of a verified directory.

        Args:
            weights: of the directory.
            architecture: that the metric needs.
            backbone: that the metric needs.
            device: as `resolve_device` takes it.

        Raises:
            ModelError: it cannot be loaded, or is another distance; names the directory's file.
        """
        device = resolve_device(device)
        config = _load_config(weights.directory / CONFIG_NAME)
        if (config.architecture, config.backbone) != (architecture, backbone):
            raise ModelError(
                f"{weights.directory}: expected {architecture} with {backbone} as the metric needs, found "
                f"{config.architecture} with {config.backbone}; check the spec"
            )
        return cls(config, _load_tensors(weights.directory / TENSORS_NAME, config), device)

    def distances(self, frames: Frames, reference: Frames) -> Vector:
        """Return the distance of each frame to the reference's frame with the same index, float64 (T,), >= 0.

        LPIPS scales colours to [-1, 1] and does not resize. DISTS scales them to [0, 1]; frames whose shorter side
        exceeds 256 are first shrunk to that, antialiased, the longer side rounded down.

        Args:
            frames: uint8 (T, H, W, 3).
            reference: of the same shape.

        Raises:
            StatisticError: the shapes differ, there is no frame, or frames are smaller than `smallest`.
        """
        check_pairs(frames, reference, smallest=self.smallest, score=self.architecture)
        with exact_arithmetic():
            pairs = zip(frames, reference, strict=True)
            return np.array([self._distance(self._pixels(first), self._pixels(second)) for first, second in pairs])

    def _pixels(self, picture: Picture) -> torch.Tensor:
        """Return a frame as float32 (1, 3, H, W), 0..255, on the device."""
        if self.architecture == "DISTS":
            picture = _at_most(picture, _SHORTER)
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        return pixels[None].to(self._device).to(torch.float32)


class _Lpips:
    """Learned perceptual image patch similarity."""

    def __init__(self, network: Backbone, tensors: Tensors) -> None:
        self._network = network
        self._tensors = tensors
        self._heads = [tensors[name].to(torch.float64) for name in _heads(network)]

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> float:
        """Return the sum over stages of the mean over pixels of w |a - b|^2, a and b of unit length."""
        stages = zip(self._heads, self._features(first), self._features(second), strict=True)
        return sum(_weighted_difference(head, one, other) for head, one, other in stages)

    def _features(self, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
        scaled = (pixels / 127.5 - 1 - _by_channel(_SHIFT, pixels)) / _by_channel(_SCALE, pixels)
        return self._network.features(scaled, self._tensors)


class _Dists:
    """Deep image structure and texture similarity."""

    def __init__(self, network: Backbone, tensors: Tensors) -> None:
        self._network = network
        self._tensors = tensors
        channels = [COLOURS, *network.channels]
        alpha, beta = (tensors[name].to(torch.float64).flatten() for name in ("alpha", "beta"))
        total = alpha.sum() + beta.sum()
        self._texture = torch.split(alpha / total, channels)
        self._structure = torch.split(beta / total, channels)

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> float:
        """Return the weighted sum of 1 - texture similarity and 1 - structure similarity of every feature."""
        stages = zip(self._texture, self._structure, self._features(first), self._features(second), strict=True)
        return sum(
            float((texture * (1 - means)).sum() + (structure * (1 - covariances)).sum())
            for texture, structure, one, other in stages
            for means, covariances in [_similarities(one.to(torch.float64), other.to(torch.float64))]
        )

    def _features(self, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
        colours = pixels / 255
        yield colours
        scaled = (colours - _by_channel(_MEAN, pixels)) / _by_channel(_DEVIATION, pixels)
        yield from self._network.features(scaled, self._tensors, _pooled)


def _weighted_difference(head: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> float:
    total = 0.0
    for first, second in zip(torch.split(one, _ROWS, dim=2), torch.split(other, _ROWS, dim=2), strict=True):
        difference = _unit(first.to(torch.float64)) - _unit(second.to(torch.float64))
        total += float((head * difference.square()).sum())
    return total / (one.shape[2] * one.shape[3])


def _unit(features: torch.Tensor) -> torch.Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + _LENGTH_EPSILON)


def _similarities(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the similarity of means (texture) and of deviations (structure) of each feature, both (C,)."""
    mean, other_mean = (features.mean(dim=(0, 2, 3)) for features in (one, other))
    centred, other_centred = one - mean[:, None, None], other - other_mean[:, None, None]
    variances = centred.square().mean(dim=(0, 2, 3)) + other_centred.square().mean(dim=(0, 2, 3))
    covariance = (centred * other_centred).mean(dim=(0, 2, 3))
    return (
        (2 * mean * other_mean + _STABILISER) / (mean.square() + other_mean.square() + _STABILISER),
        (2 * covariance + _STABILISER) / (variances + _STABILISER),
    )


def _pooled(features: torch.Tensor) -> torch.Tensor:
    """Return the root of the windowed mean of squares around every second pixel, zeros outside of the frame."""
    channels = features.shape[1]
    window = torch.tensor(_POOLING, device=features.device).div(16).expand(channels, 1, 3, 3)
    squares = functional.conv2d(features.square(), window, stride=2, padding=1, groups=channels)
    return (squares + _POOLING_EPSILON).sqrt()


def _by_channel(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, device=like.device).view(1, -1, 1, 1)


def _at_most(picture: Picture, shorter: int) -> Picture:
    height, width = picture.shape[:2]
    shortest = min(height, width)
    if shortest <= shorter:
        return picture
    shrunk: Picture = resize(picture[None], shorter * height // shortest, shorter * width // shortest)[0]
    return shrunk


def _heads(network: Backbone) -> list[str]:
    return [f"lin{stage}.model.1.weight" for stage in range(len(network.stages))]


def expected_shapes(architecture: ArchitectureName, backbone: BackboneName) -> dict[str, Shape]:
    """Return the shape of every tensor of model.safetensors by its name."""
    network = BACKBONES[backbone]
    if architecture == "LPIPS":
        weights = {name: (1, count, 1, 1) for name, count in zip(_heads(network), network.channels, strict=True)}
    else:
        weights = dict.fromkeys(("alpha", "beta"), (1, COLOURS + sum(network.channels), 1, 1))
    return network.shapes() | weights


def _load_config(path: Path) -> ConfigFile:
    try:
        config = ConfigFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelError(
            f"{path}: expected the architecture and backbone of a distance: {str(error).splitlines()[0]}"
        ) from error
    if config.architecture == "DISTS" and config.backbone != "vgg":
        raise ModelError(f"{path}: expected DISTS with vgg, found {config.backbone}; it is defined for no other")
    return config


def _load_tensors(path: Path, config: ConfigFile) -> Tensors:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: distance cannot be loaded: {str(error).splitlines()[0]}") from error
    expected = expected_shapes(config.architecture, config.backbone)
    if surplus := sorted(tensors.keys() - expected.keys()):
        raise ModelError(f"{path}: expected {len(expected)} tensors, found {surplus[0]} besides; leave it out")
    for name, shape in expected.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != shape or tensor.dtype != torch.float32:
            found = "none" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ModelError(f"{path}: expected {name} as float32 {shape}, found {found}; convert the weights anew")
    _check_values(path, tensors)
    return tensors


def _check_values(path: Path, tensors: Tensors) -> None:
    """Refuse values with which a distance could be negative, always 0, or not a number."""
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ModelError(f"{path}: expected {name} with finite values; fetch the published ones")
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("features.")}
    for name, tensor in weights.items():
        if bool((tensor < 0).any()):
            raise ModelError(f"{path}: expected {name} without negative values; fetch the published ones")
    if not any(bool(tensor.any()) for tensor in weights.values()):
        raise ModelError(f"{path}: expected {', '.join(weights)} above zero somewhere; fetch the published ones")
