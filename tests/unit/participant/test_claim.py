"""The second accountant agrees with the first over the whole range of promises, and refuses what it does not come to."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from decimal import Decimal

import pytest
from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS

from testkit.specs import small_spec, without_noise
from testkit.wrong_accountants import spoil_the_first_accountant
from vdb_participant.session import second_accountant
from vdb_participant.session.claim import TIGHT_TOLERANCE, TOLERANCE, check_claim, check_cost_at
from vdb_participant.session.second_accountant import (
    ORDERS,
    NotComputedError,
    epsilon_by_privacy_loss,
    epsilon_by_renyi,
    noise_multiplier,
)
from vdb_shared.canonical import decimal_string
from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.accountant import Accounting, account
from vdb_shared.privacy.conversion import epsilon_of_rho, gaussian_epsilon_of_rho, rho_of_multiplier
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import Privacy, Spec

DELTAS = ("1e-12", "1e-10", "1e-8", "1e-6", "1e-5", "1e-3", "0.009")
MULTIPLIERS = ("280.6891", "60.1638", "14.0315", "4.5309", "1.2679", "0.6894", "0.3864", "0.2249", "0.1198")
"""From epsilon 0.01 to 64, depending on delta."""

DIFFER = (
    r"^two accountants differ on this session: dp-accounting finds epsilon .* opacus .*; decline, and tell the lead$"
)


def sealed(spec: Spec | None = None) -> tuple[Spec, SealTerms]:
    spec = spec or small_spec()
    return spec, seal_terms(spec, range(4))


def promised(epsilon: str, delta: str) -> Spec:
    return small_spec(privacy=Privacy(epsilon=Decimal(epsilon), delta=Decimal(delta), maximum_records=1))


@pytest.mark.parametrize("delta", DELTAS)
def test_the_two_accountants_agree_over_the_whole_range_of_promises(delta: str) -> None:
    """The measurement behind the tolerances: by zCDP to the last digit claimed, and the tighter figures within their grids."""
    for multiplier in MULTIPLIERS:
        rho, z = rho_of_multiplier(Decimal(multiplier)), float(multiplier)
        claimed = float(epsilon_of_rho(rho, Decimal(delta)))
        assert -1e-9 < claimed - epsilon_by_renyi(z, float(delta)) < 1.01e-6 < TOLERANCE
        tighter = float(gaussian_epsilon_of_rho(rho, Decimal(delta)))
        apart = tighter - epsilon_by_privacy_loss(z, float(delta), claimed)
        assert -3.2e-4 * max(1.0, claimed) < apart <= 1e-4
        assert abs(apart) < TIGHT_TOLERANCE * max(1.0, claimed)


def test_the_orders_are_those_of_the_first_accountant() -> None:
    assert pytest.approx(tuple(DEFAULT_RDP_ORDERS), abs=1e-12) == ORDERS


def test_the_multiplier_is_computed_from_the_lanes_alone() -> None:
    """By hand: sqrt(4 - 1 - 1) honest deviations of 2^20 over s sqrt(sum w^2 b^2) + sqrt(d)."""
    spec, terms = sealed()
    private = [block for block in terms.layout.blocks if block.private]
    scale = float(terms.calibration.scale or 0)
    clip_norm = math.sqrt(sum(float(block.weight) ** 2 * block.bound_squared for block in private))
    lanes = sum(block.dims for block in private)
    honest = terms.smallest_cohort - 1
    by_hand = 2**20 * math.sqrt(honest) / (scale * clip_norm + math.sqrt(lanes))
    assert noise_multiplier(spec, terms) == pytest.approx(by_hand, rel=1e-9)
    assert noise_multiplier(spec, terms) == pytest.approx(float(terms.calibration.noise_multiplier or 0), rel=1e-6)
    blind = replace(terms, calibration=replace(terms.calibration, noise_multiplier=Decimal(1000)))
    assert noise_multiplier(spec, blind) == noise_multiplier(spec, terms)


@pytest.mark.parametrize(("epsilon", "delta"), [("0.5", "1e-6"), ("2", "1e-10"), ("8", "1e-6"), ("32", "1e-3")])
def test_what_calibration_made_is_agreed_on(epsilon: str, delta: str) -> None:
    spec, terms = sealed(promised(epsilon, delta))
    first, tighter = check_claim(spec, terms, account(terms.calibration))
    assert first.found == pytest.approx(float(epsilon), rel=1e-3)
    assert first.found is not None
    assert tighter.found is not None
    assert tighter.found < first.found + 1e-3
    assert (first.missing, tighter.missing) == ("", "")


def test_a_scale_that_is_too_large_is_refused_whatever_the_first_accountant_says() -> None:
    """Lanes scaled 8 times too large carry an eighth of the noise."""
    spec, terms = sealed()
    honest = account(terms.calibration)
    assert terms.calibration.scale is not None
    for factor in ("8", "1.01", "1.00001", "0.9999"):
        other = replace(terms.calibration, scale=terms.calibration.scale * Decimal(factor))
        with pytest.raises(PrivacyError, match=DIFFER):
            check_claim(spec, replace(terms, calibration=other), replace(honest, calibration=other))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": Decimal("7.998")}, "dp-accounting finds epsilon 7.998 at delta 0.000001, opacus 7.998715"),
        ({"epsilon": Decimal("7.99872")}, "dp-accounting finds epsilon 7.99872 at delta 0.000001, opacus 7.998715"),
        ({"epsilon": Decimal("8.2")}, "dp-accounting finds epsilon 8.2 "),
        (
            {"epsilon_pld": Decimal("7.4")},
            "two accountants differ on this session, by a closer estimate: dp-accounting finds epsilon 7.4 ",
        ),
        (
            {"epsilon_pld": Decimal("7.6")},
            "two accountants differ on this session, by a closer estimate: dp-accounting finds epsilon 7.6 ",
        ),
    ],
)
def test_a_tampered_figure_is_refused_in_either_direction(change: dict[str, Decimal], words: str) -> None:
    spec, terms = sealed()
    with pytest.raises(PrivacyError, match=words):
        check_claim(spec, terms, replace(account(terms.calibration), **change))  # type: ignore[arg-type]  # any field of the figures is meant


def test_a_first_accountant_that_halves_rho_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is in the conversion itself, so calibration believes it too and the claim looks like the promise."""
    spoil_the_first_accountant(monkeypatch, rho=0.5)
    spec, terms = sealed()
    accounting = account(terms.calibration)
    assert Decimal("7.99") < (accounting.epsilon or 0) <= 8
    with pytest.raises(PrivacyError, match=DIFFER):
        check_claim(spec, terms, accounting)
    with pytest.raises(PrivacyError, match="two accountants differ on what this site books"):
        check_cost_at(Decimal("1e-5"), spec, terms, accounting.rho or Decimal(0))


def test_a_promise_that_neither_keeps_is_refused() -> None:
    """The claim is the right one for these terms, but they belong to a weaker promise than the spec's."""
    _, terms = sealed()
    with pytest.raises(PrivacyError, match=r"opacus finds epsilon 7\.99.* where the spec promises 7;"):
        check_claim(promised("7", "1e-6"), terms, account(terms.calibration))


@pytest.mark.parametrize("delta", ["1e-10", "1e-6", "0.001"])
def test_a_debit_is_judged_by_both_at_the_sites_own_delta(delta: str) -> None:
    spec, terms = sealed()
    cost = account(terms.calibration).rho or Decimal(0)
    opinion = check_cost_at(Decimal(delta), spec, terms, cost)
    assert opinion.claimed == epsilon_of_rho(cost, Decimal(delta))
    assert opinion.found == pytest.approx(float(opinion.claimed), abs=TOLERANCE)
    for wrong in (cost * Decimal("0.5"), cost * Decimal("1.001")):
        with pytest.raises(
            PrivacyError, match=f"differ on what this site books: .* at delta {decimal_string(Decimal(delta))},"
        ):
            check_cost_at(Decimal(delta), spec, terms, wrong)


def test_an_epsilon_of_nothing_is_compared_with_the_exact_figure() -> None:
    """At z above 82 and delta = 0.009 the total variation is below delta, and opacus' Renyi figure knows nothing of that."""
    spec, terms = sealed(promised("0.045", "1e-6"))
    cost = account(terms.calibration).rho or Decimal(0)
    assert noise_multiplier(spec, terms) > 82
    opinion = check_cost_at(Decimal("0.009"), spec, terms, cost)
    assert opinion.claimed == 0
    assert opinion.found == 0
    loud, loud_terms = sealed(promised("1", "1e-6"))
    with pytest.raises(PrivacyError, match=r"dp-accounting finds epsilon 0 at delta 0\.009, opacus 0\.[1-9]"):
        check_cost_at(Decimal("0.009"), loud, loud_terms, cost)


def test_what_opacus_cannot_compute_is_said_and_never_passes_for_agreement() -> None:
    """Below a delta of some 5e-14 PRVAccountant refuses; the claim itself is compared all the same."""
    spec, terms = sealed(promised("8", "1e-15"))
    first, tighter = check_claim(spec, terms, account(terms.calibration))
    assert first.found == pytest.approx(float(first.claimed), abs=TOLERANCE)
    assert tighter.found is None
    assert "Floating point errors will dominate" in tighter.missing
    with pytest.raises(NotComputedError, match="division by zero"):
        epsilon_by_renyi(1e-170, 1e-6)
    with pytest.raises(NotComputedError, match="it finds inf"):
        epsilon_by_renyi(1e-155, 1e-6)


def test_a_claim_that_opacus_cannot_compute_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, terms = sealed()
    accounting = account(terms.calibration)
    monkeypatch.setattr(second_accountant, "LOCAL_DEVIATION", 1e-160)
    with pytest.raises(PrivacyError, match=r"opacus cannot account .* rests on one accountant; decline"):
        check_claim(spec, terms, accounting)


def test_noise_of_nobody_hides_nothing() -> None:
    spec, terms = sealed()
    with pytest.raises(PrivacyError, match="noise of 0 institutions"):
        noise_multiplier(spec, replace(terms, smallest_cohort=1))


def test_a_spec_without_noise_is_refused_and_one_without_private_lanes_costs_nothing() -> None:
    spec, terms = sealed(without_noise(small_spec()))
    with pytest.raises(PrivacyError, match="mechanism none"):
        check_claim(spec, terms, account(terms.calibration))
    public = tuple(metric for metric in small_spec().metrics if metric.id == "temporal-flickering@1")
    spec, terms = sealed(small_spec(metrics=public))
    accounting = account(terms.calibration)
    assert accounting == Accounting(terms.calibration, Decimal(0), Decimal(0), Decimal(0))
    assert check_claim(spec, terms, accounting) == ()


def test_the_operators_terminal_stays_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """At order 1024 RDPAccountant warns of its grid, and PRVAccountant of a logarithm of 0."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        assert epsilon_by_renyi(347.1797, 1e-6) > 0
        assert epsilon_by_privacy_loss(347.1797, 1e-6, 0.01) > 0
        assert warnings.filters == filters
    assert heard == []
    assert capfd.readouterr() == ("", "")
