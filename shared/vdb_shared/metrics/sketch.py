"""TensorSketch of the polynomial kernel of degree 3: a short vector whose products approximate (<x, y>/d + 1)^3.

Promises that a share's norm never exceeds the root of 2 and that the sketch follows from the extractor's weights and the number
of lanes alone. The value is an approximation; its error falls with the root of the lanes.

Source: Pham & Pagh 2013 (TensorSketch, algorithm 1); Bińkowski et al. 2018 (kernel of KID); protos/README.md §7.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_shared import labels
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.metrics.features import Vector, clip_to_ball, uniforms

DEGREE: Final = 3


@dataclass(frozen=True, slots=True)
class Sketch:
    """Three count sketches, whose convolution sketches the third tensor power.

    Attributes:
        lanes: m.
        places: shape (3, d + 1): into which lane each entry goes.
        signs: shape (3, d + 1): +1 or -1.
    """

    lanes: int
    places: NDArray[np.int64]
    signs: Vector

    @classmethod
    def of(cls, manifest: str, dimension: int, lanes: int) -> Sketch:
        """Return the sketch that belongs to an extractor's weights.

        Args:
            manifest: digest of the extractor's weights, "sha256:…".
            dimension: d, length of a feature vector.
            lanes: m >= 2.
        """
        seed = labelled_hash(
            labels.HASH_SKETCH, digest_bytes(manifest), dimension.to_bytes(8, "little"), lanes.to_bytes(8, "little")
        )
        drawn = uniforms(seed, 2 * DEGREE * (dimension + 1)).reshape(2, DEGREE, dimension + 1)
        return cls(lanes, np.floor(drawn[0] * lanes).astype(np.int64), np.where(drawn[1] < 0.5, -1.0, 1.0))

    def __call__(self, vector: Vector) -> Vector:
        """Return the sketch of the third tensor power of a vector, (d + 1,) becomes (m,)."""
        product = np.ones(self.lanes // 2 + 1, dtype=np.complex128)
        for places, signs in zip(self.places, self.signs, strict=True):
            counted = np.bincount(places, weights=signs * vector, minlength=self.lanes)
            product *= np.fft.rfft(counted)
        return np.asarray(np.fft.irfft(product, self.lanes), dtype=np.float64)


def kernel_bound(dimension: int, limit: float) -> float:
    """Return (limit^2 / d + 1)^(3/2), the norm in the kernel's space of a feature vector of norm `limit`."""
    return math.pow(limit * limit / dimension + 1.0, DEGREE / 2)


def sketch_share(features: Vector, limit: float, sketch: Sketch) -> Vector:
    """Return [φ, |φ|^2], shape (m + 1,), φ the sketch over twice its kernel bound, clipped to norm 1; L2 norm at most sqrt(2).

    A sketch keeps squared norms on average only; the factor 2 leaves room for those it makes too long.

    Args:
        features: shape (d,).
        limit: norm to which features are clipped.
        sketch: for dimension d.
    """
    inside = clip_to_ball(features / limit)[0] * limit
    augmented = np.append(inside / math.sqrt(inside.size), 1.0)
    shortened = clip_to_ball(sketch(augmented) / sketch_unit(inside.size, limit))[0]
    return np.append(shortened, min(float(shortened @ shortened), 1.0))


def sketch_unit(dimension: int, limit: float) -> float:
    """Return by what a sketch is divided; squared discrepancies of shares times its square are in the kernel's unit."""
    return 2.0 * kernel_bound(dimension, limit)
