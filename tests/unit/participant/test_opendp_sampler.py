"""The noise from OpenDP has the distribution that the privacy proof counts on."""

from __future__ import annotations

import numpy as np
from scipy import stats

from vdb_participant.noise.opendp_sampler import BLOCK, sample_noise
from vdb_shared.privacy.calibration import LOCAL_SIGMA

SAMPLES = 40_000


def test_has_the_mean_deviation_and_shape_of_the_discrete_gaussian() -> None:
    found = sample_noise(SAMPLES)
    assert found.dtype == np.int64
    assert found.shape == (SAMPLES,)
    scaled = found / LOCAL_SIGMA
    # Bounds of 6 deviations of each estimate: a false alarm once in 5e8 runs.
    assert abs(scaled.mean()) < 6 / np.sqrt(SAMPLES)
    assert abs(scaled.var() - 1) < 6 * np.sqrt(2 / SAMPLES)
    assert abs(stats.skew(scaled)) < 6 * np.sqrt(6 / SAMPLES)
    assert abs(stats.kurtosis(scaled)) < 6 * np.sqrt(24 / SAMPLES)
    # At sigma = 2^20 the steps are far below what this many samples resolve, so the continuous law is the reference.
    assert stats.kstest(scaled, "norm").pvalue > 1e-9


def test_lanes_are_integers_of_both_parities_and_signs() -> None:
    found = sample_noise(2000)
    assert 800 < np.count_nonzero(found % 2) < 1200
    assert 800 < np.count_nonzero(found > 0) < 1200


def test_draws_are_independent_of_each_other() -> None:
    found = sample_noise(SAMPLES) / LOCAL_SIGMA
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 6 / np.sqrt(SAMPLES)
    assert not np.array_equal(sample_noise(8), sample_noise(8))


def test_any_number_can_be_drawn() -> None:
    assert sample_noise(0).shape == (0,)
    assert sample_noise(1).shape == (1,)
    assert sample_noise(BLOCK + 3).shape == (BLOCK + 3,)
