"""Coverage counts what both sides share, by hand and under noise."""

from __future__ import annotations

import numpy as np
import pytest

from vdb_shared.metrics.coverage import CellSums, coverage_family, overlap


def cells(*counts: float) -> CellSums:
    return CellSums(np.array(counts), float(sum(counts)))


def test_is_what_a_hand_counts() -> None:
    assert overlap(cells(4, 4, 2), cells(10, 0, 10))[0] == pytest.approx(0.4 + 0.0 + 0.2)
    assert overlap(cells(3, 3), cells(7, 7))[0] == pytest.approx(1.0)
    assert overlap(cells(5, 0), cells(0, 8))[0] == 0.0


def test_a_model_that_dropped_a_mode_is_told_from_one_that_did_not() -> None:
    generator = np.random.default_rng(0)
    shares = np.full(8, 1 / 8)
    lost = np.array([0.25, 0.25, 0.25, 0.25, 0, 0, 0, 0])
    reference, whole, half = (
        CellSums(generator.multinomial(800, p).astype(float), 800.0) for p in (shares, shares, lost)
    )
    family = coverage_family(reference, {"whole": whole, "half": half})
    assert family.comparisons["whole", "half"].apart(3.0)
    assert family.estimates["half"].value == pytest.approx(0.5, abs=0.06)


def test_intervals_hold_what_so_many_clips_give_on_average_with_noise_too() -> None:
    generator = np.random.default_rng(1)
    p, q = generator.dirichlet(np.ones(16)), generator.dirichlet(np.ones(16))
    truth = float(np.minimum(p, q).sum())
    held = 0
    for _ in range(200):
        a = generator.multinomial(3000, p) + generator.normal(size=16) * 6
        b = generator.multinomial(3000, q).astype(float)
        found = coverage_family(CellSums(a, 3000.0, 6.0), {"m": CellSums(b, 3000.0)}).estimates["m"]
        held += found.low <= truth <= found.high
    assert held >= 184


@pytest.mark.parametrize(("anchors", "count"), [(64, 500), (256, 1000), (64, 5000), (16, 200)])
def test_intervals_hold_the_overlap_of_equal_distributions_although_few_clips_hide_some(
    anchors: int, count: int
) -> None:
    generator = np.random.default_rng(3)
    shares = generator.dirichlet(np.ones(anchors))
    held = 0
    for _ in range(100):
        sides = (CellSums(generator.multinomial(count, shares).astype(float), float(count)) for _ in range(2))
        found = coverage_family(next(sides), {"m": next(sides)}).estimates["m"]
        assert found.value < 1.0
        held += found.high >= 1.0 - 0.02
    assert held >= 95


@pytest.mark.parametrize(("anchors", "count", "noise"), [(64, 500, 5.0), (256, 1000, 5.0), (256, 1000, 20.0)])
def test_intervals_hold_the_overlap_of_disjoint_distributions_although_noise_invents_some(
    anchors: int, count: int, noise: float
) -> None:
    generator = np.random.default_rng(4)
    half = anchors // 2
    held = 0
    for _ in range(100):
        a, b = np.zeros(anchors), np.zeros(anchors)
        a[:half], b[half:] = (generator.multinomial(count, np.full(half, 1 / half)) for _ in range(2))
        noised = CellSums(a + noise * generator.normal(size=anchors), float(count), noise)
        found = coverage_family(noised, {"m": CellSums(b, float(count))}).estimates["m"]
        assert found.value > 0.02
        held += found.low <= 0.0 + 1e-9
    assert held >= 95


def test_equal_models_with_other_numbers_of_clips_are_not_told_apart() -> None:
    generator = np.random.default_rng(5)
    shares = np.full(64, 1 / 64)
    apart = 0
    for _ in range(100):
        reference, few, many = (
            CellSums(generator.multinomial(count, shares).astype(float), float(count)) for count in (2000, 200, 2000)
        )
        apart += coverage_family(reference, {"few": few, "many": many}).comparisons["few", "many"].apart(1.96)
    assert apart <= 5
