"""Both accountants against values that need neither: tables of the normal distribution, a pocket calculator, a minimum.

dp-accounting's figures are those that are published, opacus' those that a participant holds against them.
"""

from __future__ import annotations

import math
from decimal import Decimal

import dp_accounting
import pytest
from dp_accounting import pld, rdp
from opacus.accountants import PRVAccountant, RDPAccountant

from testkit.charges import NOW, charge, list_of
from testkit.gaussian import (
    best_advantage,
    delta_of,
    delta_of_zcdp,
    epsilon_of,
    epsilon_of_zcdp,
    simple_bound,
)
from vdb_participant.session.second_accountant import ORDERS, PRV_ERROR, epsilon_by_privacy_loss, epsilon_by_renyi
from vdb_shared.errors import BudgetError
from vdb_shared.privacy.conversion import epsilon_of_rho, gaussian_epsilon_of_rho, rho_of_multiplier
from vdb_shared.privacy.ledger import LedgerEntry, debit, standing, verify_chain

MULTIPLIERS = ("60", "8.68", "4.53", "2.38", "1.27", "0.69", "0.3", "0.12")
DELTAS = ("1e-10", "1e-6", "1e-3")


def test_rho_is_half_the_inverse_square_of_the_multiplier() -> None:
    """By hand: z = 2 gives 1/8, z = 5 gives 1/50, z = 3 gives 1/18 rounded up at 10 digits."""
    assert rho_of_multiplier(Decimal(2)) == Decimal("0.125")
    assert rho_of_multiplier(Decimal(5)) == Decimal("0.02")
    assert rho_of_multiplier(Decimal(3)) == Decimal("0.05555555556")


def test_the_exact_curve_has_the_values_of_a_table_of_the_normal_distribution() -> None:
    """z = 1: Phi(-0.5) - e Phi(-1.5); z = 0.5: Phi(0) - e^2 Phi(-2)."""
    assert delta_of(1, 1) == pytest.approx(0.3085375 - 2.7182818 * 0.0668072, abs=2e-7)
    assert delta_of(2, 0.5) == pytest.approx(0.5 - 7.3890561 * 0.0227501, abs=1e-6)
    assert delta_of(0, 1) == pytest.approx(2 * 0.6914625 - 1, abs=2e-7)
    assert best_advantage(1) == pytest.approx(delta_of(0, 1))
    assert epsilon_of(delta_of(1, 1), 1) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("multiplier", "epsilon", "delta"), [("1", 1.0, 0.1269367), ("0.5", 2.0, 0.3318982)])
def test_both_tighter_figures_find_the_hand_computed_pairs(multiplier: str, epsilon: float, delta: float) -> None:
    published = float(gaussian_epsilon_of_rho(rho_of_multiplier(Decimal(multiplier)), Decimal(str(delta))))
    assert published == pytest.approx(epsilon, abs=4e-4)
    second = epsilon_by_privacy_loss(float(multiplier), delta, epsilon)
    # delta may be short by a thousandth of it, which is worth more where the curve is as flat as here.
    assert second == pytest.approx(epsilon, abs=3e-3)
    assert second >= epsilon


@pytest.mark.parametrize(
    ("multiplier", "delta", "by_hand"),
    [("1", "1e-6", 5.756522), ("10", "1e-6", 0.530652), ("2", "1e-10", 3.518070), ("0.5", "1e-3", 9.433844)],
)
def test_neither_claim_exceeds_the_pocket_calculators(multiplier: str, delta: str, by_hand: float) -> None:
    """rho + 2 sqrt(rho ln(1/delta)): z = 1, delta = 1e-6 is 0.5 + 2 sqrt(0.5 13.8155106) = 5.7565."""
    rho = rho_of_multiplier(Decimal(multiplier))
    assert simple_bound(float(delta), float(rho)) == pytest.approx(by_hand, abs=1e-5)
    assert float(epsilon_of_rho(rho, Decimal(delta))) < by_hand
    assert epsilon_by_renyi(float(multiplier), float(delta)) < by_hand


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_every_figure_is_in_its_place(multiplier: str, delta: str) -> None:
    """exact curve <= tighter figures; exact curve < best conversion of zCDP <= both claims <= pocket calculator."""
    z, d = float(multiplier), float(delta)
    rho = rho_of_multiplier(Decimal(multiplier))
    exact, best, simple = epsilon_of(d, z), epsilon_of_zcdp(d, float(rho)), simple_bound(d, float(rho))
    assert exact < best < simple
    published, tighter = float(epsilon_of_rho(rho, Decimal(delta))), float(gaussian_epsilon_of_rho(rho, Decimal(delta)))
    second = epsilon_by_renyi(z, d)
    for claim in (published, second):
        assert best - 1e-9 <= claim <= best * (1.06 if best < 0.6 else 1.003) + 1e-6
        assert claim < simple
    unit = max(1.0, published)
    assert exact <= tighter <= exact + 2e-4 * unit
    assert exact <= epsilon_by_privacy_loss(z, d, published) <= exact + 4 * PRV_ERROR * unit


def test_the_best_conversion_is_the_one_found_by_trying_orders() -> None:
    """Proposition 12 inverted, against a search over 200,000 orders of the same bound solved for epsilon."""
    rho, delta = 0.125, 1e-6
    tried = min(
        order * rho + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)
        for order in (1 + number / 1000 for number in range(1, 200_000))
    )
    assert epsilon_of_zcdp(delta, rho) == pytest.approx(tried, abs=1e-6)
    assert delta_of_zcdp(tried, rho) == pytest.approx(delta, rel=1e-4)


@pytest.mark.parametrize(("sessions", "multiplier"), [(2, "4.53"), (9, "12"), (50, "8.68")])
def test_the_ledgers_sum_is_the_cost_of_all_sessions_together(sessions: int, multiplier: str) -> None:
    """k releases of rho cost k rho (Bun & Steinke 2016, lemma 2.3): as much as one release with z / sqrt(k)."""
    rho, z, delta = rho_of_multiplier(Decimal(multiplier)), float(multiplier), 1e-6
    chain: list[LedgerEntry] = []
    data = list_of("a red circle")
    for number in range(sessions):
        chain.append(debit(chain, charge(number, data, str(rho)), sessions * rho, NOW, None))
    verify_chain(chain)
    assert standing(chain).spent == sessions * rho
    with pytest.raises(BudgetError):
        debit(chain, charge(sessions, data, str(rho)), standing(chain).spent, NOW, None)

    claimed = float(epsilon_of_rho(standing(chain).spent, Decimal("1e-6")))
    first = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    first.compose(dp_accounting.GaussianDpEvent(z), sessions)
    assert claimed == pytest.approx(float(first.get_epsilon(delta)), abs=2e-6)
    second = RDPAccountant()
    for _ in range(sessions):
        second.step(noise_multiplier=z, sample_rate=1.0)
    assert claimed == pytest.approx(second.get_epsilon(delta, alphas=list(ORDERS)), abs=2e-6)
    assert claimed == pytest.approx(epsilon_by_renyi(z / math.sqrt(sessions), delta), abs=2e-6)
    assert epsilon_of_zcdp(delta, sessions * float(rho)) <= claimed

    exact = epsilon_of(delta, z / math.sqrt(sessions))
    assert exact < claimed
    loss = pld.PLDAccountant(neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    loss.compose(dp_accounting.GaussianDpEvent(z), sessions)
    assert float(loss.get_epsilon(delta)) == pytest.approx(exact, abs=2e-3)


@pytest.mark.filterwarnings("ignore")
def test_the_privacy_loss_of_several_sessions_composes_in_the_second_library_too() -> None:
    accountant = PRVAccountant()
    for _ in range(9):
        accountant.step(noise_multiplier=12.0, sample_rate=1.0)
    exact = epsilon_of(1e-6, 4.0)
    assert exact <= accountant.get_epsilon(1e-6, eps_error=0.002) <= exact + 0.005


@pytest.mark.parametrize(("sessions", "by_hand"), [(1, "0.024355724"), (4, "0.097422896"), (12, "0.292268688")])
def test_a_sum_of_equal_costs_is_their_multiple(sessions: int, by_hand: str) -> None:
    """1 / (2 4.5309^2) is 0.0243557244; a sum of k of them is nothing but k times that."""
    assert float(sessions * rho_of_multiplier(Decimal("4.5309"))) == pytest.approx(float(by_hand), rel=1e-7)
