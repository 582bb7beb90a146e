"""Conversions agree with an independent computation and always round upward."""

from __future__ import annotations

import math
from decimal import Decimal

import dp_accounting
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from vdb_shared.privacy import conversion
from vdb_shared.privacy.closed_forms import ORDERS, gaussian_epsilon, zcdp_epsilon
from vdb_shared.privacy.conversion import (
    DP_ACCOUNTING,
    FORMULAS,
    epsilon_of_rho,
    gaussian_epsilon_of_rho,
    rho_of_multiplier,
    round_rho,
)

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


RHOS = st.floats(-6.5, 1.7).map(lambda power: round_rho(Decimal(10**power)))
DELTAS = st.floats(-13.5, -2).map(lambda power: round_rho(Decimal(10**power)))


@settings(max_examples=300)
@given(RHOS, DELTAS)
def test_the_formulas_and_the_library_give_the_same_digits_of_the_claim(rho: Decimal, delta: Decimal) -> None:
    assert FORMULAS.zcdp(rho, delta) == DP_ACCOUNTING.zcdp(rho, delta)


@settings(max_examples=150)
@given(RHOS, DELTAS)
def test_the_formulas_and_the_library_give_the_same_digits_of_the_tighter_figure(rho: Decimal, delta: Decimal) -> None:
    assert FORMULAS.gaussian(rho, delta) == DP_ACCOUNTING.gaussian(rho, delta)


@settings(max_examples=150)
@given(st.floats(-5, 1.3), st.floats(-9, -1))
def test_the_librarys_figure_is_above_the_exact_one_by_no_more_than_the_formulas_allow(
    rho: float, delta: float
) -> None:
    """What the equality of digits rests on: a library that turned coarser would be found here first."""
    exact = gaussian_epsilon(10**rho, 10**delta)
    library = dp_accounting.pld.PLDAccountant(
        neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
        value_discretization_interval=1e-4 * max(1.0, zcdp_epsilon(10**rho, 10**delta)),
    )
    library.compose(dp_accounting.GaussianDpEvent(1 / math.sqrt(2 * 10**rho)))
    assert -1e-11 <= library.get_epsilon(10**delta) - exact <= 2e-6 + 4e-7 * max(1.0, exact)


@pytest.mark.parametrize("rho", ["0.02", "0.3", "1.05", "9"])
def test_the_exact_figure_is_that_of_another_solver(rho: str) -> None:
    sigma = 1 / math.sqrt(2 * float(rho))
    assert gaussian_epsilon(float(rho), 1e-6) == pytest.approx(analytic_gaussian(sigma, 1e-6), abs=1e-9)


def test_the_orders_are_the_librarys() -> None:
    assert pytest.approx(ORDERS, abs=0) == dp_accounting.rdp.rdp_privacy_accountant.DEFAULT_RDP_ORDERS


def test_a_digit_that_float64_leaves_open_is_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A formula that says next to a step of the last digit, where the smallest error would turn it, decides nothing."""
    right = DP_ACCOUNTING.zcdp(Decimal("0.3"), DELTA)
    for near in (0.25, 0.25 + 1e-13, math.inf, 0.0):
        monkeypatch.setattr(conversion, "zcdp_epsilon", lambda rho, delta, near=near: near)
        assert epsilon_of_rho(Decimal("0.3"), DELTA) == right
    monkeypatch.setattr(conversion, "zcdp_epsilon", lambda rho, delta: 0.2500005)
    assert epsilon_of_rho(Decimal("0.3"), DELTA) == Decimal("0.250001")  # in the middle of two steps the formula does


def test_a_digit_that_the_librarys_grid_may_turn_is_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's figure lies up to a few millionths above the exact one: next below a step of 0.0001 that decides."""
    right = DP_ACCOUNTING.gaussian(Decimal("0.3"), DELTA)
    for near in (0.25 - 1e-7, 0.25 + 1e-13, math.nan, 0.0):
        monkeypatch.setattr(conversion, "gaussian_epsilon", lambda rho, delta, near=near: near)
        assert gaussian_epsilon_of_rho(Decimal("0.3"), DELTA) == right
    monkeypatch.setattr(conversion, "gaussian_epsilon", lambda rho, delta: 0.25005)
    assert gaussian_epsilon_of_rho(Decimal("0.3"), DELTA) == Decimal("0.2501")


@pytest.mark.parametrize("delta", ["1e-301", "1e-400"])
def test_a_delta_beyond_float64_is_the_librarys_to_refuse(delta: str) -> None:
    for convert in (epsilon_of_rho, gaussian_epsilon_of_rho):
        try:
            found = convert(Decimal("0.3"), Decimal(delta))
        except ArithmeticError:
            continue
        assert found > 10
