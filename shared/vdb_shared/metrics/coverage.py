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

    def variance(self, chosen: Vector) -> float:
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
    return min(value, 1.0), math.sqrt(a.variance(first) + b.variance(1.0 - first))


def missing(a: CellSums, b: CellSums) -> float:
    """Return by how much the overlap of samples lies below that of the distributions on average, at most.

    Where both shares of an anchor are equal, the smaller of two counts is less by half the mean of their difference's
    absolute value; where they differ it is less by no more.
    """
    shares = (a.shares + b.shares) / 2.0
    return float(np.sqrt(shares * (1.0 / a.count + 1.0 / b.count) / (2.0 * math.pi)).sum())


def invented(a: CellSums, b: CellSums) -> float:
    """Return by how much noise, cut at 0 in every anchor, raises the overlap on average, at most."""
    lanes = a.sums.size / math.sqrt(2.0 * math.pi)
    return lanes * max(a.deviation / a.count, b.deviation / b.count)


def coverage_family(reference: CellSums, models: Mapping[str, CellSums]) -> Family:
    """Return the coverage of every model; pairs are compared as if independent, which is cautious.

    Few clips hide overlap and noise invents some: intervals reach up and down by that, and pairs are apart only beyond it.
    """
    found = {model: overlap(reference, sums) for model, sums in models.items()}
    up = {model: missing(reference, sums) for model, sums in models.items()}
    down = {model: invented(reference, sums) for model, sums in models.items()}

    def estimate(model: str) -> Estimate:
        value, deviation = found[model]
        around = normal_interval(value, deviation)
        return Estimate(value, max(around.low - down[model], 0.0), min(around.high + up[model], 1.0))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = found[first], found[second]
        allowance = max(up[first] + down[second], up[second] + down[first])
        return Comparison(a - b, math.hypot(error_a, error_b), allowance)

    return Family({model: estimate(model) for model in models}, compare_all(list(models), compare))
