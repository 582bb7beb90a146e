"""A membership inference attack on the published sum: it wins without noise and keeps to epsilon's bound with it.

The attacker knows every record, the target's included, and wants to know whether the target took part: the strongest
attacker that differential privacy speaks of. Its statistic, the projection on the target's contribution, is the best one
against Gaussian noise (Neyman & Pearson).
"""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from vdb_shared.metrics.features import clip_to_ball, feature_moments
from vdb_shared.metrics.statistic import Block, Layout, Tally
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.calibration import LOCAL_SIGMA, Calibration, Promise, calibrate
from vdb_shared.privacy.mechanism import decode, encode, uniform_bytes_needed

LAYOUT = Layout(
    (Block("reference/clips/count", 1, 1, private=True), Block("reference/clips/f/moments", 44, 2, private=True))
)
SITES = 3
COLLUDING = 1
TRIALS = 1000
PROMISE = Promise("distributed-discrete-gaussian", Decimal(1), Decimal("1e-5"), 100, SITES, SITES, COLLUDING, 100)


def records() -> list[NDArray[np.float64]]:
    generator = np.random.default_rng(4)
    return [feature_moments(clip_to_ball(generator.normal(size=8))[0]) for _ in range(20)]


def lanes_of(calibration: Calibration, *, member: bool, generator: np.random.Generator) -> NDArray[np.int64]:
    """One site's lanes with or without its first record, and the other honest site's; the colluding one adds no noise."""
    total = np.zeros(LAYOUT.lanes, dtype=np.int64)
    for number in range(SITES - COLLUDING):
        tally = Tally(LAYOUT, capacity=100)
        for place, record in enumerate(records()):
            if member or number or place:
                tally.add("reference/clips/count", np.ones(1))
                tally.add("reference/clips/f/moments", record)
        uniforms = generator.bytes(uniform_bytes_needed(LAYOUT, calibration))
        total += encode(LAYOUT, calibration, tally.sums(), uniforms)
    return total


def advantage(calibration: Calibration) -> float:
    """True positives less false positives of the best threshold test, over fresh noise in every trial."""
    generator = np.random.default_rng(11)
    inside, outside = (lanes_of(calibration, member=member, generator=generator) for member in (True, False))
    direction = np.concatenate([[1.0], records()[0]])

    def scores(lanes: NDArray[np.int64]) -> NDArray[np.float64]:
        found = []
        for _ in range(TRIALS):
            noise = np.zeros(LAYOUT.lanes)
            if calibration.noised:
                honest = generator.normal(size=(SITES - COLLUDING, LAYOUT.lanes)) * LOCAL_SIGMA
                noise = np.rint(honest).sum(axis=0)
            published = decode(LAYOUT, calibration, lanes + noise.astype(np.int64))
            found.append(float(np.concatenate(list(published.values())) @ direction))
        return np.array(found)

    with_target, without = scores(inside), scores(outside)
    threshold = (np.mean(with_target) + np.mean(without)) / 2
    return float(np.mean(with_target > threshold) - np.mean(without > threshold))


def bound(epsilon: float, delta: float) -> float:
    """Largest advantage under (epsilon, delta): (e^epsilon - 1 + 2 delta) / (e^epsilon + 1) (Kairouz, Oh & Viswanath 2015)."""
    return (math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1)


def test_the_attack_succeeds_without_noise() -> None:
    assert advantage(calibrate(replace(PROMISE, mechanism="none"), LAYOUT)) == 1.0


def test_the_attack_stays_below_the_bound_with_noise() -> None:
    calibration = calibrate(PROMISE, LAYOUT)
    epsilon = account(calibration).epsilon
    assert epsilon is not None
    slack = 3 * math.sqrt(2 * 0.25 / TRIALS)
    assert advantage(calibration) <= bound(float(epsilon), 1e-5) + slack


def test_the_attack_beats_the_bound_when_the_noise_is_too_small() -> None:
    """So the test above can fail: lanes scaled 8 times too large break the promise visibly."""
    calibration = calibrate(PROMISE, LAYOUT)
    forged = replace(calibration, scale=(calibration.scale or Decimal(0)) * 8)
    assert advantage(forged) > bound(1.0, 1e-5) + 0.1


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_the_bound_lies_between_guessing_and_certainty(epsilon: float) -> None:
    assert 0 <= bound(epsilon, 0.0) < 1
