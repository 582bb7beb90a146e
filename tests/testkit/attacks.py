"""Simulated sessions for attacks on what is published: real encoding, real noise, the worst survivors that are admitted.

Four institutions join and three survive, as few as may; one of them colludes: it adds no noise, and what it sent is no secret.
The sites' sums, lanes, noise and published totals are those of the shipped code. Randomness follows from a name, so that a
test's outcome is the same in every run; the noise is drawn by the shipped `integer` sampler from its key stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vdb_participant.noise.exact_draws import ExactDraws, key_stream
from vdb_participant.noise.integer_sampler import discrete_gaussian
from vdb_participant.session.contribution import noised_lanes
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.calibration import NOISE_EXPONENT
from vdb_shared.privacy.mechanism import decode, encode, uniform_bytes_needed
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import Spec

JOINED = 4
CONFIDENCE = 0.999
"""Of each rate's Clopper-Pearson interval; an advantage, of two rates, lies in its interval with 0.998."""

Sums = Sequence[Statistics]


@dataclass
class Randomness:
    """Uniform bytes and noise of all sessions of one study, each used once."""

    name: str
    noise: bool = True
    _stock: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False)

    def __post_init__(self) -> None:
        self.entropy = key_stream(hashlib.sha256(f"uniforms {self.name}".encode()).digest())
        self._draws = ExactDraws(key_stream(hashlib.sha256(f"noise {self.name}".encode()).digest()))

    def sample(self, count: int) -> NDArray[np.int64]:
        """Return the next samples of the shipped sampler, or zeros where the noise is off."""
        if not self.noise:
            return np.zeros(count, dtype=np.int64)
        if self._stock.size < count:
            self._stock = np.concatenate([self._stock, discrete_gaussian(self._draws, NOISE_EXPONENT, 200_000 + count)])
        found, self._stock = self._stock[:count], self._stock[count:]
        return found


def terms_of(spec: Spec) -> SealTerms:
    """Return the terms when four join."""
    return seal_terms(spec, range(JOINED))


def totals(
    spec: Spec, terms: SealTerms, sums: Sums, sessions: int, randomness: Randomness, silent: int = 1
) -> list[NDArray[np.int64]]:
    """Return the unmasked totals of sessions in which these sites survive, of which the last `silent` add no noise."""
    layout, calibration = terms.layout, terms.calibration
    found = []
    for _ in range(sessions):
        total = np.zeros(layout.lanes, dtype=np.int64)
        for place, statistics in enumerate(sums):
            if place >= len(sums) - silent:
                uniforms = randomness.entropy(uniform_bytes_needed(layout, calibration))
                total += encode(layout, calibration, statistics, uniforms)
            else:
                samplers = {spec.privacy.sampler: randomness.sample}
                total += noised_lanes(spec, terms, statistics, randomness.entropy, samplers)
        found.append(total)
    return found


def likelihood_score(terms: SealTerms, with_target: Sums, without: Sums) -> Callable[[NDArray[np.int64]], float]:
    """Return the best statistic of an attacker who knows every record: the projection on the target's share.

    Noise is the same on every lane, so the likelihood ratio weighs each published statistic by the square of its scale
    (Neyman & Pearson). The score is 0 half way between the two expectations, -1 and 1 at them.
    """
    layout, scales = terms.layout, terms.calibration.block_scales(terms.layout)
    square = np.concatenate([np.full(block.dims, scales[block.name] ** 2) for block in layout.blocks])

    def whole(sums: Sums) -> NDArray[np.float64]:
        parts = [np.concatenate([site[block.name] for block in layout.blocks]) for site in sums]
        return np.asarray(np.sum(parts, axis=0))

    outside, inside = whole(without), whole(with_target)
    target = inside - outside
    direction = 2 * target * square / float(target @ (target * square))
    middle = (inside + outside) / 2

    def score(total: NDArray[np.int64]) -> float:
        published = decode(layout, terms.calibration, total)
        return float((np.concatenate([published[block.name] for block in layout.blocks]) - middle) @ direction)

    return score


@dataclass(frozen=True)
class Rate:
    """A share of sessions, with its Clopper-Pearson interval."""

    hits: int
    sessions: int

    @property
    def value(self) -> float:
        return self.hits / self.sessions

    @property
    def low(self) -> float:
        tail = (1 - CONFIDENCE) / 2
        return float(special.betaincinv(self.hits, self.sessions - self.hits + 1, tail)) if self.hits else 0.0

    @property
    def high(self) -> float:
        tail, misses = (1 - CONFIDENCE) / 2, self.sessions - self.hits
        return float(special.betaincinv(self.hits + 1, misses, 1 - tail)) if misses else 1.0


@dataclass(frozen=True)
class Attack:
    """Scores of sessions with and without the target; "member" is said above a threshold.

    Attributes:
        inside, outside: (sessions,), float64.
    """

    inside: NDArray[np.float64]
    outside: NDArray[np.float64]

    def rates(self, threshold: float = 0.0) -> tuple[Rate, Rate]:
        """Return the rates of true and of false positives."""
        true, false = (int(np.count_nonzero(scores > threshold)) for scores in (self.inside, self.outside))
        return Rate(true, self.inside.size), Rate(false, self.outside.size)

    def advantage(self, threshold: float = 0.0) -> tuple[float, float, float]:
        """Return true less false positives: lowest, found, highest."""
        true, false = self.rates(threshold)
        return true.low - false.high, true.value - false.value, true.high - false.low
