"""Conversions agree with an independent computation and always round upward."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from vdb_shared.privacy.conversion import epsilon_of_rho, gaussian_epsilon_of_rho, rho_of_multiplier, round_rho

DELTA = Decimal("0.000001")


def continuous_conversion(rho: float, delta: float) -> float:
    """Canonne, Kamath & Steinke 2020, proposition 12, minimised over all orders."""

    def epsilon(log_order: float) -> float:
        order = 1 + math.exp(log_order)
        return order * rho + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)

    return float(optimize.minimize_scalar(epsilon, bounds=(-3, 12), method="bounded").fun)


def analytic_gaussian(sigma: float, delta: float) -> float:
    """Balle & Wang 2018, theorem 8: the exact curve of a Gaussian of sensitivity 1."""

    def excess(epsilon: float) -> float:
        first = stats.norm.cdf(0.5 / sigma - epsilon * sigma)
        return float(first - math.exp(epsilon) * stats.norm.cdf(-0.5 / sigma - epsilon * sigma) - delta)

    return float(optimize.brentq(excess, 0, 100))


@pytest.mark.parametrize("rho", ["0.001", "0.02", "0.3", "1.05", "9"])
def test_epsilon_is_the_best_over_orders_and_never_below(rho: str) -> None:
    """The accountant tries a grid of orders, which is coarse for very small rho only: there it is up to 5 % cautious."""
    best = continuous_conversion(float(rho), 1e-6)
    found = float(epsilon_of_rho(Decimal(rho), DELTA))
    assert best - 1e-9 <= found <= best * (1.05 if best < 0.5 else 1.003) + 2e-6


@pytest.mark.parametrize("multiplier", ["8.06", "4.22", "2.23", "1.19", "0.65", "0.15"])
def test_the_tighter_figure_is_the_exact_gaussian_one_rounded_up(multiplier: str) -> None:
    exact = analytic_gaussian(float(multiplier), 1e-6)
    found = float(gaussian_epsilon_of_rho(rho_of_multiplier(Decimal(multiplier)), DELTA))
    assert exact <= found <= exact * 1.001 + 3e-4


@given(st.decimals("0.0000001", "50", allow_nan=False, places=13))
def test_rho_is_rounded_up_to_ten_digits(rho: Decimal) -> None:
    found = round_rho(rho)
    assert found >= rho
    assert len(found.as_tuple().digits) <= 10
    assert found - rho <= rho * Decimal("1e-9")


def test_epsilon_has_six_decimals_and_grows_with_rho() -> None:
    values = [epsilon_of_rho(Decimal(steps) / 100, DELTA) for steps in range(1, 100)]
    assert values == sorted(values)
    assert {value.as_tuple().exponent for value in values} == {-6}


def test_nothing_spent_is_nothing_lost() -> None:
    assert epsilon_of_rho(Decimal(0), DELTA) == gaussian_epsilon_of_rho(Decimal(0), DELTA) == 0
