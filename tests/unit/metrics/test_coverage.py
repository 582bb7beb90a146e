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
