"""RAFT in plain torch, for published weights: optical flow by recurrent updates over all-pairs correlations.

Promises the large model of the authors, under the names of their state dictionary, in float32 and evaluation mode. Leaves
where weights are kept, and whether their digest is right, to the caller.

Source: Teed & Deng 2020 (RAFT: Recurrent all-pairs field transforms for optical flow), sections 3.1 to 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vdb_participant.device import exact_arithmetic, resolve_device
from vdb_participant.measure.motion.flow import Displacements, Frame
from vdb_shared.errors import ModelError, StatisticError

UPDATES: Final = 20
"""Updates of the flow, as in VBench and EvalCrafter."""

SMALLEST_PADDED_SIDE: Final = 128
"""Below, the coarsest of four correlation maps at an eighth of the size would have no two pixels to interpolate between."""

_STRIDE: Final = 8
_LEVELS: Final = 4
_RADIUS: Final = 4
_HIDDEN: Final = 128
_FEATURES: Final = 256
_AROUND: Final = (2 * _RADIUS + 1) ** 2


class RaftFlow:
    """A `Flow` by RAFT's large model, with 20 updates."""

    def __init__(self, network: RaftNetwork, device: str = "cpu", updates: int = UPDATES) -> None:
        self._network = network.eval().to(device)
        self._device = device
        self._updates = updates

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> RaftFlow:
        """Return the flow of a safetensors file with the tensors of a published state dictionary.

        Raises:
            ModelError: it cannot be read, or its tensors are not those of the large model.
        """
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: expected the weights of RAFT as safetensors: {error}") from error
        device = resolve_device(device)
        return cls(network_of(tensors, str(path)), device)

    def __call__(self, earlier: Frame, later: Frame, /) -> Displacements:
        """Return the displacements (H, W, 2) by which `earlier` becomes `later`, float32.

        Raises:
            StatisticError: a side has fewer than 121 pixels, which are padded to 128.
        """
        height, width = earlier.shape[:2]
        rows, columns = -height % _STRIDE, -width % _STRIDE
        if min(height + rows, width + columns) < SMALLEST_PADDED_SIDE:
            least = SMALLEST_PADDED_SIDE - _STRIDE + 1
            raise StatisticError(f"RAFT needs frames of at least {least}x{least} pixels, found {height}x{width}")
        top, left = rows // 2, columns // 2
        padding = (left, columns - left, top, rows - top)
        with exact_arithmetic():
            pictures = (F.pad(self._tensor(frame), padding, mode="replicate") for frame in (earlier, later))
            found = self._network(*pictures, self._updates)[0, :, top : top + height, left : left + width]
        return np.ascontiguousarray(found.permute(1, 2, 0).cpu().numpy(), dtype=np.float32)

    def _tensor(self, frame: Frame) -> Tensor:
        """Return a frame as (1, 3, H, W) in [-1, 1]."""
        levels = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device, torch.float32)
        return (2 * (levels / 255) - 1).permute(2, 0, 1)[None]


def network_of(tensors: Mapping[str, Tensor], source: str = "RAFT") -> RaftNetwork:
    """Return the network with the tensors of a published state dictionary, whose names may begin with "module.".

    Raises:
        ModelError: names or shapes are not those of the large model.
    """
    # The authors register the norm of a shortcut twice, as norm3 and as downsample.1.
    named = {name.removeprefix("module."): tensor for name, tensor in tensors.items() if ".norm3." not in name}
    network = RaftNetwork()
    try:
        network.load_state_dict(named)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{source}: expected the tensors of RAFT's large model: {reason}") from error
    return network


class RaftNetwork(nn.Module):
    """The large model: features of both frames, context of the first, and the repeated update."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = _Encoder(_FEATURES, nn.InstanceNorm2d)
        self.cnet = _Encoder(2 * _HIDDEN, nn.BatchNorm2d)
        self.update_block = _Update()

    def forward(self, earlier: Tensor, later: Tensor, updates: int) -> Tensor:
        """Return displacements (1, 2, H, W) of pictures (1, 3, H, W) in [-1, 1], whose sides are multiples of 8."""
        correlations = _pyramid(self.fnet(earlier), self.fnet(later))
        hidden, context = self.cnet(earlier).split(_HIDDEN, dim=1)
        hidden, context = torch.tanh(hidden), torch.relu(context)
        height, width = hidden.shape[-2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        start = torch.stack([columns, rows])[None].to(hidden)
        flow = torch.zeros_like(start)
        for _ in range(updates):
            hidden, change = self.update_block(hidden, context, _around(correlations, start + flow), flow)
            # Added to places rather than to flow, as the authors do, so that rounding is theirs.
            flow = (start + flow + change) - start
        return _upsampled(flow, self.update_block.weights(hidden))


class _Encoder(nn.Module):
    """A residual network to an eighth of the size."""

    def __init__(self, dimension: int, norm: type[nn.InstanceNorm2d | nn.BatchNorm2d]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.norm1 = norm(64)
        self.layer1 = nn.Sequential(_Residual(64, 64, 1, norm), _Residual(64, 64, 1, norm))
        self.layer2 = nn.Sequential(_Residual(64, 96, 2, norm), _Residual(96, 96, 1, norm))
        self.layer3 = nn.Sequential(_Residual(96, 128, 2, norm), _Residual(128, 128, 1, norm))
        self.conv2 = nn.Conv2d(128, dimension, 1)

    def forward(self, picture: Tensor) -> Tensor:
        features = torch.relu(self.norm1(self.conv1(picture)))
        encoded: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(features))))
        return encoded


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, norm: type[nn.InstanceNorm2d | nn.BatchNorm2d]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1)
        self.norm1 = norm(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        self.norm2 = norm(outer)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride), norm(outer)) if stride > 1 else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        residual = torch.relu(self.norm1(self.conv1(features)))
        residual = torch.relu(self.norm2(self.conv2(residual)))
        return torch.relu(self.downsample(features) + residual)


class _Motion(nn.Module):
    """What the correlations around the present flow, and the flow, say about movement."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(_LEVELS * _AROUND, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(192 + 64, _HIDDEN - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlations: Tensor) -> Tensor:
        seen = torch.relu(self.convc2(torch.relu(self.convc1(correlations))))
        moved = torch.relu(self.convf2(torch.relu(self.convf1(flow))))
        return torch.cat([torch.relu(self.conv(torch.cat([seen, moved], dim=1))), flow], dim=1)


class _Memory(nn.Module):
    """A gated recurrent unit of convolutions, along rows and then along columns."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3 * _HIDDEN
        for direction, kernel in ((1, (1, 5)), (2, (5, 1))):
            for gate in "zrq":
                convolution = nn.Conv2d(channels, _HIDDEN, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
                self.add_module(f"conv{gate}{direction}", convolution)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        for direction in (1, 2):
            update, reset, candidate = (self.get_submodule(f"conv{gate}{direction}") for gate in "zrq")
            both = torch.cat([hidden, seen], dim=1)
            kept = torch.sigmoid(update(both))
            remembered = torch.sigmoid(reset(both)) * hidden
            proposed = torch.tanh(candidate(torch.cat([remembered, seen], dim=1)))
            hidden = (1 - kept) * hidden + kept * proposed
        return hidden


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        change: Tensor = self.conv2(torch.relu(self.conv1(hidden)))
        return change


class _Update(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Motion()
        self.gru = _Memory()
        self.flow_head = _Head()
        self.mask = nn.Sequential(nn.Conv2d(_HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 9 * _STRIDE**2, 1))

    def forward(self, hidden: Tensor, context: Tensor, correlations: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next hidden state and the change of the flow."""
        hidden = self.gru(hidden, torch.cat([context, self.encoder(flow, correlations)], dim=1))
        return hidden, self.flow_head(hidden)

    def weights(self, hidden: Tensor) -> Tensor:
        """Return the logits of the 9 neighbours of which each fine pixel is a mean, (1, 9 · 64, H/8, W/8)."""
        logits: Tensor = 0.25 * self.mask(hidden)
        return logits


def _pyramid(earlier: Tensor, later: Tensor) -> list[Tensor]:
    """Return the correlation of each pixel with all of the other frame's, (HW, 1, H, W), and its means over 2, 4 and 8."""
    _, channels, height, width = earlier.shape
    products = earlier.flatten(2).transpose(1, 2) @ later.flatten(2) / channels**0.5
    levels = [products.reshape(height * width, 1, height, width)]
    for _ in range(_LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _around(pyramid: list[Tensor], places: Tensor) -> Tensor:
    """Return the correlations in 9x9 pixels around places (1, 2, H, W) at each level: (1, 4 · 81, H, W)."""
    _, _, height, width = places.shape
    centres = places[0].permute(1, 2, 0).reshape(-1, 1, 1, 2)
    steps = torch.arange(-_RADIUS, _RADIUS + 1, device=places.device, dtype=places.dtype)
    # The first index of the window is along x: the order in which the published weights expect it.
    window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    found = []
    for level, correlations in enumerate(pyramid):
        size = torch.tensor(correlations.shape[:-3:-1], device=places.device, dtype=places.dtype)
        positions = 2 * (centres / 2**level + window) / (size - 1) - 1
        found.append(F.grid_sample(correlations, positions, align_corners=True).reshape(height, width, _AROUND))
    return torch.cat(found, dim=-1).permute(2, 0, 1)[None]


def _upsampled(flow: Tensor, logits: Tensor) -> Tensor:
    """Return the flow (1, 2, H, W) at 8 times the size, each pixel a weighted mean of 9 coarse neighbours."""
    _, _, height, width = flow.shape
    shares = logits.reshape(1, 9, _STRIDE, _STRIDE, height, width).softmax(dim=1)
    neighbours = F.unfold(_STRIDE * flow, 3, padding=1).reshape(2, 9, 1, 1, height, width)
    fine = (shares * neighbours).sum(dim=1)  # (2, 8, 8, H, W)
    return fine.permute(0, 3, 1, 4, 2).reshape(1, 2, _STRIDE * height, _STRIDE * width)
