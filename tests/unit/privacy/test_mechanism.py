"""Encoding keeps neighbours close, decodes to what went in, and never overflows silently."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.features import (
    clip_to_ball,
    feature_moments,
    outcome,
    random_fourier_features,
    random_fourier_frequencies,
    score_moments,
)
from vdb_shared.metrics.statistic import Block, Layout, Statistics, Tally, pooled
from vdb_shared.privacy.calibration import LOCAL_SIGMA, Promise, calibrate
from vdb_shared.privacy.mechanism import decode, encode, noise_level, uniform_bytes_needed

DIMENSION = 3
FREQUENCIES = random_fourier_frequencies("sha256:" + "a" * 64, DIMENSION, 16, 1.0)
SAMPLES = 2
LAYOUT = Layout(
    (
        Block("reference/clips/count", 1, 1, private=True),
        Block("reference/clips/f/moments", 9, 2, private=True, weight=Decimal("0.7")),
        Block("reference/clips/k/embedding", 16, 1, private=True, weight=Decimal("1.3")),
        Block("private/alpha/count", 2, SAMPLES**2, private=True, clips=SAMPLES),
        Block("private/alpha/s/moments", 2, 2 * SAMPLES**2, private=True, clips=SAMPLES),
        Block("private/alpha/f/moments", 9, 2 * SAMPLES**2, private=True, clips=SAMPLES),
        Block("public/alpha/s/moments", 2, 2, private=False),
    )
)
PROMISE = Promise("distributed-discrete-gaussian", Decimal(2), Decimal("1e-6"), 500, 6, 5, 1, 1000)
CALIBRATION = calibrate(PROMISE, LAYOUT)
PRIVATE = [block for block in LAYOUT.blocks if block.private]


def add_record(tally: Tally, generator: np.random.Generator, extreme: float) -> None:
    """Add one record, a reference clip and a prompt with its samples, to everything it touches."""
    clip, _ = clip_to_ball(generator.normal(size=DIMENSION) * extreme)
    tally.add("reference/clips/count", np.ones(1))
    tally.add("reference/clips/f/moments", feature_moments(clip))
    tally.add("reference/clips/k/embedding", random_fourier_features(clip, FREQUENCIES))
    for _ in range(SAMPLES):
        features, _ = clip_to_ball(generator.normal(size=DIMENSION) * extreme)
        succeeded = bool(generator.random() < 0.8)
        tally.add("private/alpha/count", outcome(succeeded))
        if succeeded:
            tally.add("private/alpha/s/moments", score_moments(float(generator.choice([0.0, generator.random(), 1.0]))))
            tally.add("private/alpha/f/moments", feature_moments(features))


def site(seed: int, records: int, extreme: float = 2.0) -> dict[str, NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    tally = Tally(LAYOUT, capacity=1000)
    for _ in range(records):
        add_record(tally, generator, extreme)
        tally.add("public/alpha/s/moments", score_moments(float(generator.random())))
    return tally.sums()


def entropy(seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(uniform_bytes_needed(LAYOUT, CALIBRATION))


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.floats(0.01, 100))
@settings(max_examples=60)
def test_one_record_moves_statistics_by_at_most_the_clipping_norm(seed: int, records: int, extreme: float) -> None:
    generator = np.random.default_rng(seed)
    tally = Tally(LAYOUT, capacity=1000)
    for _ in range(records):
        add_record(tally, generator, 2.0)
    before = tally.sums()
    add_record(tally, generator, extreme)
    after = tally.sums()
    square = sum(float(block.weight) ** 2 * np.sum((after[block.name] - before[block.name]) ** 2) for block in PRIVATE)
    assert square <= float(LAYOUT.clip_norm_squared()) * (1 + 1e-12)
    for block in PRIVATE:
        assert np.sum((after[block.name] - before[block.name]) ** 2) <= block.bound_squared * (1 + 1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.floats(0.01, 100))
@settings(max_examples=60)
def test_one_record_moves_lanes_by_at_most_the_sensitivity(seed: int, records: int, extreme: float) -> None:
    generator = np.random.default_rng(seed)
    tally = Tally(LAYOUT, capacity=1000)
    for _ in range(records):
        add_record(tally, generator, 2.0)
    uniforms = entropy(seed)
    before = encode(LAYOUT, CALIBRATION, tally.sums(), uniforms)
    add_record(tally, generator, extreme)
    after = encode(LAYOUT, CALIBRATION, tally.sums(), uniforms)
    moved = sum(int(step) ** 2 for step in after - before)
    assert Decimal(moved).sqrt() <= CALIBRATION.sensitivity


def test_the_sensitivity_bound_is_nearly_reached_so_it_is_not_idle() -> None:
    empty = {block.name: np.zeros(block.dims) for block in LAYOUT.blocks}
    worst = {
        block.name: np.full(block.dims, math.sqrt(block.bound_squared / block.dims)) if block.private else zeros
        for block, zeros in zip(LAYOUT.blocks, empty.values(), strict=True)
    }
    uniforms = entropy(1)
    moved = encode(LAYOUT, CALIBRATION, worst, uniforms) - encode(LAYOUT, CALIBRATION, empty, uniforms)
    assert math.sqrt(sum(int(step) ** 2 for step in moved)) > 0.999 * float(CALIBRATION.sensitivity)


def test_stochastic_rounding_is_exact_and_unbiased() -> None:
    """Against rational arithmetic: floor(x s w + u)."""
    statistics = site(1, 5)
    uniforms = entropy(2)
    lanes = encode(LAYOUT, CALIBRATION, statistics, uniforms)
    words = [Fraction(int(word), 2**64) for word in np.frombuffer(uniforms, dtype="<u8")]
    scales = CALIBRATION.block_scales(LAYOUT)
    wanted = [
        math.floor(Fraction(float(value)) * Fraction(scales[block.name]) + words.pop(0))
        for block in PRIVATE
        for value in statistics[block.name]
    ]
    assert list(lanes[: LAYOUT.private_lanes]) == wanted
    draws = [encode(LAYOUT, CALIBRATION, statistics, entropy(seed))[1] for seed in range(2000)]
    exact = statistics["reference/clips/f/moments"][0] * scales["reference/clips/f/moments"]
    assert abs(np.mean(draws) - exact) < 0.05
    assert set(draws) == {math.floor(exact), math.floor(exact) + 1}


def assert_close(found: Statistics, wanted: Statistics, tolerance: float) -> None:
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance)


def test_without_noise_federated_statistics_are_the_pooled_ones() -> None:
    switched_off = calibrate(replace(PROMISE, mechanism="none"), LAYOUT)
    sites = [site(seed, 20 + seed) for seed in range(7)]
    totals = np.sum([encode(LAYOUT, switched_off, part, b"") for part in sites], axis=0)
    assert_close(decode(LAYOUT, switched_off, totals), pooled(LAYOUT, tuple(sites)), 1e-9)


def test_with_noise_public_lanes_stay_exact_and_private_ones_lose_rounding_only() -> None:
    sites = [site(seed, 20) for seed in range(5)]
    totals = np.sum([encode(LAYOUT, CALIBRATION, part, entropy(seed)) for seed, part in enumerate(sites)], axis=0)
    found, wanted = decode(LAYOUT, CALIBRATION, totals), pooled(LAYOUT, tuple(sites))
    np.testing.assert_allclose(found["public/alpha/s/moments"], wanted["public/alpha/s/moments"], rtol=1e-9)
    for name, scale in CALIBRATION.block_scales(LAYOUT).items():
        assert np.max(np.abs(found[name] - wanted[name])) <= 5 / scale


def test_the_published_noise_level_is_the_noise() -> None:
    level = noise_level(LAYOUT, CALIBRATION, 5)
    assert level is not None
    scales = CALIBRATION.block_scales(LAYOUT)
    generator = np.random.default_rng(0)
    drawn = np.rint(generator.normal(size=(5, 4000)) * LOCAL_SIGMA).sum(axis=0) / scales["reference/clips/f/moments"]
    assert level.of("reference/clips/f/moments") == pytest.approx(np.std(drawn), rel=0.05)
    assert level.of("public/alpha/s/moments") == 0.0
    assert level.of("reference/clips/count") / level.of("reference/clips/f/moments") == pytest.approx(0.7, rel=1e-6)
    assert noise_level(LAYOUT, calibrate(replace(PROMISE, mechanism="none"), LAYOUT), 5) is None


def test_what_does_not_fit_is_refused() -> None:
    good = site(1, 2)
    with pytest.raises(ValueError, match="uniform bytes"):
        encode(LAYOUT, CALIBRATION, good, b"")
    with pytest.raises(StatisticError, match="reaches"):
        encode(LAYOUT, CALIBRATION, good | {"public/alpha/s/moments": np.array([1e9, 0.0])}, entropy(1))
    with pytest.raises(StatisticError, match="reaches"):
        encode(LAYOUT, CALIBRATION, good | {"reference/clips/count": np.array([-1e15])}, entropy(1))
    with pytest.raises(StatisticError, match="lanes"):
        decode(LAYOUT, CALIBRATION, np.zeros(3, dtype=np.int64))


def test_a_full_site_fits_its_lanes() -> None:
    full = {block.name: np.full(block.dims, 1000.0) for block in LAYOUT.blocks}
    lanes = encode(LAYOUT, CALIBRATION, full, entropy(1))
    assert int(np.max(np.abs(lanes))) + 12 * LOCAL_SIGMA < 2**47


@given(st.integers(1, 5000))
def test_encoding_public_sums_rounds_nothing(capacity: int) -> None:
    """Sums lie on the very grid of the public lanes, so the federated value is the pooled one to the last bit."""
    layout = Layout((Block("public/alpha/x/moments", 2, 2, private=False),))
    tally = Tally(layout, capacity=capacity)
    for number in range(min(capacity, 50)):
        tally.add("public/alpha/x/moments", np.array([1 / (number + 3), -math.sqrt(number + 1) / 9]))
    promise = replace(PROMISE, capacity=capacity)
    calibration = calibrate(promise, layout)
    lanes = encode(layout, calibration, tally.sums(), b"")
    np.testing.assert_array_equal(
        decode(layout, calibration, lanes)["public/alpha/x/moments"], tally.sums()["public/alpha/x/moments"]
    )
