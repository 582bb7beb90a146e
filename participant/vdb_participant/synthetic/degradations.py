"""Seven ways to spoil a clip, each at five strengths: what shows which metric sees what, and which is blind to what.

Promises the same frames for the same arguments on every machine: hashes and float64, no library's random generator.
Leaves what a metric makes of them to `benchmarks/degradations.py`.

Source: protos/README.md §7.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from vdb_participant.data.video import Frames
from vdb_shared.metrics.features import standard_normals, uniforms

STRENGTHS: Final = (1, 2, 3, 4, 5)

_NOISE: Final = (4.0, 8.0, 16.0, 32.0, 64.0)
_BLUR: Final = (0.5, 0.8, 1.2, 1.8, 2.7)
_LOST: Final = (0.15, 0.3, 0.45, 0.6, 0.75)
_WINDOWS: Final = (2, 3, 4, 6, 9)
_FROZEN: Final = (0.2, 0.4, 0.6, 0.8, 1.0)
_FLICKER: Final = (0.03, 0.07, 0.15, 0.3, 0.6)
_TURN: Final = (0.08, 0.16, 0.32, 0.64, 1.0)


def _seed(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"vdb-degradation/1|{name}|{seed}".encode()).digest()


def _to_bytes(values: NDArray[np.float64]) -> Frames:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noise(frames: Frames, strength: int, seed: int) -> Frames:
    """Return frames with Gaussian noise of deviation 4, 8, 16, 32 or 64, independent in every frame."""
    drawn = standard_normals(_seed(seed, "noise"), frames.size).reshape(frames.shape)
    return _to_bytes(frames + _NOISE[strength - 1] * drawn)


def blur(frames: Frames, strength: int, seed: int) -> Frames:  # noqa: ARG001 - one signature for all
    """Return frames blurred by a Gaussian of 0.5, 0.8, 1.2, 1.8 or 2.7 pixels for every 32 of the shorter side."""
    deviation = _BLUR[strength - 1] * max(1.0, min(frames.shape[1:3]) / 32)
    blurred = gaussian_filter1d(frames.astype(np.float64), deviation, axis=1, mode="nearest")
    return _to_bytes(gaussian_filter1d(blurred, deviation, axis=2, mode="nearest"))


def drop(frames: Frames, strength: int, seed: int) -> Frames:
    """Return frames of which a growing share is lost and replaced by the frame before: a stutter. The first stays."""
    lost = uniforms(_seed(seed, "drop"), len(frames)) < _LOST[strength - 1]
    kept = np.arange(len(frames))
    for place in range(1, len(frames)):
        kept[place] = kept[place - 1] if lost[place] else place
    return frames[kept]


def shuffle(frames: Frames, strength: int, seed: int) -> Frames:
    """Return frames in disorder within neighbourhoods of 2, 3, 4, 6 or 9."""
    window = _WINDOWS[strength - 1]
    keys = np.arange(len(frames)) + window * uniforms(_seed(seed, "shuffle"), len(frames))
    return frames[np.argsort(keys, kind="stable")]


def freeze(frames: Frames, strength: int, seed: int) -> Frames:  # noqa: ARG001 - one signature for all
    """Return frames whose last fifth, two, three, four or five fifths stand still."""
    last = max(0, round(len(frames) * (1 - _FROZEN[strength - 1])) - 1)
    return frames[np.minimum(np.arange(len(frames)), last)]


def flicker(frames: Frames, strength: int, seed: int) -> Frames:
    """Return frames whose brightness goes up and down by up to 3, 7, 15, 30 or 60 % from one frame to the next."""
    depth = _FLICKER[strength - 1] * (0.5 + 0.5 * uniforms(_seed(seed, "flicker"), len(frames)))
    factors = 1.0 - depth * (np.arange(len(frames)) % 2)
    return _to_bytes(frames * factors[:, None, None, None])


def colour_shift(frames: Frames, strength: int, seed: int) -> Frames:  # noqa: ARG001 - one signature for all
    """Return frames whose channels turn into one another by 8, 16, 32, 64 or 100 %."""
    turn = _TURN[strength - 1]
    return _to_bytes((1 - turn) * frames + turn * np.roll(frames, 1, axis=3))


DEGRADATIONS: Final[Mapping[str, Callable[[Frames, int, int], Frames]]] = {
    "noise": noise,
    "blur": blur,
    "frame drop": drop,
    "shuffle": shuffle,
    "freeze": freeze,
    "flicker": flicker,
    "colour shift": colour_shift,
}
"""Every degradation by name; each takes frames, uint8 (T, H, W, 3), a strength of 1 to 5 and a seed."""
