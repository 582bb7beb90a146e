"""Which models are told apart: all comparisons of a session, over models and metrics, decided together.

Promises that with 95 % confidence not one of a session's statements "this model is better than that one" is false, whatever
the comparisons have in common, and so that all sets of ranks are right together. Leaves how far models are apart to finishes.

Source: Holm 1979; Mogstad, Romano, Shaikh & Wilhelm 2024, §3; protos/README.md §7.3.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.uncertainty import CONFIDENCE, Comparison, Family

Pair = tuple[str, str]
Key = TypeVar("Key", bound=Hashable)


def told_apart(comparisons: Mapping[Key, Comparison], planned: int) -> frozenset[Key]:
    """Return the comparisons that tell two models apart.

    Each of P planned pairs stands for two hypotheses: that the one model is no better, and that the other is not. Holm's steps
    go through all 2P, the least chance first: the i-th is refused while its chance is at most 0.05 / (2P - i + 1). Of a pair
    the wrong direction has a chance of at least one half and is never refused, so P chances are all that are looked at.
    Directions are part of what holds with 95 %; steps over P two-sided tests would be a little bolder, but are proven to hold
    them for independent ones only (Shaffer 1980).

    P is what was planned before there were data, not what could be published: a pair that is withheld counts like one whose
    chance is one half. So what is withheld, which may depend on data and noise, makes no other pair easier to tell apart.

    Args:
        comparisons: those of a session that can be made, by any keys, in a fixed order, which decides between equal chances.
        planned: P; see `planned_comparisons`.

    Raises:
        StatisticError: there are more comparisons than were planned.
    """
    if len(comparisons) > planned:
        raise StatisticError(f"expected at most the {planned} planned comparisons, found {len(comparisons)}")
    hypotheses = 2 * planned
    chances = {key: comparison.chance for key, comparison in comparisons.items()}
    apart = []
    for step, key in enumerate(sorted(chances, key=lambda key: chances[key])):
        if chances[key] > (1 - CONFIDENCE) / (hypotheses - step):
            break
        apart.append(key)
    return frozenset(apart)


def planned_comparisons(metrics: int, models: int) -> int:
    """Return how many pairs of models a spec plans to compare: every pair, by every metric."""
    return metrics * math.comb(models, 2)


def pairs_not_apart(family: Family, apart: Collection[Pair]) -> tuple[Pair, ...]:
    """Return the pairs of models that the data cannot tell apart.

    Args:
        family: one metric's.
        apart: its pairs that are told apart.
    """
    return tuple(pair for pair in family.comparisons if pair not in apart)


def rank_sets(family: Family, apart: Collection[Pair], *, higher_is_better: bool) -> dict[str, tuple[int, int]]:
    """Return the best and worst rank that each model may have, 1 is best; right whenever the pairs that are apart are.

    Args:
        family: one metric's.
        apart: its pairs that are told apart.
        higher_is_better: which way is better.

    Source: Mogstad, Romano, Shaikh & Wilhelm 2024, §3 (confidence sets for ranks from pairwise comparisons).
    """
    better = dict.fromkeys(family.estimates, 0)
    worse = dict.fromkeys(family.estimates, 0)
    for first, second in apart:
        first_wins = (family.comparisons[first, second].difference > 0) == higher_is_better
        winner, loser = (first, second) if first_wins else (second, first)
        better[loser] += 1
        worse[winner] += 1
    return {model: (1 + better[model], len(better) - worse[model]) for model in better}
