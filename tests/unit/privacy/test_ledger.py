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
from vdb_shared.privacy.ledger import (
    GENESIS,
    Charge,
    LedgerEntry,
    charge_of,
    check_receipt,
    debit,
    refund,
    standing,
    verify_chain,
)
from vdb_shared.privacy.record_list import NONE, RecordList, part_of_words

CAP = Decimal("0.1")
NOW = "2026-03-01T12:00:00Z"


def session(number: int) -> str:
    return f"sha256:{number:064x}"


def charge(number: int, rho: str = "0.024", records: int = 0) -> Charge:
    return Charge(
        session(number),
        session(10**6),
        session(200 + records),
        session(300 + records),
        "/data",
        Decimal(rho),
        Decimal("3000000.5"),
        15,
        5,
        "a" * 64,
    )


def spent(chain: list[LedgerEntry]) -> Decimal:
    return standing(chain).spent


def chain_of(*numbers: int) -> list[LedgerEntry]:
    chain: list[LedgerEntry] = []
    for number in numbers:
        chain.append(debit(chain, charge(number), CAP, NOW, None))
    return chain


def test_a_chain_of_debits_and_a_refund_verifies() -> None:
    chain = chain_of(1, 2, 3)
    chain.append(refund(chain, session(2), NOW))
    verify_chain(chain)
    verify_chain(chain, head=chain[-1].digest)
    assert chain[0].previous == GENESIS
    assert spent(chain) == Decimal("0.048")


def test_the_filter_admits_up_to_the_cap_and_refuses_beyond() -> None:
    chain = chain_of(1, 2, 3, 4)
    assert spent(chain) == Decimal("0.096")
    with pytest.raises(BudgetError, match=r"only 0\.004 is left"):
        debit(chain, charge(5), CAP, NOW, None)
    chain.append(debit(chain, charge(5, "0.004"), CAP, NOW, None))
    assert spent(chain) == CAP
    with pytest.raises(BudgetError, match="only 0 is left"):
        debit(chain, charge(6, "0.0000000001"), CAP, NOW, None)


@given(st.lists(st.decimals("0", "0.05", places=6), max_size=20))
def test_no_sequence_of_sessions_exceeds_the_cap(costs: list[Decimal]) -> None:
    chain: list[LedgerEntry] = []
    for number, cost in enumerate(costs):
        admitted = spent(chain) + cost <= CAP
        try:
            chain.append(debit(chain, charge(number, str(cost)), CAP, NOW, None))
        except BudgetError:
            assert not admitted
        else:
            assert admitted
    assert spent(chain) <= CAP
    verify_chain(chain)


def test_a_session_is_debited_once_even_after_its_refund() -> None:
    chain = chain_of(1)
    with pytest.raises(BudgetError, match="twice"):
        debit(chain, charge(1), CAP, NOW, None)
    chain.append(refund(chain, session(1), NOW))
    with pytest.raises(BudgetError, match="twice"):
        debit(chain, charge(1), CAP, NOW, None)
    with pytest.raises(BudgetError, match="no debit"):
        refund(chain, session(1), NOW)
    with pytest.raises(BudgetError, match="no debit"):
        refund(chain, session(9), NOW)


@pytest.mark.parametrize("rho", ["-0.01", "NaN", "Infinity"])
def test_a_cost_that_is_no_cost_is_refused(rho: str) -> None:
    with pytest.raises(BudgetError, match="cannot cost"):
        debit([], charge(1, rho), CAP, NOW, None)


def with_fields(entry: LedgerEntry, **changes: object) -> LedgerEntry:
    """Return an entry with fields changed, of itself or of its charge."""
    own = {name: value for name, value in changes.items() if hasattr(entry, name)}
    rest = {name: value for name, value in changes.items() if name not in own}
    return replace(entry, **own, charge=replace(entry.charge, **rest))  # type: ignore[arg-type]  # any field, also a wrong one, is meant


def changed(place: int, **changes: object) -> Callable[[list[LedgerEntry]], list[LedgerEntry]]:
    def apply(chain: list[LedgerEntry]) -> list[LedgerEntry]:
        return [*chain[:place], with_fields(chain[place], **changes), *chain[place + 1 :]]

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
        changed(1, records="other"),
        changed(1, folder="/elsewhere"),
        changed(1, moment="2026-03-02T12:00:00Z"),
        changed(0, rho=Decimal("-0.024")),
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
    back = refund(chain, session(1), NOW)
    for bad in (
        [replace(chain[0], sequence=7)],
        rechained([back]),
        rechained([chain[0], back, back]),
        rechained([chain[0], with_fields(back, rho=Decimal("0.05"))]),
        rechained([chain[0], with_fields(back, records=session(301))]),
        rechained([with_fields(chain[0], rho=Decimal("-1"))]),
        rechained([with_fields(chain[0], rho=Decimal("Infinity"))]),
        rechained([chain[0], chain[0]]),
    ):
        with pytest.raises(StoreError):
            verify_chain(bad)


def test_a_charge_is_what_the_accounting_says_and_no_noise_has_no_price() -> None:
    layout = Layout((Block("reference/clips/count", 1, 1, private=True),))
    promise = Promise("distributed-discrete-gaussian", Decimal(1), Decimal("1e-6"), 1000, 20, 15, 5, 1000)
    one = RecordList.of([(part_of_words("a prompt"), NONE)])
    accounting = account(calibrate(promise, layout))
    found = charge_of(accounting, session=session(1), spec=session(2), records=one, folder="/data", nonce=bytes(32))
    assert found.rho == accounting.rho
    assert (found.smallest_cohort, found.collusion) == (15, 5)
    assert (found.dataset, found.records) == (one.dataset, one.digest)
    assert found.sensitivity >= accounting.calibration.sensitivity
    unnoised = account(calibrate(replace(promise, mechanism="none"), layout))
    with pytest.raises(BudgetError, match="no noise"):
        charge_of(unnoised, session=session(1), spec=session(2), records=one, folder="/data", nonce=bytes(32))


def test_only_the_lists_that_count_are_summed_and_a_refund_is_none_of_them() -> None:
    chain: list[LedgerEntry] = []
    for number, records in ((1, 0), (2, 1), (3, 0)):
        chain.append(debit(chain, charge(number, "0.04", records), CAP, NOW, set()))
    assert standing(chain).spent == Decimal("0.12")
    assert standing(chain, {session(300)}).spent == Decimal("0.08")
    with pytest.raises(BudgetError, match=r"only 0\.02 is left"):
        debit(chain, charge(4, "0.04", 0), CAP, NOW, set())  # its own list counts, whatever the caller says
    with pytest.raises(BudgetError, match=r"only 0 is left"):
        debit(chain, charge(4, "0.01", 2), CAP, NOW, {session(300), session(301)})
    chain.append(refund(chain, session(3), NOW))
    assert standing(chain).sessions == 2
    assert debit(chain, charge(4, "0.04", 0), CAP, NOW, set()).charge.rho == Decimal("0.04")


def test_sums_are_never_rounded_down() -> None:
    chain: list[LedgerEntry] = []
    for number, cost in enumerate(("0.1", "1e-40", "1e-40")):
        chain.append(debit(chain, charge(number, cost), Decimal(1), NOW, None))
    assert spent(chain) > Decimal("0.1")
    with pytest.raises(BudgetError):
        debit(chain[:1], charge(7, "1e-40"), CAP, NOW, None)


def test_a_receipt_shows_that_entries_were_cut_off() -> None:
    chain = chain_of(1, 2, 3)
    for entry in chain:
        check_receipt(chain, entry.charge.session, entry.digest)
    with pytest.raises(StoreError, match="cut off"):
        check_receipt(chain[:2], session(3), chain[2].digest)
    other = [*chain[:2], with_fields(chain[2], nonce="b" * 64)]
    verify_chain(other)
    with pytest.raises(StoreError, match="cut off"):
        check_receipt(other, session(3), chain[2].digest)
