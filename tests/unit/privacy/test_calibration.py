"""Calibration against hand-computed values, and refusal of nonsense with the field's name."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdb_shared.errors import PrivacyError
from vdb_shared.metrics.statistic import LANE_LIMIT, Block, Layout
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.calibration import Promise, calibrate, noise_multiplier

LAYOUT = Layout(
    (
        Block("reference/clips/count", 1, 1, private=True),
        Block("reference/clips/f/moments", 2144, 2, private=True),
        Block("public/alpha/f/moments", 2144, 2, private=False),
    )
)

PROMISE = Promise(
    mechanism="distributed-discrete-gaussian",
    epsilon=Decimal(4),
    delta=Decimal("0.000001"),
    maximum_records=1000,
    joined=20,
    smallest_cohort=15,
    collusion=5,
    capacity=1000,
)


@pytest.mark.parametrize(
    ("epsilon", "multiplier"), [("0.5", "8.68"), ("1", "4.53"), ("2", "2.38"), ("4", "1.27"), ("8", "0.69")]
)
def test_noise_multipliers_are_those_of_the_table(epsilon: str, multiplier: str) -> None:
    """Values at delta = 1e-6 computed by hand from the conversion of Canonne, Kamath & Steinke 2020, proposition 12."""
    assert round(noise_multiplier(Decimal(epsilon), Decimal("1e-6")), 2) == Decimal(multiplier)


def test_the_scale_solves_the_equation_of_the_noise() -> None:
    """s = (2^20 sqrt(10) / 1.2679 - sqrt(2145)) / sqrt(3), by hand, rounded down."""
    calibration = calibrate(PROMISE, LAYOUT)
    assert calibration.noise_multiplier == Decimal("1.2679")
    wanted = (2**20 * math.sqrt(10) / 1.2679 - math.sqrt(2145)) / math.sqrt(3)
    assert calibration.scale is not None
    assert float(calibration.scale) == pytest.approx(wanted, abs=2e-6)
    assert float(calibration.sensitivity) == pytest.approx(wanted * math.sqrt(3) + math.sqrt(2145), abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(10, 6400).map(lambda hundredths: Decimal(hundredths) / 100),
    st.integers(7, 1000),
    st.decimals("0.01", "100", places=2),
)
def test_the_promise_is_kept_and_no_digit_of_z_is_given_away(epsilon: Decimal, cohort: int, weight: Decimal) -> None:
    layout = Layout((LAYOUT.blocks[0], replace(LAYOUT.blocks[1], weight=weight)))
    promise = replace(PROMISE, epsilon=epsilon, smallest_cohort=cohort, joined=1000, delta=Decimal("1e-8"))
    calibration = calibrate(promise, layout)
    accounting = account(calibration)
    assert accounting.epsilon is not None
    assert accounting.epsilon <= epsilon
    assert calibration.noise_multiplier == noise_multiplier(epsilon, promise.delta)
    assert accounting.epsilon > epsilon * Decimal("0.9")


def test_public_lanes_take_the_largest_power_of_two_that_fits() -> None:
    calibration = calibrate(PROMISE, LAYOUT)
    assert 1000 * 2**calibration.public_exponent <= LANE_LIMIT - 2 < 1000 * 2 ** (calibration.public_exponent + 1)
    assert calibration.block_scales(LAYOUT)["public/alpha/f/moments"] == 2.0**37


def test_weights_multiply_the_scale_and_rounding_goes_down() -> None:
    layout = Layout((LAYOUT.blocks[0], replace(LAYOUT.blocks[1], weight=Decimal("0.333"))))
    calibration = calibrate(PROMISE, layout)
    assert calibration.scale is not None
    exact = calibration.scale * Decimal("0.333")
    found = Decimal(calibration.block_scales(layout)["reference/clips/f/moments"])
    assert 0 <= exact - found < Decimal(1) / 4096


def test_without_private_lanes_or_mechanism_all_lanes_are_exact() -> None:
    public = Layout(LAYOUT.blocks[2:])
    assert not calibrate(PROMISE, public).noised
    switched_off = calibrate(replace(PROMISE, mechanism="none"), LAYOUT)
    assert not switched_off.noised
    assert set(switched_off.block_scales(LAYOUT).values()) == {2.0**37}


def test_the_json_form_holds_every_digit() -> None:
    """The scale to 40 digits is 1509894.4647600..., computed with mpmath."""
    assert calibrate(PROMISE, LAYOUT).to_json() == {
        "mechanism": "distributed-discrete-gaussian",
        "private_lanes": 2145,
        "clip_norm_squared": "3",
        "noise_multiplier": "1.2679",
        "scale": "1509894.46476",
        "local_sigma": 1048576,
        "public_exponent": 37,
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epsilon": Decimal(0)}, "privacy.epsilon"),
        ({"epsilon": Decimal(-1)}, "privacy.epsilon"),
        ({"epsilon": Decimal("NaN")}, "privacy.epsilon"),
        ({"epsilon": Decimal("1e-9")}, "privacy.epsilon"),
        ({"delta": Decimal(0)}, "privacy.delta"),
        ({"delta": Decimal("0.0000051")}, "privacy.delta"),
        ({"maximum_records": 5001}, "privacy.delta"),
        ({"maximum_records": 0}, "privacy.maximum_records"),
        ({"capacity": 2**27, "delta": Decimal("1e-12")}, "privacy.maximum_records"),
        ({"capacity": 2**47}, "privacy.maximum_records"),
        ({"collusion": 0}, "cohort.collusion"),
        ({"smallest_cohort": 6}, "cohort.minimum"),
        ({"smallest_cohort": 21}, "cohort.minimum"),
        ({"joined": 65_536}, "cohort"),
    ],
)
def test_nonsense_is_refused_with_its_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(PrivacyError, match=rf"^{field}: "):
        calibrate(replace(PROMISE, **change), LAYOUT)  # type: ignore[arg-type]  # any field, also a wrong one, is meant


def test_delta_at_its_limit_is_admitted() -> None:
    assert calibrate(replace(PROMISE, delta=Decimal("0.000005")), LAYOUT).noised


def test_lanes_without_resolution_are_refused() -> None:
    starved = Layout((replace(LAYOUT.blocks[0], weight=Decimal("1e-7")), LAYOUT.blocks[1]))
    with pytest.raises(PrivacyError, match=r"^privacy.epsilon: .*no resolution"):
        calibrate(PROMISE, starved)
