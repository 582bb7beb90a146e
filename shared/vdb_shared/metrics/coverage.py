"""Finish of coverage: how much of the reference clips' distribution over public anchors a model's clips share.

Every clip falls to its nearest anchor. Coverage is Σ min(p, q) over anchors of both sides' shares: 1 less their total variation
distance. It takes the place of recall by nearest neighbours, which is no function of sums.

Source: protos/README.md §7.2; after Naeem et al. 2020 (coverage) and Sajjadi et al. 2018 (precision and recall).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import Comparison, Estimate, Family, compare_all, normal_interval


@dataclass(frozen=True, slots=True)
class CellSums:
    """How many clips fell to each anchor.

    Attributes:
        sums: shape (L,).
        count: number of clips, at least 2; not an integer when noised.
        deviation: of the noise in each lane.
        count_deviation: of the noise in the count.
    """

    sums: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0

    @property
    def shares(self) -> Vector:
        """Shares by anchor, shape (L,), not negative."""
        return np.asarray(np.maximum(self.sums, 0.0) / self.count, dtype=np.float64)

    def error(self, chosen: Vector) -> float:
        """Return the variance of the sum of some anchors' shares.

        Args:
            chosen: shape (L,), 1 where an anchor's share enters.
        """
        share = min(float(self.shares @ chosen), 1.0)
        noise = float(chosen.sum()) * self.deviation**2 + (share * self.count_deviation) ** 2
        return share * (1.0 - share) / self.count + noise / self.count**2


def overlap(a: CellSums, b: CellSums) -> tuple[float, float]:
    """Return Σ min(p, q), in [0, 1], and the deviation of its error."""
    first = (a.shares <= b.shares).astype(np.float64)
    value = float(np.minimum(a.shares, b.shares).sum())
    return min(value, 1.0), math.sqrt(a.error(first) + b.error(1.0 - first))


def coverage_family(reference: CellSums, models: Mapping[str, CellSums]) -> Family:
    """Return the coverage of every model; pairs are compared as if independent, which is cautious."""
    found = {model: overlap(reference, sums) for model, sums in models.items()}

    def estimate(value: float, deviation: float) -> Estimate:
        around = normal_interval(value, deviation)
        return Estimate(value, max(around.low, 0.0), min(around.high, 1.0))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = found[first], found[second]
        return Comparison(a - b, math.hypot(error_a, error_b))

    return Family({model: estimate(*item) for model, item in found.items()}, compare_all(list(models), compare))
