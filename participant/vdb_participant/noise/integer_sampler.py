"""The sampler `integer`: exact discrete Gaussian samples for sigma = 2^a, whole arrays at a time, in integer arithmetic only.

Promises samples whose distribution is exactly P(y) = exp(-y^2 / 2 sigma^2) / sum_z exp(-z^2 / 2 sigma^2) over all integers y,
given uniform key-stream bits: no floating-point number, table or series cut short takes part. Called "integer" for that. The
only departure is that a run of draws with a probability below 2^-180 is taken for a broken key stream and ends in an error.
Not constant in time: how long a vector takes depends on how many draws were rejected in all of it, as with OpenDP.

Why it is exact. Write s = sigma = 2^a.

1. `bernoulli_exp_fraction`: for g in [0, 1] let A_1, A_2, ... be independent with P(A_k = 1) = g/k and K the first k with
   A_k = 0. Then P(K > k) = g^k / k!, so P(K odd) = sum_k (-g)^k / k! = exp(-g) (von Neumann's series; algorithm 1). Here g is
   n / 2^b, and A_k is the conjunction of two independent draws, Bernoulli(1/k) and Bernoulli(n / 2^b), both exact.
2. `bernoulli_exp`: for g = m + f, exp(-g) = exp(-1)^m exp(-f): m draws and one more must all succeed (algorithm 1).
3. `discrete_laplace`: U uniform in [0, s), kept with probability exp(-U/s), and V geometric with P(V = v) proportional to
   exp(-v), give X = U + s V with P(X = x) proportional to exp(-x/s); with a random sign and without the negative zero, which
   would count 0 twice, Y = +-X has P(Y = y) proportional to exp(-|y|/s) (algorithm 2 with t = s).
4. `discrete_gaussian`: Y is kept with probability exp(-(|Y| - s)^2 / 2 s^2). Multiplied with the law of Y this is
   exp(-1/2) exp(-y^2 / 2 s^2): the discrete Gaussian after normalising (algorithm 3; there t = floor(s) + 1, but with any t
   the product is exp(-y^2 / 2 s^2) times a constant, and t = s makes every exponent a dyadic rational).
5. Candidates are independent and of one law, so those that are kept, in order, are independent samples.

No overflow: V <= 127 and a <= 24, so (|Y| - s)^2 < 2^62.

Source: Canonne, Kamath & Steinke 2020 ("The Discrete Gaussian for Differential Privacy"), section 5, algorithms 1 to 3;
protos/README.md §8.2.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vdb_participant.noise.exact_draws import KEY_BYTES, ExactDraws, key_stream
from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.calibration import NOISE_EXPONENT

BLOCK: Final = 2**15
"""Candidates drawn at a time: their arrays stay in the processor's cache, and memory does not grow with the number of lanes."""

MAX_EXPONENT: Final = 24
"""Largest a for which no 64-bit integer overflows."""

LONGEST_SERIES: Final = 64
"""A series of step 1 that is longer has a probability below 1/64! < 2^-295."""

LARGEST_MULTIPLE: Final = 127
"""A larger V of step 3 has the probability exp(-128) < 2^-184."""


class Draws(Protocol):
    """Exact elementary draws; `ExactDraws` is the one that ships."""

    def uniform(self, bits: int, count: int) -> NDArray[np.uint64]:
        """Return integers uniform in [0, 2^bits): (count,), uint64."""
        ...

    def bernoulli_dyadic(self, numerators: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
        """Return one draw of Bernoulli(n / 2^bits) for each numerator n."""
        ...

    def bernoulli_reciprocal(self, divisor: int, count: int) -> NDArray[np.bool_]:
        """Return draws of Bernoulli(1 / divisor): (count,), bool."""
        ...


def sample_noise(count: int) -> NDArray[np.int64]:
    """Return independent samples of the discrete Gaussian with sigma = 2^20, under a fresh key from the operating system.

    Args:
        count: how many, >= 0.

    Returns:
        (count,), int64, in lane units.

    Raises:
        PrivacyError: the key stream is broken.
    """
    return discrete_gaussian(ExactDraws(key_stream(os.urandom(KEY_BYTES))), NOISE_EXPONENT, count)


def discrete_gaussian(draws: Draws, exponent: int, count: int) -> NDArray[np.int64]:
    """Return independent samples of the discrete Gaussian with mean 0 and sigma = 2^exponent (step 4).

    Args:
        draws: elementary draws; the samples follow from them alone.
        exponent: a, in 0..24.
        count: how many, >= 0.

    Returns:
        (count,), int64.

    Raises:
        PrivacyError: the key stream is broken.
    """
    if not 0 <= exponent <= MAX_EXPONENT:
        raise ValueError(f"sigma = 2^a with a in 0..{MAX_EXPONENT}, found a = {exponent}")
    found = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        # 0.48 of the candidates are kept, so 5/2 of what is missing is mostly enough.
        kept = kept_candidates(draws, exponent, min(BLOCK, (count - filled) * 5 // 2 + 1))[: count - filled]
        found[filled : filled + kept.size] = kept
        filled += kept.size
    return found


def kept_candidates(draws: Draws, exponent: int, count: int) -> NDArray[np.int64]:
    """Return the samples among so many candidates: (kept,), int64, kept <= count.

    A candidate is kept as y with probability (1 - 1/e) exp(-1/2) / 2 sigma times exp(-y^2 / 2 sigma^2).
    """
    sigma = np.uint64(1 << exponent)
    magnitudes, negative = discrete_laplace(draws, exponent, count)
    distances = np.maximum(magnitudes, sigma) - np.minimum(magnitudes, sigma)
    kept = bernoulli_exp(draws, distances * distances, 2 * exponent + 1)
    samples = magnitudes[kept].astype(np.int64)
    return np.where(negative[kept], -samples, samples)


def discrete_laplace(draws: Draws, exponent: int, count: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return samples of the discrete Laplace distribution of scale s = 2^exponent from so many candidates (step 3).

    Returns:
        magnitudes (kept,), uint64, below 128 s, and whether each is negative (kept,), bool; kept <= count.
    """
    sigma = np.uint64(1 << exponent)
    uniform = draws.uniform(exponent + 1, count)  # the highest bit is the sign
    remainders, negative = uniform & (sigma - np.uint64(1)), uniform >= sigma
    kept = bernoulli_exp_fraction(draws, remainders, exponent)
    remainders, negative = remainders[kept], negative[kept]
    magnitudes = remainders + geometric(draws, remainders.size) * sigma
    single = ~(negative & (magnitudes == 0))
    return magnitudes[single], negative[single]


def geometric(draws: Draws, count: int) -> NDArray[np.uint64]:
    """Return how many draws of Bernoulli(exp(-1)) succeed before one fails: (count,), uint64, at most 127.

    Raises:
        PrivacyError: more than 127 succeed in a row.
    """
    successes = np.zeros(count, dtype=np.uint64)
    alive = np.arange(count)
    for _ in range(LARGEST_MULTIPLE + 1):
        alive = alive[bernoulli_inverse_e(draws, alive.size)]
        if not alive.size:
            return successes
        successes[alive] += np.uint64(1)
    raise _broken()


def bernoulli_exp(draws: Draws, numerators: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    """Return one draw of Bernoulli(exp(-n / 2^bits)) for each numerator n >= 0 (step 2).

    Args:
        draws: elementary draws.
        numerators: (count,), uint64.
        bits: in 0..63.

    Returns:
        (count,), bool.
    """
    one = np.uint64(1 << bits)
    succeeded = bernoulli_exp_fraction(draws, numerators & (one - np.uint64(1)), bits)
    wholes = numerators >> np.uint64(bits)
    alive = np.flatnonzero(succeeded & (wholes > 0))
    passed = 0
    while alive.size:
        drawn = bernoulli_inverse_e(draws, alive.size)
        succeeded[alive[~drawn]] = False
        passed += 1
        alive = alive[drawn & (wholes[alive] > passed)]
    return succeeded


def bernoulli_exp_fraction(draws: Draws, numerators: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    """Return one draw of Bernoulli(exp(-n / 2^bits)) for each numerator n <= 2^bits (step 1).

    Args:
        draws: elementary draws.
        numerators: (count,), uint64.
        bits: in 0..63.

    Returns:
        (count,), bool.

    Raises:
        PrivacyError: a series does not end.
    """
    odd = np.ones(numerators.size, dtype=np.bool_)  # whether K is odd, if the series ends here
    alive = np.arange(numerators.size)
    for k in range(1, LONGEST_SERIES + 1):
        if k > 1:
            alive = alive[draws.bernoulli_reciprocal(k, alive.size)]
        alive = alive[draws.bernoulli_dyadic(numerators[alive], bits)]
        if not alive.size:
            return odd
        odd[alive] = k % 2 == 0
    raise _broken()


def bernoulli_inverse_e(draws: Draws, count: int) -> NDArray[np.bool_]:
    """Return draws of Bernoulli(exp(-1)): step 1 with g = 1, whose A_1 is certain; (count,), bool.

    Raises:
        PrivacyError: a series does not end.
    """
    odd = np.zeros(count, dtype=np.bool_)
    alive = np.arange(count)
    for k in range(2, LONGEST_SERIES + 1):
        alive = alive[draws.bernoulli_reciprocal(k, alive.size)]
        if not alive.size:
            return odd
        odd[alive] = k % 2 == 0
    raise _broken()


def _broken() -> PrivacyError:
    return PrivacyError(
        "the noise sampler saw draws with a probability below 2^-180: the key stream is broken; leave the session "
        "and have this machine's cryptography checked"
    )
