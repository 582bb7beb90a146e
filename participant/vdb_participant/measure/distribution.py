"""A clip's share in a distance between distributions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vdb_shared.metrics.features import (
    clip_to_ball,
    feature_moments,
    random_fourier_features,
    random_fourier_frequencies,
)

Vector = NDArray[np.float64]


def frechet_share(features: Vector, limit: float) -> Vector:
    """Return [x, svec(x x^T)] of features divided by the limit and clipped to norm 1; L2 norm at most sqrt(2).

    Args:
        features: projected features (d,).
        limit: the spec's limit, in units of the projection's radius.
    """
    return feature_moments(clip_to_ball(features / limit)[0])


def kernel_share(features: Vector, manifest: str, count: int, bandwidth: float) -> Vector:
    """Return the random Fourier features of a clip, (count,); L2 norm 1.

    Args:
        features: projected features (d,).
        manifest: digest of the extractor's weights, from which the frequencies follow.
        count: number of random features, even.
        bandwidth: of the Gaussian kernel, in units of the projection's radius.
    """
    return random_fourier_features(features, _frequencies(manifest, len(features), count, bandwidth))


@lru_cache(maxsize=8)
def _frequencies(manifest: str, dimension: int, count: int, bandwidth: float) -> Vector:
    return random_fourier_frequencies(manifest, dimension, count, bandwidth)
