"""How finely a session tells models apart, by its own rule of comparison.

Promises to read the rule off evaluations, so that it is whatever rule results are published with. Leaves single intervals to
`prediction.py`.

Source: protos/README.md §7.3.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vdb_shared.evaluation import Evaluation, Result
from vdb_shared.planning.assumptions import Scenario
from vdb_shared.planning.guess import Guess, Guesses, ScoreGuess, stretched
from vdb_shared.planning.population import population_of
from vdb_shared.planning.prediction import Forecast, Key, evaluated_session

_SEARCH: Final = 4.0
"""Factor by which models are moved apart, or together, until some pairs are told apart and some are not."""

_FURTHEST: Final = 4096.0
"""Stretch of the guess beyond which no larger difference is looked for."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """How finely one metric tells models apart.

    Attributes:
        smallest: difference of values from which two models are told apart more often than not; None where none is, or where
            there is one model.
        ranks: into how many groups, told apart from one another, the models of the guess fall, median over draws.
        apart: share of their pairs that are told apart.
    """

    smallest: float | None
    ranks: int
    apart: float


def resolutions_of(scenario: Scenario, guesses: Guesses, base: Forecast, *, rounds: int) -> dict[Key, Resolution]:
    """Return how finely every metric tells models apart.

    An evaluation says of every pair of models how far apart its values are and whether the rule tells them apart. The smallest
    difference is where the two kinds meet. Models are moved apart or together, while noise and sampling stay those of one
    typical session, so that differences come ever nearer to it.

    Args:
        scenario: the session.
        guesses: for every metric.
        base: what is expected with these guesses.
        rounds: how often models are moved.
    """
    keys: list[Key] = [(metric.id, metric.inputs) for metric in scenario.spec.metrics]
    seen: dict[Key, list[_Pair]] = {key: [] for key in keys}
    for evaluation in base.evaluations[:1]:
        _note(seen, evaluation, dict.fromkeys(keys, 1.0))
    for _ in range(rounds):
        stretch = {key: _next_stretch(seen[key]) for key in keys}
        moved = {key: _moved(guess, stretch[key]) for key, guess in guesses.items()}
        population = population_of(scenario.spec, moved)
        _note(seen, evaluated_session(scenario, population, scenario.noise, base.typical[0]), stretch)
    return {
        key: Resolution(
            _threshold(seen[key]),
            round(statistics.median(_groups(evaluation, key) for evaluation in base.evaluations)),
            statistics.mean(_share_apart(evaluation, key) for evaluation in base.evaluations),
        )
        for key in keys
    }


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two models of an evaluation.

    Attributes:
        models: both.
        stretch: how many times as far apart as in the guess.
        signed: value of the first less that of the second.
        apart: whether they were told apart.
    """

    models: tuple[str, str]
    stretch: float
    signed: float
    apart: bool

    @property
    def difference(self) -> float:
        """How far apart the values are."""
        return abs(self.signed)


def _pairs(evaluation: Evaluation, key: Key) -> Iterator[tuple[Result, Result, bool]]:
    alike = set(evaluation.not_apart[key])
    there = [item for item in evaluation.results if (item.metric, item.inputs) == key and item.value is not None]
    for first, second in itertools.combinations(there, 2):
        yield first, second, not {(first.model, second.model), (second.model, first.model)} & alike


def _note(seen: Mapping[Key, list[_Pair]], evaluation: Evaluation, stretch: Mapping[Key, float]) -> None:
    for key, pairs in seen.items():
        for first, second, apart in _pairs(evaluation, key):
            difference = (first.value or 0.0) - (second.value or 0.0)
            pairs.append(_Pair((first.model, second.model), stretch[key], difference, apart))


def _next_stretch(pairs: Sequence[_Pair]) -> float:
    """Return how far apart models are put next: so that the difference of a pair comes to where the two kinds meet."""
    if not pairs:
        return 1.0
    least, most = min(pair.stretch for pair in pairs), max(pair.stretch for pair in pairs)
    goal = _threshold(pairs)
    if goal is None:
        return min(most * _SEARCH, _FURTHEST)
    if all(pair.apart for pair in pairs):
        return least / _SEARCH
    by_models: dict[tuple[str, str], list[_Pair]] = {}
    for pair in pairs:
        by_models.setdefault(pair.models, []).append(pair)
    wanted = [found for same in by_models.values() if (found := _stretch_for(same, goal)) is not None]
    return min(max(statistics.median(wanted), least / _SEARCH), most * _SEARCH) if wanted else most * _SEARCH


def _stretch_for(same: Sequence[_Pair], goal: float) -> float | None:
    """Return the stretch at which one pair's difference is the goal, along the line through the evaluations nearest to it."""
    near = sorted({pair.stretch: pair for pair in same}.values(), key=lambda pair: abs(pair.difference - goal))
    if len(near) == 1:
        return near[0].stretch * goal / near[0].difference if near[0].difference > 0 else None
    one, other = near[:2]
    slope = (other.signed - one.signed) / (other.stretch - one.stretch)
    if slope == 0:
        return None
    found = one.stretch + (math.copysign(goal, slope) - one.signed) / slope
    return found if found > 0 else None


def _moved(guess: Guess, factor: float) -> Guess:
    moved = stretched(guess, factor)
    if isinstance(moved, ScoreGuess):
        return stretched(guess, min(factor, 1.0 / max(guess.apart, 1e-9)))
    return moved


def _threshold(pairs: Sequence[_Pair]) -> float | None:
    """Return the difference that parts pairs told apart from the others with the fewest on the wrong side; None if none can."""
    ordered = sorted(pairs, key=lambda pair: pair.difference)
    if not any(pair.apart for pair in ordered):
        return None
    wrong = sum(not pair.apart for pair in ordered)  # with the threshold below all
    best = [(wrong, 0.0, ordered[0].difference)]
    for place, pair in enumerate(ordered):
        wrong += 1 if pair.apart else -1
        following = ordered[place + 1].difference if place + 1 < len(ordered) else pair.difference
        best.append((wrong, pair.difference, following))
    fewest = min(count for count, _, _ in best)
    low = min(low for count, low, _ in best if count == fewest)
    high = max(high for count, _, high in best if count == fewest)
    return math.sqrt(low * high) if low > 0 else high


def _groups(evaluation: Evaluation, key: Key) -> int:
    """Return how many models can be chosen, in the order of their values, all told apart from one another."""
    apart = {frozenset((first.model, second.model)): told for first, second, told in _pairs(evaluation, key)}
    there = [item for item in evaluation.results if (item.metric, item.inputs) == key and item.value is not None]
    chosen: list[str] = []
    for item in sorted(there, key=lambda item: item.value or 0.0):
        if all(apart[frozenset((item.model, other))] for other in chosen):
            chosen.append(item.model)
    return len(chosen)


def _share_apart(evaluation: Evaluation, key: Key) -> float:
    told = [apart for _, _, apart in _pairs(evaluation, key)]
    return sum(told) / len(told) if told else 0.0
