"""The statistics of a session, taken apart by side, model and metric, each with the noise in it.

Promises that every finish gets its sums in one way, whoever asks. Leaves what follows from them to families.py and
evaluation.py.

Source: protos/README.md §7.1, §7.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vdb_shared.canonical import decimal_string
from vdb_shared.layout import count_block, generated_block, rating_block, reference_block
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.spec import Metric, Spec

Side = Literal["reference", "public", "private", "ratings"]

FEWEST_CLIPS: Final = 2
"""Below this no variance can be estimated."""

COUNT_OVER_NOISE: Final = 10.0
"""A noised count divides; below ten times its own deviation the quotient is not worth reporting."""

SIGNIFICANT_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Count:
    """How many clips there were.

    Attributes:
        side: "reference": clips of institutions; "public" or "private": generated from such prompts.
        model: id, or "clips" on the reference side.
        succeeded, failed: numbers of clips; noised where private, so possibly fractional or negative.
        deviation: of the noise in each of them.
    """

    side: Side
    model: str
    succeeded: float
    failed: float
    deviation: float

    def problem(self) -> str | None:
        """Why nothing can be divided by this count, or None."""
        whose = "reference clips" if self.side == "reference" else f"clips of {self.model}"
        needed = max(float(FEWEST_CLIPS), COUNT_OVER_NOISE * self.deviation)
        if self.succeeded >= needed:
            return None
        if self.deviation == 0:
            return f"{whose}: {self.succeeded:.0f} could be measured, at least {FEWEST_CLIPS} are needed"
        return (
            f"{whose}: about {max(self.succeeded, 0):.0f} with noise of deviation {self.deviation:.2g}; "
            f"at least {math.ceil(needed)} are needed, or a larger epsilon"
        )

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "side": self.side,
            "model": self.model,
            "succeeded": rounded(self.succeeded),
            "failed": rounded(self.failed),
            "noise": rounded(self.deviation),
        }


@dataclass(frozen=True, slots=True)
class BlockSums:
    """One block's sums.

    Attributes:
        values: shape (dims,), float64.
        deviation: of the noise in each lane.
        count: clips that were summed.
    """

    values: NDArray[np.float64]
    deviation: float
    count: Count

    @property
    def noise_of_mean(self) -> float:
        """Deviation of the noise in a lane over the count."""
        return self.deviation / self.count.succeeded


class SessionSums:
    """The statistics of a session.

    Attributes:
        spec: the spec.
        counts: by side and model; reference, then public, then private.
    """

    def __init__(self, spec: Spec, statistics: Statistics, noise: NoiseLevel) -> None:
        """Take them apart.

        Args:
            spec: the spec.
            statistics: sums that fit its layout.
            noise: in them.
        """
        self.spec = spec
        self.counts: dict[tuple[Side, str], Count] = {}
        self._statistics = statistics
        self._noise = noise
        if count_block("reference") in statistics:
            self._count("reference", "clips")
        sides: tuple[Side, Side] = ("public", "private")
        for side in sides:
            for model in spec.models:
                if count_block(side, model.id) in statistics:
                    self._count(side, model.id)

    def _count(self, side: Side, model: str) -> None:
        name = count_block(side, model)
        values = [float(value) for value in self._statistics[name]]
        failed = values[1] if len(values) > 1 else 0.0
        self.counts[side, model] = Count(side, model, values[0], failed, self._noise.of(name))

    def block(self, metric: Metric, part: str, model: str) -> BlockSums:
        """Return a block of a model's clips."""
        return self._block(generated_block(metric.inputs, model, metric.id, part), self.counts[metric.inputs, model])

    def reference_block(self, metric: Metric, part: str) -> BlockSums:
        """Return a block of the reference clips."""
        return self._block(reference_block(metric.id, part), self.counts["reference", "clips"])

    def _block(self, name: str, count: Count) -> BlockSums:
        return BlockSums(self._statistics[name], self._noise.of(name), count)

    def rating_block(self, metric: Metric, part: str) -> tuple[NDArray[np.float64], float]:
        """Return a block of people's ratings, of all models together, and the deviation of the noise in each lane."""
        name = rating_block(metric.id, part)
        return self._statistics[name], self._noise.of(name)

    def histogram(self, metric: Metric, model: str) -> tuple[int, ...] | None:
        """Return how many clips fell into each bin of a score's range, or None where there is no histogram."""
        values = self._statistics.get(generated_block(metric.inputs, model, metric.id, "histogram"))
        return None if values is None else tuple(int(value) for value in np.rint(values))


def rounded(value: float) -> str:
    """Return a real as a canonical decimal string of 6 significant digits, halves to even."""
    return decimal_string(Decimal(f"{value:.{SIGNIFICANT_DIGITS - 1}e}"))
