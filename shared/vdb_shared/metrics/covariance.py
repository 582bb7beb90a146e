"""Sketch of the covariance of random features: how far a mean embedding may be off along one direction, from sums alone.

The covariance of m features has m(m+1)/2 entries; an interval needs one number of them, the variance along the direction
from one mean to the other, which nobody knows before the end. A tensor sketch of φ⊗φ gives it for every direction: products
of sketches are, on average over sketches, products of what was sketched. Promises shares of norm at most 1, and a sketch
that follows from the spec, so that its error is drawn anew for every session and an interval can reckon with it. Leaves the
intervals to kernel.py.

Source: Pham & Pagh 2013 (TensorSketch, lemma 4); protos/README.md §7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from vdb_shared import labels
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.metrics.features import Vector, clip_to_ball, uniforms
from vdb_shared.metrics.sketch import Sketch

LANES_PER_FEATURE: Final = 2
"""Lanes of the sketch by random feature. The error of a variance falls with the root of the lanes; at twice the features it is
a third of the variance or so, which Student's t then allows for."""

PART_WEIGHT: Final = Decimal("0.5")
"""Of the metric's weight: the sketch costs a quarter of what the embedding does, so that in a session with one such metric all
noise grows by 6 %. At a quarter of the weight, intervals of distances under much noise would be a fifth wider for its sake."""

UNIT: Final = 1.25
"""By what sketches of vectors of norm 1 are divided: they keep squared norms on average only; few are a quarter too long."""

_DEGREE: Final = 2


@dataclass(frozen=True, slots=True)
class CovarianceSums:
    """Sum of one side's sketches of φ⊗φ.

    Attributes:
        sums: shape (L,).
        sketch: the map.
        deviation: of the noise in each lane.
    """

    sums: Vector
    sketch: Sketch
    deviation: float = 0.0


def covariance_sketch(spec: str, manifest: str, features: int) -> Sketch:
    """Return the sketch of φ⊗φ of a session, of `LANES_PER_FEATURE` m lanes.

    Args:
        spec: digest of the spec, "sha256:…".
        manifest: digest of the extractor's weights, "sha256:…".
        features: m, number of random features.
    """
    seed = labelled_hash(
        labels.HASH_COVARIANCE, digest_bytes(spec), digest_bytes(manifest), features.to_bytes(8, "little")
    )
    lanes = LANES_PER_FEATURE * features
    drawn = uniforms(seed, 2 * _DEGREE * features).reshape(2, _DEGREE, features)
    return Sketch(lanes, np.floor(drawn[0] * lanes).astype(np.int64), np.where(drawn[1] < 0.5, -1.0, 1.0))


def covariance_share(embedding: Vector, sketch: Sketch) -> Vector:
    """Return the sketch of φ⊗φ over `UNIT`, shortened to norm 1, shape (L,).

    Args:
        embedding: φ, shape (m,), norm at most 1.
        sketch: of the session.
    """
    return clip_to_ball(sketch(embedding) / UNIT)[0]
