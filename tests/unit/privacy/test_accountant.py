"""Accounting says the same digits everywhere and never too little."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal, getcontext, localcontext

import pytest

from vdb_shared.canonical import canonical_json
from vdb_shared.errors import PrivacyError
from vdb_shared.metrics.statistic import Block, Layout
from vdb_shared.privacy.accountant import account, rho_within
from vdb_shared.privacy.calibration import Promise, calibrate
from vdb_shared.privacy.conversion import DP_ACCOUNTING, FORMULAS, Accountant, epsilon_of_rho

LAYOUT = Layout(
    (Block("reference/clips/count", 1, 1, private=True), Block("reference/clips/f/moments", 90, 2, private=True))
)
PROMISE = Promise("distributed-discrete-gaussian", Decimal(1), Decimal("1e-6"), 1000, 20, 15, 5, 1000)


def test_rho_is_that_of_the_worst_survivor_set_by_hand() -> None:
    calibration = calibrate(PROMISE, LAYOUT)
    accounting = account(calibration)
    by_hand = (float(calibration.scale or 0) * math.sqrt(3) + math.sqrt(91)) ** 2 / (2 * 10 * 2.0**40)
    assert float(accounting.rho or 0) == pytest.approx(by_hand, rel=1e-9)
    assert float(accounting.rho or 0) == pytest.approx(1 / (2 * 4.5309**2), rel=1e-9)


def test_the_claim_is_below_the_promise_and_above_the_tighter_figure() -> None:
    accounting = account(calibrate(PROMISE, LAYOUT))
    assert accounting.epsilon is not None
    assert accounting.epsilon_pld is not None
    assert Decimal("0.92") < accounting.epsilon_pld < accounting.epsilon <= 1


def test_the_published_form_is_canonical_and_complete() -> None:
    found = account(calibrate(PROMISE, LAYOUT)).to_json()
    assert canonical_json(found)
    assert found["unit"] == "record"
    assert found["rho"] == "0.02435572435"
    assert found["epsilon_zcdp"] == "0.999995"
    assert (found["smallest_cohort"], found["collusion"], found["delta"]) == (15, 5, "0.000001")


def test_digits_do_not_depend_on_the_decimal_context() -> None:
    wanted = canonical_json(account(calibrate(PROMISE, LAYOUT)).to_json())
    with localcontext() as context:
        context.prec = getcontext().prec + 25
        context.rounding = "ROUND_DOWN"
        assert canonical_json(account(calibrate(PROMISE, LAYOUT)).to_json()) == wanted


def test_a_forged_scale_is_refused() -> None:
    calibration = calibrate(PROMISE, LAYOUT)
    with pytest.raises(PrivacyError, match=r"privacy\.epsilon: promised 1"):
        account(replace(calibration, scale=(calibration.scale or Decimal(0)) * Decimal("1.01")))


@pytest.mark.parametrize("accountant", [DP_ACCOUNTING, FORMULAS])
def test_a_delta_beyond_the_accountants_arithmetic_is_refused_by_name(accountant: Accountant) -> None:
    made = calibrate(replace(PROMISE, delta=Decimal("1e-17")), LAYOUT)
    with pytest.raises(
        PrivacyError, match=r"^privacy\.delta: \S+ is too small to account for; raise it, to 1e-15 or more$"
    ):
        account(made, accountant)
    assert account(calibrate(replace(PROMISE, delta=Decimal("1e-15")), LAYOUT), accountant).epsilon_pld


def test_no_noise_is_no_protection_and_no_private_lane_costs_nothing() -> None:
    unprotected = account(calibrate(replace(PROMISE, mechanism="none"), LAYOUT)).to_json()
    assert unprotected["rho"] is unprotected["epsilon_zcdp"] is unprotected["epsilon_pld"] is None
    public = account(calibrate(PROMISE, Layout((Block("public/a/count", 2, 1, private=False),)))).to_json()
    assert public["rho"] == public["epsilon_zcdp"] == "0"


@pytest.mark.parametrize("epsilon", ["0.05", "1", "8.92", "64"])
def test_a_cap_in_rho_is_the_largest_that_keeps_its_epsilon(epsilon: str) -> None:
    rho = rho_within(Decimal(epsilon), Decimal("1e-6"))
    assert epsilon_of_rho(rho, Decimal("1e-6")) <= Decimal(epsilon)
    assert epsilon_of_rho(rho + Decimal("0.000001"), Decimal("1e-6")) > Decimal(epsilon)


@pytest.mark.parametrize(("sessions", "epsilon"), [(1, "1.0"), (4, "2.11"), (12, "3.86"), (52, "8.92")])
def test_sessions_compose_as_published(sessions: int, epsilon: str) -> None:
    """Sessions of epsilon 1 at delta 1e-6, summed in rho; the first figures are by hand."""
    rho = account(calibrate(PROMISE, LAYOUT)).rho or Decimal(0)
    assert float(epsilon_of_rho(sessions * rho, Decimal("1e-6"))) == pytest.approx(float(epsilon), abs=0.03)


def test_a_cap_needs_a_sensible_guarantee() -> None:
    with pytest.raises(PrivacyError):
        rho_within(Decimal(0), Decimal("1e-6"))
    with pytest.raises(PrivacyError):
        rho_within(Decimal(1), Decimal(1))
