"""One resize for reference clips and extractors, the same on all hardware.

Promises equal bytes whatever the device, the number of threads and the amount of memory. Leaves cropping and normalising
to `measure/preprocessing.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import numpy as np
import torch

from vdb_participant.data.video import Clip, Frames
from vdb_shared.errors import DatasetError

Filter = Literal["bilinear", "bicubic"]

WEIGHT_BITS: Final = 22
"""Fixed-point bits of a resize weight. Bytes times weights sum to less than 2^53, so every sum is exact in float64 and no
order of summation, device or thread count can change a pixel."""

_CHUNK_VALUES: Final = 2**24
"""Values that one resize step holds as float64 (128 MiB)."""


def fit(clip: Clip, *, frames: int, height: int, width: int) -> Frames:
    """Return the first `frames` frames of a clip, stretched to height x width: uint8 (frames, height, width, 3).

    Raises:
        DatasetError: the clip has fewer frames.
    """
    if len(clip.frames) < frames:
        raise DatasetError(f"has {len(clip.frames)} frames, {frames} are needed")
    return resize(clip.frames[:frames], height, width)


def resize(
    frames: Frames,
    height: int,
    width: int,
    *,
    kernel: Filter = "bilinear",
    device: str = "cpu",
    antialias: bool = True,
) -> Frames:
    """Return resized frames, bit for bit the same on all hardware.

    Rows first, then columns; each pass sums bytes times fixed-point weights, rounds halves up and clamps to 0..255. When
    shrinking, the kernel is widened by the scale unless `antialias` is off; pixel centres lie at half integers.

    Args:
        frames: uint8 (T, H, W, 3).
        height: of the result.
        width: of the result.
        kernel: triangle ("bilinear") or cubic convolution with a = -0.5 ("bicubic").
        device: where to compute.
        antialias: whether to widen the kernel; off is for features whose definition has it off.

    Returns:
        uint8 (T, height, width, 3).

    Source: the separable resampling of Pillow's `Image.resize` (kernels, supports, fixed point), rows first.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 (T, H, W, 3), not {frames.dtype} {frames.shape}")
    if frames.shape[1:3] == (height, width):
        return frames
    rows = _weights(frames.shape[1], height, kernel, antialias).to(device)
    columns = _weights(frames.shape[2], width, kernel, antialias).to(device).T
    step = max(1, _CHUNK_VALUES // frames[0].size)
    parts = []
    for start in range(0, len(frames), step):
        pixels = torch.from_numpy(np.ascontiguousarray(frames[start : start + step])).to(device)
        planes = pixels.permute(0, 3, 1, 2).to(torch.float64)
        resized = _to_bytes(rows @ _to_bytes(planes @ columns))
        parts.append(resized.permute(0, 2, 3, 1).to(torch.uint8).contiguous().cpu())
    return torch.cat(parts).numpy()


def _to_bytes(sums: torch.Tensor) -> torch.Tensor:
    """Return fixed-point sums as whole numbers 0..255, float64, halves rounded up."""
    return torch.floor((sums + 2.0 ** (WEIGHT_BITS - 1)) / 2.0**WEIGHT_BITS).clamp_(0, 255)


@lru_cache(maxsize=64)
def _weights(size: int, wanted: int, kernel: Filter, antialias: bool) -> torch.Tensor:
    """Return the fixed-point weights of one pass as whole float64 numbers (wanted, size)."""
    shape, radius = (_triangle, 1.0) if kernel == "bilinear" else (_cubic, 2.0)
    scale = size / wanted
    spread = max(scale, 1.0) if antialias else 1.0
    weights = np.zeros((wanted, size), dtype=np.float64)
    for row in range(wanted):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - radius * spread + 0.5))
        last = min(size, int(centre + radius * spread + 0.5))
        taps = np.array([shape((tap + 0.5 - centre) / spread) for tap in range(first, last)])
        scaled = taps / taps.sum() * 2**WEIGHT_BITS
        weights[row, first:last] = np.trunc(scaled + np.copysign(0.5, scaled))
    return torch.from_numpy(weights)


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0
