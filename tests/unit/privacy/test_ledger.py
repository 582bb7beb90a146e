"""The ledger's chain shows every change, and its filter refuses beyond the cap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import BudgetError, StoreError
from vdb_shared.metrics.statistic import Block, Layout
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.calibration import Promise, calibrate
from vdb_shared.privacy.ledger import GENESIS, Charge, LedgerEntry, charge_of, debit, refund, spent, verify_chain

CAP = Decimal("0.1")
DATASET = "clinic-a/echo"


def session(number: int) -> str:
    return f"sha256:{number:064x}"


def charge(number: int, rho: str = "0.024") -> Charge:
    return Charge(session(number), session(10**6), Decimal(rho), Decimal("3000000.5"), 15, 5, "a" * 64)


def chain_of(*numbers: int) -> list[LedgerEntry]:
    chain: list[LedgerEntry] = []
    for number in numbers:
        chain.append(debit(chain, DATASET, charge(number), CAP))
    return chain


def test_a_chain_of_debits_and_a_refund_verifies() -> None:
    chain = chain_of(1, 2, 3)
    chain.append(refund(chain, session(2)))
    verify_chain(chain)
    verify_chain(chain, head=chain[-1].digest)
    assert chain[0].previous == GENESIS
    assert spent(chain) == Decimal("0.048")


def test_the_filter_admits_up_to_the_cap_and_refuses_beyond() -> None:
    chain = chain_of(1, 2, 3, 4)
    assert spent(chain) == Decimal("0.096")
    with pytest.raises(BudgetError, match=r"only 0\.004 is left"):
        debit(chain, DATASET, charge(5), CAP)
    chain.append(debit(chain, DATASET, charge(5, "0.004"), CAP))
    assert spent(chain) == CAP
    with pytest.raises(BudgetError, match="only 0 is left"):
        debit(chain, DATASET, charge(6, "0.0000000001"), CAP)


@given(st.lists(st.decimals("0", "0.05", places=6), max_size=20))
def test_no_sequence_of_sessions_exceeds_the_cap(costs: list[Decimal]) -> None:
    chain: list[LedgerEntry] = []
    for number, cost in enumerate(costs):
        admitted = spent(chain) + cost <= CAP
        try:
            chain.append(debit(chain, DATASET, charge(number, str(cost)), CAP))
        except BudgetError:
            assert not admitted
        else:
            assert admitted
    assert spent(chain) <= CAP
    verify_chain(chain)


def test_a_session_is_debited_once_even_after_its_refund() -> None:
    chain = chain_of(1)
    with pytest.raises(BudgetError, match="twice"):
        debit(chain, DATASET, charge(1), CAP)
    chain.append(refund(chain, session(1)))
    with pytest.raises(BudgetError, match="twice"):
        debit(chain, DATASET, charge(1), CAP)
    with pytest.raises(BudgetError, match="no debit"):
        refund(chain, session(1))
    with pytest.raises(BudgetError, match="no debit"):
        refund(chain, session(9))


@pytest.mark.parametrize("rho", ["-0.01", "NaN", "Infinity"])
def test_a_cost_that_is_no_cost_is_refused(rho: str) -> None:
    with pytest.raises(BudgetError, match="cannot cost"):
        debit([], DATASET, charge(1, rho), CAP)


def changed(place: int, **changes: object) -> Callable[[list[LedgerEntry]], list[LedgerEntry]]:
    def apply(chain: list[LedgerEntry]) -> list[LedgerEntry]:
        return [*chain[:place], replace(chain[place], **changes), *chain[place + 1 :]]  # type: ignore[arg-type]  # any field, also a wrong one, is meant

    return apply


@pytest.mark.parametrize(
    "tamper",
    [
        changed(0, rho=Decimal("0.001")),
        changed(1, session=session(77)),
        changed(1, spec=session(78)),
        changed(1, sensitivity=Decimal(1)),
        changed(0, smallest_cohort=999),
        changed(0, collusion=1),
        changed(1, dataset="other"),
        changed(0, dataset="other"),
        changed(1, previous=GENESIS),
        changed(1, sequence=7),
        changed(0, kind="refund"),
        changed(0, kind="gift"),
        lambda chain: chain[1:],
        lambda chain: [chain[0], chain[2]],
        lambda chain: [chain[1], chain[0], chain[2]],
        lambda chain: [chain[0], chain[0], *chain[1:]],
    ],
)
def test_every_change_of_an_entry_breaks_the_chain(tamper: Callable[[list[LedgerEntry]], list[LedgerEntry]]) -> None:
    with pytest.raises(StoreError, match="ledger"):
        verify_chain(tamper(chain_of(1, 2, 3)))


@pytest.mark.parametrize("change", [{"rho": Decimal("0.001")}, {"sensitivity": Decimal(2)}])
def test_the_last_entry_is_guarded_by_the_remembered_head(change: dict[str, Decimal]) -> None:
    chain = chain_of(1, 2, 3)
    head = chain[-1].digest
    with pytest.raises(StoreError, match="remembered"):
        verify_chain(changed(2, **change)(chain), head=head)
    with pytest.raises(StoreError, match="remembered"):
        verify_chain(chain[:2], head=head)
    with pytest.raises(StoreError, match="remembered"):
        verify_chain([], head=head)


def rechained(entries: list[LedgerEntry]) -> list[LedgerEntry]:
    """Whoever holds the file can hash it anew; what is nonsense must be refused all the same."""
    chain: list[LedgerEntry] = []
    for place, entry in enumerate(entries):
        chain.append(replace(entry, sequence=place, previous=chain[-1].digest if chain else GENESIS))
    return chain


def test_nonsense_is_refused_in_a_chain_that_was_hashed_anew() -> None:
    chain = chain_of(1, 2)
    back = refund(chain, session(1))
    for bad in (
        [replace(chain[0], sequence=7)],
        rechained([back]),
        rechained([chain[0], back, back]),
        rechained([chain[0], replace(back, rho=Decimal("0.05"))]),
        rechained([chain[0], chain[0]]),
        rechained([chain[0], replace(chain[1], dataset="other")]),
    ):
        with pytest.raises(StoreError):
            verify_chain(bad)


def test_a_charge_is_what_the_accounting_says_and_no_noise_has_no_price() -> None:
    layout = Layout((Block("reference/clips/count", 1, 1, private=True),))
    promise = Promise("distributed-discrete-gaussian", Decimal(1), Decimal("1e-6"), 1000, 20, 15, 5, 1000)
    accounting = account(calibrate(promise, layout))
    found = charge_of(accounting, session=session(1), spec=session(2), nonce=bytes(32))
    assert found.rho == accounting.rho
    assert (found.smallest_cohort, found.collusion) == (15, 5)
    assert found.sensitivity >= accounting.calibration.sensitivity
    unnoised = account(calibrate(replace(promise, mechanism="none"), layout))
    with pytest.raises(BudgetError, match="no noise"):
        charge_of(unnoised, session=session(1), spec=session(2), nonce=bytes(32))
