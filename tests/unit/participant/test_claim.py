"""The second accountant agrees with the first, and refuses a claim that it does not come to."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal

import pytest

from testkit.specs import small_spec
from vdb_participant.session.claim import check_claim, delta_of_rho, epsilon_of_rho
from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.conversion import epsilon_of_rho as claimed_epsilon
from vdb_shared.seal import seal_terms


@pytest.mark.parametrize("rho", ["0.001", "0.0245", "0.2", "1.1"])
@pytest.mark.parametrize("delta", ["1e-5", "1e-6", "1e-9"])
def test_agrees_with_dp_accounting(rho: str, delta: str) -> None:
    ours, theirs = epsilon_of_rho(float(rho), float(delta)), float(claimed_epsilon(Decimal(rho), Decimal(delta)))
    assert theirs * 0.9 < ours <= theirs * 1.0001
    if theirs > 0.5:
        assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(("epsilon", "multiplier"), [(0.5, 8.68), (1, 4.53), (2, 2.38), (4, 1.27), (8, 0.69)])
def test_gives_the_multipliers_of_the_privacy_notes(epsilon: float, multiplier: float) -> None:
    assert epsilon_of_rho(1 / (2 * multiplier**2), 1e-6) == pytest.approx(epsilon, rel=0.01)


def test_is_below_the_simple_bound() -> None:
    rho, delta = 0.1, 1e-6
    assert epsilon_of_rho(rho, delta) < rho + 2 * math.sqrt(rho * math.log(1 / delta))
    assert delta_of_rho(rho, 0.0) <= 1


def test_passes_what_calibration_made_and_refuses_more() -> None:
    terms = seal_terms(small_spec(), range(4))
    honest = account(terms.calibration)
    check_claim(honest)
    louder = dataclasses.replace(terms.calibration, scale=terms.calibration.scale * Decimal("1.01"))  # type: ignore[operator]  # never None in these terms
    with pytest.raises(PrivacyError, match=r"our own accountant finds epsilon 8.09"):
        check_claim(dataclasses.replace(honest, calibration=louder))
    with pytest.raises(PrivacyError, match="decline, and tell the lead"):
        check_claim(dataclasses.replace(honest, epsilon=Decimal("7.5")))


def test_a_spec_without_noise_is_refused() -> None:
    spec = small_spec()
    unnoised = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"mechanism": "none"})})
    with pytest.raises(PrivacyError, match="mechanism none"):
        check_claim(account(seal_terms(unnoised, range(4)).calibration))
