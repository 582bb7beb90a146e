"""Published 95 % intervals hold the truth in about 95 of 100 sessions: not less, and not much more.

Populations are finite pools, so the truth is known; sums of a session are how often each clip was drawn times what it adds.
benchmarks/coverage.py does the same with whole sessions, more seeds and more populations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from vdb_shared.canonical import sha256_digest
from vdb_shared.metrics.covariance import CovarianceSums, covariance_share, covariance_sketch
from vdb_shared.metrics.features import random_fourier_frequencies, score_moments
from vdb_shared.metrics.kernel import EmbeddingSums, kernel_family
from vdb_shared.metrics.scores import RateSums, ScoreSums, rate_family, score_family
from vdb_shared.metrics.sketch import Sketch
from vdb_shared.metrics.uncertainty import Estimate

Points = NDArray[np.float64]

MANIFEST = "sha256:" + "a" * 64
CLIPS, FEATURES = 300, 128
SKETCHES = 20


def covered(estimates: list[Estimate], truth: float) -> float:
    return float(np.mean([found.low <= truth <= found.high for found in estimates]))


SCORES: dict[str, Callable[[np.random.Generator], Points]] = {
    "middle": lambda generator: generator.beta(2, 5, size=2000),
    "narrow": lambda generator: 0.31 + 0.02 * generator.normal(size=2000),
    "upper end": lambda generator: generator.beta(50, 1, size=2000),
    "lower end": lambda generator: generator.beta(0.3, 6, size=2000),
}


def means(name: str, clips: int, noise: float, told: float) -> float:
    """Coverage of means over 3000 seeds, with a noise of which the interval is told another size."""
    generator = np.random.default_rng(0)
    pool = SCORES[name](generator)
    moments = np.array([score_moments(min(max(score, 0.0), 1.0)) for score in pool])
    found = []
    for _ in range(3000):
        sums = moments[generator.integers(len(pool), size=clips)].sum(axis=0) + noise * generator.normal(size=2)
        side = ScoreSums(sums, clips + noise * generator.normal(), told, told)
        found.append(score_family({"m": side}, low=0, high=1).estimates["m"])
    return covered(found, float(moments[:, 0].mean()))


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("clips", "noise"), [(150, 0.0), (1000, 8.0)])
def test_intervals_of_means_cover(name: str, clips: int, noise: float) -> None:
    assert 0.93 <= means(name, clips, noise, noise) <= 0.97


def test_intervals_of_means_would_not_cover_without_the_noise() -> None:
    assert means("middle", 400, 3.0, 0.0) < 0.93
    assert means("middle", 400, 3.0, 6.0) > 0.97


@pytest.mark.parametrize("share", [0.02, 0.3, 0.98])
@pytest.mark.parametrize(("clips", "noise"), [(400, 0.0), (400, 3.0)])
def test_intervals_of_rates_cover(share: float, clips: int, noise: float) -> None:
    generator = np.random.default_rng(1)
    found = []
    for events in generator.binomial(clips, share, size=3000):
        noised = noise * generator.normal(size=2)
        side = RateSums(float(events) + noised[0], clips + noised[1], noise, noise)
        found.append(rate_family({"m": side}).estimates["m"])
    assert 0.93 <= covered(found, share) <= 0.97


def clusters(seed: int, shift: float) -> Points:
    """Features of CLIPS clips in four clusters, moved along one axis."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(5).normal(size=(4, 8))
    return np.asarray(
        centres[generator.integers(4, size=CLIPS)] + 0.5 * generator.normal(size=(CLIPS, 8)) + shift * np.eye(8)[0]
    )


@cache
def embedded(seed: int, shift: float) -> Points:
    phases = clusters(seed, shift) @ random_fourier_frequencies(MANIFEST, 8, FEATURES, 4.0).T
    return np.asarray(np.hstack([np.cos(phases), np.sin(phases)]) / np.sqrt(FEATURES / 2))


@cache
def sketch_of(session: int) -> Sketch:
    return covariance_sketch(sha256_digest(bytes([session])), MANIFEST, FEATURES)


@cache
def sketched(seed: int, shift: float, session: int) -> Points:
    return np.array([covariance_share(embedding, sketch_of(session)) for embedding in embedded(seed, shift)])


Population = tuple[int, float]
"""Seed and shift."""


def side(
    generator: np.random.Generator, clips: int, noise: float, population: Population, session: int
) -> EmbeddingSums:
    """One side's sums in a session, noised: the sketch with twice as much, since its weight is half."""
    often = generator.multinomial(clips, np.full(CLIPS, 1 / CLIPS)).astype(np.float64)
    products = often @ sketched(*population, session) + 2 * noise * generator.normal(size=2 * FEATURES)
    return EmbeddingSums(
        often @ embedded(*population) + noise * generator.normal(size=FEATURES),
        clips + noise * generator.normal(),
        noise,
        noise,
        covariance=CovarianceSums(products, sketch_of(session), 2 * noise),
    )


Told = Callable[[EmbeddingSums], EmbeddingSums]
"""What an interval is told of a side."""


@cache
def kernels(shift: float, noise: float, told: Told = lambda side: side) -> float:
    """Coverage of mmd-rff over 500 seeds, 25 for each of 20 sketches; equal populations for a shift of 0."""
    population = (2 if shift else 1, shift)
    truth = float(np.sum((embedded(1, 0.0).mean(axis=0) - embedded(*population).mean(axis=0)) ** 2))
    generator, found = np.random.default_rng(2), []
    for seed in range(500):
        session = seed % SKETCHES
        reference = told(side(generator, 600, noise, (1, 0.0), session))
        model = told(side(generator, 200, 0.0, population, session))
        found.append(kernel_family(reference, {"m": model}).estimates["m"])
    return covered(found, truth)


KERNELS = [(2.0, 0.0), (2.0, 12.0), (0.5, 0.0), (0.5, 12.0), (0.0, 0.0), (0.0, 12.0)]


@pytest.mark.parametrize(("shift", "noise"), KERNELS)
def test_intervals_of_kernel_distances_cover(shift: float, noise: float) -> None:
    """500 seeds have a binomial error of 1.9 %, which is allowed beyond 93 % and 97 %; the sum over all has it not."""
    assert 0.93 - 0.019 <= kernels(shift, noise) <= 0.97 + 0.019


def test_intervals_of_kernel_distances_cover_over_all() -> None:
    assert 0.93 <= np.mean([kernels(shift, noise) for shift, noise in KERNELS]) <= 0.97


def without_sampling(side: EmbeddingSums) -> EmbeddingSums:
    """A side whose vectors have no spread at all."""
    return replace(side, squares=0.0, covariance=None)


def test_intervals_of_kernel_distances_would_not_cover_otherwise() -> None:
    """Without sampling's part, and with the trace for every direction."""
    assert kernels(2.0, 0.0, without_sampling) < 0.911
    assert kernels(2.0, 0.0, lambda side: replace(side, covariance=None)) > 0.989
