"""Intervals, comparisons and sets of ranks.

Every published number carries a 95 % interval that covers sampling and privacy noise together, whose variance is
public. Promises determinism: bootstrap draws follow from hashes, so an auditor gets the same digits. Leaves to the
finishes how large an error is.

Source: protos/README.md §7.3.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri, stdtrit

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.metrics.features import Vector, standard_normals, uniforms

CONFIDENCE: Final = 0.95
"""Of every interval, and of all comparisons of one metric together."""

_TAIL: Final = (1 - CONFIDENCE) / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; low <= value <= high."""

    value: float
    low: float
    high: float

    def mapped(self, factor: float, offset: float = 0.0) -> Estimate:
        """Return the estimate on another scale: x -> factor x + offset, factor above 0."""
        return Estimate(factor * self.value + offset, factor * self.low + offset, factor * self.high + offset)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two models are apart.

    Attributes:
        difference: of their values.
        deviation: of its random error.
        allowance: bound of its systematic error.
    """

    difference: float
    deviation: float
    allowance: float = 0.0

    def apart(self, quantile: float) -> bool:
        """Whether the difference is beyond `quantile` deviations and the allowance."""
        return abs(self.difference) > quantile * self.deviation + self.allowance


@dataclass(frozen=True, slots=True)
class Family:
    """One metric's estimates by model, and the comparison of every pair, in the order in which models are given."""

    estimates: Mapping[str, Estimate]
    comparisons: Mapping[tuple[str, str], Comparison]


def compare_all(models: Sequence[str], compare: Callable[[str, str], Comparison]) -> dict[tuple[str, str], Comparison]:
    """Return the comparison of every pair of models."""
    return {(first, second): compare(first, second) for first, second in itertools.combinations(models, 2)}


def student_interval(value: float, deviation: float, degrees: float) -> Estimate:
    """Return value +- t deviation, with Student's t of that many degrees of freedom."""
    reach = float(stdtrit(degrees, 1 - _TAIL)) * deviation
    return Estimate(value, value - reach, value + reach)


def normal_interval(value: float, deviation: float) -> Estimate:
    """Return value +- z deviation, with the quantile of the normal distribution."""
    reach = float(ndtri(1 - _TAIL)) * deviation
    return Estimate(value, value - reach, value + reach)


def pivot_interval(value: float, errors: Vector, *, floor: float, allowance: float = 0.0) -> Estimate:
    """Return the interval of a value whose errors a bootstrap has drawn.

    The mean error is taken out, then +- t deviations; widened to hold the value itself, cut at `floor`. Mean and
    deviation settle with far fewer draws than tail quantiles do.

    Args:
        value: the estimate.
        errors: estimate minus truth in each replicate, shape (replicates,).
        floor: least value that is possible.
        allowance: bound of a systematic error that the bootstrap does not show.
    """
    centred = student_interval(value - float(np.mean(errors)), float(np.std(errors, ddof=1)), errors.size - 1)
    return Estimate(value, max(floor, min(centred.low - allowance, value)), max(centred.high + allowance, value))


def simultaneous_quantile(pairs: int) -> float:
    """Return the normal quantile beyond which a pair is told apart, Bonferroni over all pairs of one metric."""
    return float(ndtri(1 - _TAIL / max(pairs, 1)))


def pairs_not_apart(family: Family) -> tuple[tuple[str, str], ...]:
    """Return the pairs of models that the data cannot tell apart."""
    quantile = simultaneous_quantile(len(family.comparisons))
    return tuple(pair for pair, comparison in family.comparisons.items() if not comparison.apart(quantile))


def rank_sets(family: Family, *, higher_is_better: bool) -> dict[str, tuple[int, int]]:
    """Return the best and worst rank that each model may have, 1 is best; together right with 95 % confidence.

    Source: Mogstad, Romano, Shaikh & Wilhelm 2024, §3 (confidence sets for ranks from pairwise comparisons).
    """
    quantile = simultaneous_quantile(len(family.comparisons))
    better = dict.fromkeys(family.estimates, 0)
    worse = dict.fromkeys(family.estimates, 0)
    for (first, second), comparison in family.comparisons.items():
        if not comparison.apart(quantile):
            continue
        first_wins = (comparison.difference > 0) == higher_is_better
        winner, loser = (first, second) if first_wins else (second, first)
        better[loser] += 1
        worse[winner] += 1
    return {model: (1 + better[model], len(better) - worse[model]) for model in better}


def draw_seed(*names: str, replicate: int) -> bytes:
    """Return the seed of one bootstrap draw: H(label, names…, replicate as 8 little-endian bytes)."""
    return labelled_hash(labels.HASH_BOOTSTRAP, *(name.encode() for name in names), replicate.to_bytes(8, "little"))


def wishart_factor(seed: bytes, dimension: int, degrees: int) -> NDArray[np.float64]:
    """Return A with A A^T a draw from the Wishart distribution of unit scale, shape (d, min(d, degrees)).

    Args:
        seed: of the draw.
        dimension: d.
        degrees: of freedom, at least 1.

    Source: Bartlett 1933; for fewer degrees than dimensions the defining sum of outer products.
    """
    if degrees < dimension:
        return standard_normals(seed, dimension * degrees).reshape(dimension, degrees)
    rows, columns = np.tril_indices(dimension, -1)
    factor = np.zeros((dimension, dimension))
    factor[rows, columns] = standard_normals(seed, rows.size)
    chances = uniforms(labelled_hash(labels.HASH_BOOTSTRAP, seed), dimension)
    freedom = (degrees - np.arange(dimension)) / 2.0
    factor[np.diag_indices(dimension)] = np.sqrt(2.0 * gammaincinv(freedom, chances))
    return factor
