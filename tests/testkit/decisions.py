"""Every course that a random algorithm can take, with exact probabilities: its elementary draws, answered in all ways.

The algorithm runs once for each course. Courses that become less likely than a cutoff are given up; how much probability
they had is counted, so that what was found is a proof up to that remainder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=Hashable)


class GivenUpError(Exception):
    """The course is too unlikely to be followed."""


@dataclass
class ChosenDraws:
    """Elementary draws for one lane at a time, answered by a script and then by the first possible answer.

    Attributes:
        script: answers to the first draws.
        cutoff: courses of a lower probability are given up.
        probability: of the course so far.
        siblings: scripts of the courses that were not taken, with their probabilities.
    """

    script: tuple[int, ...]
    cutoff: Fraction
    probability: Fraction = Fraction(1)
    siblings: list[tuple[tuple[int, ...], Fraction]] = field(default_factory=list)
    _taken: tuple[int, ...] = ()

    def uniform(self, bits: int, count: int) -> NDArray[np.uint64]:
        answers = [self._answer([Fraction(1, 2**bits)] * 2**bits) for _ in range(count)]
        return np.array(answers, dtype=np.uint64)

    def bernoulli_dyadic(self, numerators: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
        return np.array([self._bernoulli(Fraction(int(n), 2**bits)) for n in numerators], dtype=np.bool_)

    def bernoulli_reciprocal(self, divisor: int, count: int) -> NDArray[np.bool_]:
        return np.array([self._bernoulli(Fraction(1, divisor)) for _ in range(count)], dtype=np.bool_)

    def _bernoulli(self, probability: Fraction) -> bool:
        return bool(self._answer([1 - probability, probability]))

    def _answer(self, probabilities: list[Fraction]) -> int:
        place = len(self._taken)
        possible = [answer for answer, probability in enumerate(probabilities) if probability > 0]
        if place < len(self.script):
            answer = self.script[place]
        else:
            answer = possible[0]
            for other in possible[1:]:
                self.siblings.append(((*self._taken, other), self.probability * probabilities[other]))
        self._taken = (*self._taken, answer)
        self.probability *= probabilities[answer]
        if self.probability < self.cutoff:
            raise GivenUpError
        return answer


def outcomes_of(algorithm: Callable[[ChosenDraws], T], cutoff: Fraction) -> tuple[dict[T, Fraction], Fraction]:
    """Return the probability of every outcome that was found, a lower bound, and the probability of what was given up."""
    found: dict[T, Fraction] = defaultdict(Fraction)
    given_up = Fraction(0)
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        draws = ChosenDraws(waiting.pop(), cutoff)
        try:
            outcome = algorithm(draws)
        except GivenUpError:
            given_up += draws.probability
        else:
            found[outcome] += draws.probability
        for script, probability in draws.siblings:
            if probability < cutoff:
                given_up += probability
            else:
                waiting.append(script)
    return found, given_up
