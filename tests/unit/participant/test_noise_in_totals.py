"""The noise in what a session publishes: of both samplers, summed over the survivors, as large as is said and shaped as proven.

Entropy is the operating system's, so every bound leaves a false alarm once in some 10^9 runs.
"""

from __future__ import annotations

import math
import os
from functools import cache
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from testkit.metric_specs import CLIP_SCORE, KERNEL, make_spec
from vdb_participant.noise.samplers import SAMPLERS
from vdb_participant.session.contribution import noised_lanes
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.calibration import LOCAL_SIGMA
from vdb_shared.privacy.mechanism import decode, noise_level
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import Sampler

JOINED = 6
SURVIVORS = (5, 6)
LEAST_P = 1e-9
SAMPLES = 40_000


@cache
def published(sampler: Sampler, survivors: int) -> tuple[SealTerms, Statistics]:
    """What is decoded from the sum of so many sites that have no records: noise and rounding, nothing else."""
    # Nine thousand private lanes and more, of two weights, and public ones.
    spec = make_spec(
        [
            KERNEL | {"inputs": "private", "features": 3072},
            CLIP_SCORE | {"inputs": "private", "weight": "0.5"},
            CLIP_SCORE,
        ],
        generation={"private_share": 1},
        privacy={"sampler": sampler},
    )
    terms = seal_terms(spec, range(JOINED))
    nothing = {block.name: np.zeros(block.dims) for block in terms.layout.blocks}
    total = np.zeros(terms.layout.lanes, dtype=np.int64)
    for _ in range(survivors):
        total += noised_lanes(spec, terms, nothing, os.urandom, SAMPLERS)
    return terms, decode(terms.layout, terms.calibration, total)


def standardised(sampler: Sampler, survivors: int) -> NDArray[np.float64]:
    """Noise of every private lane in units of the deviation that is published for its block."""
    terms, found = published(sampler, survivors)
    level = noise_level(terms.layout, terms.calibration, survivors)
    assert level is not None
    return np.concatenate([found[block.name] / level.of(block.name) for block in terms.layout.blocks if block.private])


@pytest.mark.parametrize("survivors", SURVIVORS)
@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_the_noise_of_a_decoded_total_is_as_large_as_is_published(sampler: Sampler, survivors: int) -> None:
    """The sum of squares has the chi-square law with one degree of freedom for each lane, in either direction."""
    scaled = standardised(sampler, survivors)
    assert scaled.size > 9000
    square = float(np.sum(scaled**2))
    assert stats.chi2.cdf(square, scaled.size) > LEAST_P
    assert stats.chi2.sf(square, scaled.size) > LEAST_P
    # One survivor more or less would be seen.
    for other in (survivors - 1, survivors + 1):
        off = square * survivors / other
        assert min(stats.chi2.cdf(off, scaled.size), stats.chi2.sf(off, scaled.size)) < 1e-4


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_the_noise_of_a_decoded_total_is_gaussian_and_on_private_lanes_alone(sampler: Sampler) -> None:
    terms, found = published(sampler, SURVIVORS[0])
    scaled = standardised(sampler, SURVIVORS[0])
    assert stats.kstest(scaled, "norm").pvalue > LEAST_P
    assert abs(scaled.mean()) < 6 / math.sqrt(scaled.size)
    assert not any(found[block.name].any() for block in terms.layout.blocks if not block.private)


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_block_has_the_deviation_published_for_it(sampler: Sampler) -> None:
    """Blocks of another weight have another: half the weight, twice the noise in the statistic's units."""
    terms, found = published(sampler, SURVIVORS[0])
    level = noise_level(terms.layout, terms.calibration, SURVIVORS[0])
    assert level is not None
    for block in terms.layout.blocks:
        if block.private and block.dims > 500:
            deviation = float(np.std(found[block.name]))
            assert deviation == pytest.approx(level.of(block.name), rel=6 / math.sqrt(2 * block.dims))
    light = level.of("private/alpha/clip-score@1/moments")
    assert light / level.of("private/alpha/mmd-rff@1/embedding") == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_no_two_sites_and_no_two_sessions_share_noise(sampler: Sampler) -> None:
    first, second = (SAMPLERS[sampler](SAMPLES // 4) / LOCAL_SIGMA for _ in range(2))
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 6 / math.sqrt(first.size)
    assert abs(float(np.corrcoef(first**2, second**2)[0, 1])) < 6 / math.sqrt(first.size)


def cell_masses(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the exact masses of the discrete Gaussian between edges: (edges + 1,).

    At sigma = 2^20 the sum of exp(-y^2/2 sigma^2) over a <= y < b is the integral from a - 1/2 to b - 1/2 but for a share of
    sigma^-2 = 10^-12 (Euler & Maclaurin), which no number of samples resolves.
    """
    limits = np.concatenate([[-np.inf], (edges - 0.5) / LOCAL_SIGMA, [np.inf]])
    return np.diff(stats.norm.cdf(limits))


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_what_each_sampler_ships_fits_the_exact_law(sampler: Sampler) -> None:
    found = SAMPLERS[sampler](SAMPLES)
    edges = np.arange(-3 * LOCAL_SIGMA, 3 * LOCAL_SIGMA + 1, LOCAL_SIGMA // 8)
    observed = np.bincount(np.searchsorted(edges, found, side="right"), minlength=edges.size + 1)
    assert stats.chisquare(observed, SAMPLES * cell_masses(edges)).pvalue > LEAST_P
    # The same test sees a deviation that is wrong by 8 %.
    wrong = np.bincount(np.searchsorted(edges, (found * 1.08).astype(np.int64), side="right"), minlength=edges.size + 1)
    assert stats.chisquare(wrong, SAMPLES * cell_masses(edges)).pvalue < LEAST_P


def test_the_masses_are_those_of_the_discrete_law_where_it_can_be_summed() -> None:
    """Over one cell of 10,000 values around the mean and one around three deviations, term by term."""
    normaliser = LOCAL_SIGMA * math.sqrt(2 * math.pi)
    for begin in (-5000, 3 * LOCAL_SIGMA):
        edges = np.array([begin, begin + 10_000])
        values = np.arange(begin, begin + 10_000, dtype=np.float64)
        summed = float(np.sum(np.exp(-((values / LOCAL_SIGMA) ** 2) / 2))) / normaliser
        assert cell_masses(edges)[1] == pytest.approx(summed, rel=1e-9)
