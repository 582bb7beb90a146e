"""Which differences between two results are more than chance, from nothing but the figures that both publish.

Promises that with 95 % confidence not one of the statements "this figure is higher in that result" is false, over all
comparisons of two results together, and that nothing is assumed about how the errors of two results go together where they
have institutions or clips in common. Leaves to `measure.py` whether two figures can be compared at all, and to nobody why they
differ: figures do not tell.

A result publishes no deviations, only intervals. The reach of an interval towards the other figure stands for its error. For
exact figures of results with nothing in common the reaches add in squares (Zou & Donner 2008: variances recovered from limits).
Otherwise, for finishes whose intervals also bound systematic errors, and under noise, which makes the length of an interval
uncertain by as much as is not published, the intervals themselves must be apart, and the chance counts twice:
whatever the dependence, that happens only if one of the two misses what it is to hold (Boole's inequality). Intervals are
stretched from their own confidence to the one that is needed by Student's t.

Source: Zou & Donner 2008; Holm 1979; protos/README.md §10.12.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from scipy.special import stdtr, stdtrit

from vdb_shared.metrics.uncertainty import CONFIDENCE, TAIL

FEWEST: Final = 5
"""Clips, people or reference clips of either result below which nothing is compared: so few tell no spread."""

DRAWS: Final = 50
"""Least number of draws behind the interval of a Fréchet distance (§7.3): its deviation is known no better than by so many."""

FALSE_SHARE: Final = 1 - CONFIDENCE
"""Chance, at most, that any statement about a pair of results is false."""

DRAWN: Final = frozenset({"frechet", "mapped-frechet"})
"""Finishes whose intervals come from a bootstrap."""

BOUNDED: Final = DRAWN | {"vendi", "rke", "inception", "coverage"}
"""Finishes whose intervals hold bounds of systematic errors, which do not add in squares."""

FALLING: Final = DRAWN | {"second-moment"}
"""Finishes whose value falls with the number of clips even where nothing else differs."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Figure:
    """One published figure.

    Attributes:
        value, low, high: with its 95 % interval.
        count: clips, or people.
        reference: reference clips, or infinite where there are none.
        noised: whether noise is in it, and in the length of its interval.
    """

    value: float
    low: float
    high: float
    count: float
    reference: float = math.inf
    noised: bool = False

    @property
    def least(self) -> float:
        """The smaller of its two sides."""
        return min(self.count, self.reference)

    @property
    def half(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Lead:
    """How far one figure is ahead of another.

    Attributes:
        difference: second less first.
        ahead: how much of it is to be explained by chance: it, or what intervals that are apart leave of it; not below 0.
        reach: of chance, at 95 % for this pair alone.
        degrees: of freedom by which the reach is stretched.
        twice: whether the reach is that of two errors of unknown dependence.
    """

    difference: float
    ahead: float
    reach: float
    degrees: float
    twice: bool

    @property
    def chance(self) -> float:
        """Chance, at most, of so long a lead in this direction where there is none; at most 1/2."""
        if self.ahead == 0.0:
            return 0.5
        if self.reach == 0.0:
            return 0.0
        distance = self.ahead / self.reach * -float(stdtrit(self.degrees, TAIL))
        return min((2.0 if self.twice else 1.0) * float(stdtr(self.degrees, -distance)), 0.5)


def lead(first: Figure, second: Figure, *, finish: str, independent: bool) -> Lead:
    """Return how far the second figure is ahead of the first.

    Args:
        first: figure, of at least `FEWEST` clips or people.
        second: figure of the same measure, likewise.
        finish: of the metric.
        independent: whether the results have neither institutions nor clips in common.

    Raises:
        ValueError: fewer.
    """
    least = min(first.least, second.least)
    if least < FEWEST:
        raise ValueError(f"{least} clips or people are too few to compare")
    lower, upper = sorted((first, second), key=lambda figure: figure.value)
    reaches = upper.value - upper.low, lower.high - lower.value
    twice = not independent or finish in BOUNDED or first.noised or second.noised
    if twice:
        reach = max(upper.half, reaches[0]) + max(lower.half, reaches[1])
        ahead = upper.low - lower.high + reach
    else:
        reach, ahead = math.hypot(*reaches), upper.value - lower.value
    allowance = _count_allowance(first, second) if finish in FALLING else 0.0
    degrees = (min(least, DRAWS) if finish in DRAWN else least) - 1
    return Lead(second.value - first.value, max(ahead - allowance, 0.0), reach, degrees, twice)


def _count_allowance(first: Figure, second: Figure) -> float:
    """Return a bound of what the difference owes to other numbers of clips.

    A finite number of clips lengthens a distance on average by b(n), which is at most the distance itself, and falls no faster
    than 1/n: from n to m > n clips by at most (1 - n/m) b(n).
    """
    sides = [
        (one, other)
        for one, other in ((first.count, second.count), (first.reference, second.reference))
        if math.isfinite(one) and math.isfinite(other)
    ]
    share = max(1.0 - min(side) / max(side) for side in sides)
    crossing = len({one > other for one, other in sides if one != other}) > 1
    longest = first.high + second.high if crossing else max(first.high, second.high)
    return share * max(longest, 0.0)


def more_than_chance(leads: Mapping[Key, Lead], planned: int) -> frozenset[Key]:
    """Return the differences that are more than chance, all decided together.

    Each comparison stands for two hypotheses, one for either direction. Holm's steps go through all of them, the least chance
    first: the i-th is refused while its chance is at most 0.05 / (2P - i + 1).

    Args:
        leads: of the pairs of figures that are published, in a fixed order.
        planned: P, pairs of figures that both specs ask for, published or withheld; so what is withheld changes nothing.

    Raises:
        ValueError: fewer planned than there are.
    """
    if planned < len(leads):
        raise ValueError(f"{len(leads)} comparisons, of {planned} that were planned")
    chances = {key: item.chance for key, item in leads.items()}
    found = []
    for step, key in enumerate(sorted(chances, key=lambda key: chances[key])):
        if chances[key] > FALSE_SHARE / (2 * planned - step):
            break
        found.append(key)
    return frozenset(found)
