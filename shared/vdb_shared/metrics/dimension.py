"""How many principal axes of public features a Fréchet distance under noise should keep.

Promises a pure function of the public covariance's eigenvalues and of the noise that a session would have. Leaves fitting the
axes to the participant (`vdb-participant metrics fit-map`), and the noise to a planner.

Source: protos/README.md §7.2; benchmarks/dp_utility.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from vdb_shared.errors import StatisticError

DIMENSIONS: Final = (16, 32, 64, 128)
"""Numbers of axes that there are to choose from: few enough names to compare sessions by, each twice the one before."""

EDGE_SHARE: Final = 0.01
"""Share of the noise's largest eigenvalue that the last kept axis must reach. A half keeps too few: at 2,000 records and
epsilon 4 it would choose 16 axes, whose order of models has a Kendall's tau of 0.87 in a mixed world, where 128 reach 0.97 and
value them no worse. An axis counts in the trace although its eigenvalue drowns in noise. From benchmarks/dp_utility.py."""


def recommended_dimension(eigenvalues: Sequence[float], noise: float) -> int:
    """Return the largest d of 16, 32, 64 and 128 whose last axis still counts under noise; 16 where none does.

    It counts if its eigenvalue, over the clipping norm's square, is at least `EDGE_SHARE` times 2 tau sqrt(d), the largest
    eigenvalue of the noise in a d x d covariance. The square of the clipping norm is taken to be the first d eigenvalues' sum.

    Args:
        eigenvalues: of the covariance of public features, in any one unit; at least 16, not rising.
        noise: tau, deviation of the noise in an entry off a covariance's diagonal where features are clipped to norm 1: that
            of a lane of the sums, over the root of 2 and the number of clips. The greater one where two sides are noised.

    Raises:
        StatisticError: fewer than 16 eigenvalues, or they are not finite, negative, rise, or are all 0; or the noise is not
            finite or negative.
    """
    if not (math.isfinite(noise) and noise >= 0):
        raise StatisticError(f"expected noise of at least 0, found {noise}")
    values = [float(value) for value in eigenvalues]
    if len(values) < DIMENSIONS[0] or not all(math.isfinite(value) and value >= 0 for value in values):
        raise StatisticError(
            f"expected at least {DIMENSIONS[0]} finite eigenvalues that are not negative, found {len(values)}"
        )
    if any(later > earlier for earlier, later in pairwise(values)) or values[0] == 0:
        raise StatisticError("expected eigenvalues that do not rise, the first above 0")
    fitting = [d for d in DIMENSIONS if d <= len(values) and _counts(values, d, noise)]
    return max(fitting, default=DIMENSIONS[0])


def planned_noise(records: int, noise_multiplier: float, private_models: int = 0) -> float:
    """Return tau, as `recommended_dimension` takes it, of a session whose whole privacy budget goes into one Fréchet distance.

    A record adds a vector of norm at most the root of 2 to its own side and to that of every model whose clips are private.

    Args:
        records: of all institutions together, at least 1.
        noise_multiplier: z, from epsilon and delta.
        private_models: models whose clips come from private prompts; 0 with public prompts, which is the quieter case.

    Raises:
        StatisticError: no records, or a negative number of models.
    """
    if records < 1 or private_models < 0:
        raise StatisticError(f"expected records and models, found {records} and {private_models}")
    return noise_multiplier * math.sqrt(1 + private_models) / records


def _counts(values: Sequence[float], dimension: int, noise: float) -> bool:
    last = values[dimension - 1]
    return last > 0 and last / sum(values[:dimension]) >= EDGE_SHARE * 2.0 * noise * math.sqrt(dimension)
