"""Whether dp-fvd@1 is better than naive estimates, cell by cell, and what decides it.

Promises one verdict for each cell and naive estimate, by one rule for all of them. Both estimators see the same worlds,
the same clips and, where they have the same axes, the same noise, so that everything is compared in pairs, world by
world. What decides is Kendall's tau with the true order if the mean lead, either way, is more than two standard errors.
Where it is not, both order models as well as one another (at the top, since nothing is left to gain, or at the bottom,
since noise leaves no order), and the error of the value decides: the median over the five models of |value - exact| /
exact, where exact is what the same estimator with the same axes says of 10,000 clips without noise; compared by the
mean over worlds of the logarithm of the ratio of both errors. A row's figure is by how many standard errors dp-fvd
leads in what decides, and has to be above two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from dp_worlds import MODELS, Values
from rows import Row

from vdb_shared.evaluation import COARSE_NOISE, VALUE_NOISE

STANDARD_ERRORS: Final = 2.0
"""By which one estimator leads if it leads."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """What two estimators make of the same worlds; shapes (worlds,).

    Attributes:
        tau, naive_tau: Kendall's tau with the true order.
        error, naive_error: median relative error of the five values.
    """

    tau: Values
    naive_tau: Values
    error: Values
    naive_error: Values


@dataclass(frozen=True, slots=True)
class Lead:
    """A mean over worlds, and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, differences: Values) -> Lead:
        """Return the lead in so many worlds."""
        spread = float(differences.std(ddof=1)) if differences.size > 1 else math.inf
        return cls(float(differences.mean()), spread / math.sqrt(differences.size))

    @property
    def distance(self) -> float:
        """In standard errors; 0 where there is no lead in any world."""
        return self.mean / self.error if self.error > 0 else 0.0

    @property
    def words(self) -> str:
        """With its standard error."""
        return f"{self.mean:+.3f} +- {self.error:.3f}"


def relative_error(values: Values, exact: Values) -> float:
    """Return the median over models of |value - exact| / exact."""
    return float(np.median(np.abs(values - exact) / exact))


def published_as(count: int, multiplier: float) -> str:
    """Return what a session with nothing but this metric, whose models are all private, publishes of it.

    Args:
        count: clips on each side.
        multiplier: of the noise.
    """
    level = multiplier * math.sqrt(1 + MODELS) / count
    if level <= VALUE_NOISE:
        return "values"
    return "ranks alone" if level <= COARSE_NOISE else "nothing"


def lead_rows(cells: Mapping[str, Mapping[str, Pairs]], published: Mapping[str, str]) -> Iterator[Row]:
    """Return the leads in tau and in values, the verdict, and how many cells either has decided.

    Args:
        cells: by the cell's words and the naive estimate's name.
        published: by the cell's words, what the product would publish.
    """
    decided: dict[str, list[str]] = {"tau": [], "value": []}
    for words, by_name in cells.items():
        for name, pairs in by_name.items():
            tau = Lead.of(pairs.tau - pairs.naive_tau)
            value = Lead.of(np.log(pairs.naive_error / np.maximum(pairs.error, np.finfo(np.float64).tiny)))
            title = f"{words}: recommended against {name}"
            yield Row(f"{title}: lead in tau ({tau.words})", tau.mean, "tau")
            yield Row(f"{title}: naive error of values over dp-fvd's, geometric mean", math.exp(value.mean), "times")
            by = "tau" if abs(tau.distance) > STANDARD_ERRORS else "value"
            decided[by].append(f"{words} against {name}")
            found = (tau if by == "tau" else value).distance
            remark = f"decided by {by}; published: {published[words]}"
            yield Row(f"{title}: {remark}", found, "s.e.", STANDARD_ERRORS, at_least=True)
    yield from _summary(decided)


def _summary(decided: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    yield Row("comparisons with naive estimates that tau decides", float(len(decided["tau"])), "")
    tied = decided["value"]
    names = f" ({'; '.join(tied)})" if tied else ""
    yield Row(f"comparisons that tau leaves open, and the error of the value decides{names}", float(len(tied)), "")
