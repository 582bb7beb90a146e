"""The integer sampler draws from exactly the discrete Gaussian: by enumeration of its decisions, and by its samples.

Samples come from fixed keys, so a p-value is the same in every run.
"""

from __future__ import annotations

import ast
import hashlib
import tracemalloc
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from testkit.decisions import ChosenDraws, outcomes_of
from vdb_participant.noise import exact_draws, integer_sampler, opendp_sampler
from vdb_participant.noise.exact_draws import ExactDraws, key_stream
from vdb_participant.noise.integer_sampler import (
    BLOCK,
    MAX_EXPONENT,
    bernoulli_exp,
    bernoulli_exp_fraction,
    bernoulli_inverse_e,
    discrete_gaussian,
    discrete_laplace,
    geometric,
    kept_candidates,
    sample_noise,
)
from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.calibration import LOCAL_SIGMA, NOISE_EXPONENT

SAMPLES = 400_000
LEAST_P = 1e-3
"""Below this a fixed key's samples do not fit; every key of this file gives more than 0.01."""

CUTOFF = Fraction(1, 10**6)


def drawn(exponent: int, count: int = SAMPLES, key: str = "") -> NDArray[np.int64]:
    """Return samples under the key of a name."""
    secret = hashlib.sha256(f"noise {exponent} {key}".encode()).digest()
    return discrete_gaussian(ExactDraws(key_stream(secret)), exponent, count)


def exp_minus(x: Fraction) -> Fraction:
    """Return exp(-x) with an error below 10^-30, for 0 <= x <= 40."""
    with localcontext() as context:
        context.prec = 60
        return Fraction((-Decimal(x.numerator) / Decimal(x.denominator)).exp())


def masses(exponent: int, reach: int) -> dict[int, float]:
    """Return the exact probabilities of -reach..reach; what is beyond them is below 10^-30."""
    with localcontext() as context:
        context.prec = 50
        weights = {y: (-Decimal(y * y) / 2 ** (2 * exponent + 1)).exp() for y in range(-reach, reach + 1)}
        total = sum(weights.values())
        return {y: float(weight / total) for y, weight in weights.items()}


def goodness(observed: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """Return the p-value of a chi-square test; cells that expect fewer than 10 are put together."""
    rare = expected < 10
    cells = [*observed[~rare], observed[rare].sum()], [*expected[~rare], expected[rare].sum()]
    return float(stats.chisquare(*cells).pvalue)


# By enumeration: the real code, all decisions, exact fractions.


@pytest.mark.parametrize(("numerator", "bits"), [(0, 3), (1, 3), (3, 3), (7, 3), (8, 3), (0, 0), (1, 0), (12345, 20)])
def test_a_fractional_exponent_by_enumeration(numerator: int, bits: int) -> None:
    wanted = exp_minus(Fraction(numerator, 2**bits))
    numerators = np.array([numerator], dtype=np.uint64)
    found, rest = outcomes_of(lambda draws: bool(bernoulli_exp_fraction(draws, numerators, bits)[0]), CUTOFF)
    assert rest < 3 * CUTOFF
    assert found[True] <= wanted <= found[True] + rest
    assert found[False] <= 1 - wanted <= found[False] + rest


def test_exp_of_minus_one_by_enumeration() -> None:
    wanted = exp_minus(Fraction(1))
    found, rest = outcomes_of(lambda draws: bool(bernoulli_inverse_e(draws, 1)[0]), CUTOFF)
    assert rest < 3 * CUTOFF
    assert found[True] <= wanted <= found[True] + rest


@pytest.mark.parametrize(("numerator", "bits"), [(2, 1), (5, 1), (6, 1), (9, 2), (31, 3)])
def test_any_exponent_by_enumeration(numerator: int, bits: int) -> None:
    wanted = exp_minus(Fraction(numerator, 2**bits))
    numerators = np.array([numerator], dtype=np.uint64)
    found, rest = outcomes_of(lambda draws: bool(bernoulli_exp(draws, numerators, bits)[0]), CUTOFF)
    assert rest < wanted / 100
    assert found[True] <= wanted <= found[True] + rest


def test_the_geometric_distribution_by_enumeration() -> None:
    found, rest = outcomes_of(lambda draws: int(geometric(draws, 1)[0]), CUTOFF)
    assert rest < Fraction(1, 1000)
    for value in range(7):
        wanted = (1 - exp_minus(Fraction(1))) * exp_minus(Fraction(value))
        assert found[value] <= wanted <= found[value] + rest


def kept_one(sampler: Callable[[ChosenDraws], list[int]]) -> Callable[[ChosenDraws], int | None]:
    """Return the algorithm whose outcome is the value of one candidate, or None when it was not kept."""

    def outcome(draws: ChosenDraws) -> int | None:
        values = sampler(draws)
        return values[0] if values else None

    return outcome


def laplace_values(draws: ChosenDraws, exponent: int) -> list[int]:
    magnitudes, negative = discrete_laplace(draws, exponent, 1)
    return [-int(x) if minus else int(x) for x, minus in zip(magnitudes, negative, strict=True)]


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_the_discrete_laplace_by_enumeration(exponent: int) -> None:
    sigma = 2**exponent
    found, rest = outcomes_of(kept_one(lambda draws: laplace_values(draws, exponent)), CUTOFF)
    assert rest < Fraction(1, 500)
    for y in range(-2 * sigma, 2 * sigma + 1):
        wanted = (1 - exp_minus(Fraction(1))) / (2 * sigma) * exp_minus(Fraction(abs(y), sigma))
        assert found[y] <= wanted <= found[y] + rest, y


@pytest.mark.parametrize("exponent", [0, 1])
def test_the_discrete_gaussian_by_enumeration(exponent: int) -> None:
    sigma = 2**exponent
    found, rest = outcomes_of(kept_one(lambda draws: kept_candidates(draws, exponent, 1).tolist()), CUTOFF)
    assert rest < Fraction(1, 100)
    constant = (1 - exp_minus(Fraction(1))) * exp_minus(Fraction(1, 2)) / (2 * sigma)
    for y in range(-2 * sigma, 2 * sigma + 1):
        wanted = constant * exp_minus(Fraction(y * y, 2 * sigma**2))
        assert found[y] <= wanted <= found[y] + rest, y
        assert found[y] == found[-y]


# By samples.


@pytest.mark.parametrize(("exponent", "reach"), [(0, 12), (1, 24), (3, 96)])
def test_every_value_is_as_frequent_as_it_should_be(exponent: int, reach: int) -> None:
    found = drawn(exponent)
    exact = masses(exponent, reach)
    observed = np.array([np.count_nonzero(found == y) for y in exact])
    assert observed.sum() == SAMPLES
    assert goodness(observed, SAMPLES * np.array(list(exact.values()))) > LEAST_P


def test_bins_of_sigma_1024_are_as_full_as_they_should_be() -> None:
    # Bins of an odd number of values, so that 0 is within one and no edge hides between two values.
    exact = masses(10, 12_287)
    width = 127
    bins: dict[int, float] = {}
    for y, mass in exact.items():
        bins[(y + width // 2) // width] = bins.get((y + width // 2) // width, 0) + mass
    places = (drawn(10) + width // 2) // width
    observed = np.array([np.count_nonzero(places == place) for place in bins])
    assert observed.sum() == SAMPLES
    assert goodness(observed, SAMPLES * np.array(list(bins.values()))) > LEAST_P


def test_bins_of_the_noise_that_ships_are_as_full_as_they_should_be() -> None:
    # The sum over the values a..b of the density is its integral from a - 1/2 to b + 1/2 but for sigma^-2 = 10^-12 of it.
    edges = np.arange(-5 * 2**20, 5 * 2**20 + 1, 2**15)
    limits = np.concatenate([[-np.inf], (edges - 0.5) / 2**20, [np.inf]])
    places = np.searchsorted(edges, drawn(NOISE_EXPONENT), side="right")
    observed = np.bincount(places, minlength=edges.size + 1)
    assert goodness(observed, SAMPLES * np.diff(stats.norm.cdf(limits))) > LEAST_P


@pytest.mark.parametrize("exponent", [0, 3, NOISE_EXPONENT])
def test_both_signs_are_equally_frequent(exponent: int) -> None:
    found = drawn(exponent)
    sizes = np.minimum(np.abs(found) >> max(exponent - 1, 0), 8)
    tables = [[np.count_nonzero((sizes == size) & (found * sign > 0)) for size in range(9)] for sign in (1, -1)]
    used = [column for column in zip(*tables, strict=True) if sum(column) > 20]
    assert stats.chi2_contingency(used).pvalue > LEAST_P
    positive = np.count_nonzero(found > 0)
    assert stats.binomtest(positive, np.count_nonzero(found)).pvalue > LEAST_P


@pytest.mark.parametrize("exponent", [0, 3, NOISE_EXPONENT, MAX_EXPONENT])
def test_mean_and_variance(exponent: int) -> None:
    scaled = drawn(exponent) / 2**exponent
    # Variance of the discrete Gaussian: sigma^2 to within 10^-6 even for sigma = 1.
    assert abs(scaled.mean()) < 4 / np.sqrt(SAMPLES)
    assert abs(scaled.var() - 1) < 4 * np.sqrt(2 / SAMPLES)


def test_tails_are_neither_cut_off_nor_fat() -> None:
    count = 10**6
    sizes = np.abs(drawn(NOISE_EXPONENT, count))
    for deviations in (3, 4, 5):
        beyond = np.count_nonzero(sizes > deviations * LOCAL_SIGMA)
        assert stats.poisson.sf(beyond - 1, 2 * count * stats.norm.sf(deviations)) > LEAST_P, deviations
        assert stats.poisson.cdf(beyond, 2 * count * stats.norm.sf(deviations)) > LEAST_P, deviations
    assert np.count_nonzero(sizes > 6 * LOCAL_SIGMA) <= 1  # 0.002 are expected


def test_lower_bits_are_uniform_and_neighbours_independent() -> None:
    found = drawn(NOISE_EXPONENT)
    assert stats.chisquare(np.bincount(found & 255)).pvalue > LEAST_P
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / np.sqrt(SAMPLES)


def test_agrees_with_opendp() -> None:
    ours, theirs = drawn(NOISE_EXPONENT, 40_000), opendp_sampler.sample_noise(40_000)
    # OpenDP takes no key: a false alarm once in 10^9 runs.
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-9
    assert stats.mannwhitneyu(np.abs(ours), np.abs(theirs)).pvalue > 1e-9


# What else is promised.


def test_the_same_key_gives_the_same_samples_everywhere() -> None:
    key = bytes(range(32))
    pinned = [1085682, -1766313, -470749, -2540104, -76824, -410578, 1081640, -1164083]
    assert discrete_gaussian(ExactDraws(key_stream(key)), NOISE_EXPONENT, 8).tolist() == pinned
    pinned = [-2, 4, -2, 3, 0, -2, 0, 1, -1, 1, 1, 2, 1, -2, 0, 4]
    assert discrete_gaussian(ExactDraws(key_stream(key)), 1, 16).tolist() == pinned
    several_blocks = discrete_gaussian(ExactDraws(key_stream(key)), NOISE_EXPONENT, 3 * BLOCK + 1).astype("<i8")
    pinned_digest = "7765817e3a582b90edb2d90d12a8412215ce67ddc4e5d139cc22a3ab7cf71cc8"
    assert hashlib.sha256(several_blocks.tobytes()).hexdigest() == pinned_digest


def test_another_key_gives_other_samples_and_every_call_has_its_own() -> None:
    assert not np.array_equal(drawn(NOISE_EXPONENT, 8, "one"), drawn(NOISE_EXPONENT, 8, "two"))
    assert not np.array_equal(sample_noise(8), sample_noise(8))


def test_what_a_session_draws_has_the_sigma_that_its_privacy_rests_on() -> None:
    """Not the sampler with some exponent, but the one function that sessions call; the bounds are ten standard deviations."""
    samples = sample_noise(20_000).astype(np.float64)
    assert 0.9 < np.mean(samples**2) / LOCAL_SIGMA**2 < 1.1


@pytest.mark.parametrize("count", [0, 1, 2, BLOCK, 3 * BLOCK + 1])
def test_any_number_can_be_drawn(count: int) -> None:
    found = sample_noise(count)
    assert found.shape == (count,)
    assert found.dtype == np.int64


@pytest.mark.parametrize("exponent", [-1, MAX_EXPONENT + 1])
def test_a_sigma_that_would_overflow_is_refused(exponent: int) -> None:
    with pytest.raises(ValueError, match="found a ="):
        drawn(exponent, 1)


def test_the_largest_exponents_do_not_overflow() -> None:
    furthest = (127 * 2**MAX_EXPONENT + 2**MAX_EXPONENT - 1) - 2**MAX_EXPONENT
    assert furthest**2 < 2**62
    draws = ExactDraws(key_stream(bytes(32)))
    wholes = np.array([furthest**2, 0], dtype=np.uint64)
    assert bernoulli_exp(draws, np.tile(wholes, 100), 2 * MAX_EXPONENT + 1).tolist() == [False, True] * 100


@pytest.mark.parametrize("word", [b"\x00", b"\x01"])
def test_a_broken_source_ends_in_an_error_rather_than_in_noise(word: bytes) -> None:
    draws = ExactDraws(lambda size: word * size)
    with pytest.raises(PrivacyError, match="key stream is broken"):
        discrete_gaussian(draws, NOISE_EXPONENT, 10)


def test_a_series_that_never_ends_is_an_error() -> None:
    draws = ExactDraws(bytes)  # zeros only: every Bernoulli of a probability above 0 succeeds
    with pytest.raises(PrivacyError, match="key stream is broken"):
        bernoulli_exp_fraction(draws, np.ones(3, dtype=np.uint64), 3)
    with pytest.raises(PrivacyError, match="key stream is broken"):
        bernoulli_inverse_e(draws, 3)


class Succeeding(ExactDraws):
    """So many draws of Bernoulli(exp(-1)) succeed, whose series end with A_3, and then one fails."""

    def __init__(self, times: int) -> None:
        super().__init__(bytes)
        self.left = times

    def bernoulli_reciprocal(self, divisor: int, count: int) -> NDArray[np.bool_]:
        if divisor > 2:
            return np.zeros(count, dtype=np.bool_)
        self.left -= 1
        return np.full(count, self.left >= 0)


def test_a_geometric_draw_ends_where_its_probability_does() -> None:
    """A value above 127 has one below 2^-184; to stop earlier would cut the distribution off."""
    assert geometric(Succeeding(127), 3).tolist() == [127] * 3
    with pytest.raises(PrivacyError, match="key stream is broken"):
        geometric(Succeeding(128), 3)


def test_intermediate_values_are_integers() -> None:
    draws = ExactDraws(key_stream(bytes(32)))
    magnitudes, negative = discrete_laplace(draws, NOISE_EXPONENT, 1000)
    assert magnitudes.dtype == np.uint64
    assert negative.dtype == np.bool_
    assert geometric(draws, 1000).dtype == np.uint64
    assert bernoulli_exp(draws, magnitudes, NOISE_EXPONENT).dtype == np.bool_
    assert kept_candidates(draws, NOISE_EXPONENT, 1000).dtype == np.int64


@pytest.mark.parametrize("module", [exact_draws, integer_sampler])
def test_no_floating_point_number_is_written_in_the_sampler(module: object) -> None:
    path = Path(str(getattr(module, "__file__", "")))
    banned = {
        "float",
        "float16",
        "float32",
        "float64",
        "longdouble",
        "math",
        "exp",
        "log",
        "sqrt",
        "true_divide",
        "random",
    }
    for node in ast.walk(ast.parse(path.read_text())):
        place = f"{path.name}:{getattr(node, 'lineno', '')}"
        assert not isinstance(node, ast.Div), f"{place}: true division"
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float | complex)), f"{place}: float"
        for name in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None)):
            assert name not in banned, f"{place}: {name}"


def test_memory_beyond_the_samples_does_not_grow_with_their_number() -> None:
    sample_noise(10)
    tracemalloc.start()
    try:
        found = sample_noise(30 * BLOCK)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - found.nbytes < 100 * BLOCK
