"""A first accountant that is wrong everywhere: coordinator, auditor and participants compute the same false claim.

Nothing but the second accountant can see it. Without it the same session goes on to a published result, so that these tests
can fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import Institution
from testkit.sessions import SITES, Runs, consortium, journal_of, kinds
from testkit.wrong_accountants import spoil_the_first_accountant
from vdb_participant import agent
from vdb_participant.agent import take_part
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session import preparation
from vdb_participant.session.claim import Opinion
from vdb_participant.session.consent import Plan
from vdb_shared.errors import PrivacyError
from vdb_shared.privacy import accountant, calibration


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


class DeclinedError(Exception):
    """Somebody said no."""


def halve_rho(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversion takes rho for half of what it is, in calibration and in the claim alike."""
    spoil_the_first_accountant(monkeypatch, rho=0.5)


def believe_in_more_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale and claim are made for noise 8 times as large as what is drawn: lanes are scaled 8 times too large."""
    for module in (calibration, accountant):
        monkeypatch.setattr(module, "LOCAL_SIGMA", 8 * calibration.LOCAL_SIGMA)


def state_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terms are right, but half of the epsilon is claimed for them."""
    right = accountant.account

    def account(made: calibration.Calibration) -> accountant.Accounting:
        found = right(made)
        return accountant.Accounting(made, found.rho, (found.epsilon or Decimal(0)) / 2, found.epsilon_pld)

    for module in (preparation, agent):
        monkeypatch.setattr(module, "account", account)


Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: tuple[Fault, ...] = (halve_rho, believe_in_more_noise, state_less)


def assert_refused_before_consent(institution: Institution) -> None:
    shown: list[Plan] = []
    with (
        Client(Connection(institution.site.config.address, institution.site.tls, institution.site.egress)) as client,
        pytest.raises(PrivacyError, match=r"^two accountants differ on this session: .* decline, and tell the lead$"),
    ):
        take_part(institution.site, client, replace(institution.request(), consent=shown.append))
    assert not shown
    assert not institution.folder.exists()
    assert not institution.measure.calls
    assert kinds(institution) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_claim_is_refused_before_consent(
    coordinator: RunningCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    fault(monkeypatch)
    assert_refused_before_consent(consortium(coordinator, tmp_path)[0])


@pytest.mark.parametrize("fault", FAULTS)
def test_without_the_second_accountant_the_same_session_goes_on(
    coordinator: RunningCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    fault(monkeypatch)
    nothing: tuple[Opinion, ...] = ()
    for module in (preparation, agent):
        monkeypatch.setattr(module, "check_claim", lambda _spec, _terms, _accounting: nothing)
    runs = Runs()
    institutions = consortium(coordinator, tmp_path)
    runs.start(*institutions)
    runs.join()
    assert not runs.errors
    assert len(runs.outcomes) == SITES
    assert all(outcome.bundle is not None for outcome in runs.outcomes.values())
    assert kinds(institutions[0]) == ["debit"]


def test_a_wrong_claim_for_those_who_really_joined_is_refused_after_the_seal(
    coordinator: RunningCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault shows only in the terms of the seal, after consent: nothing is measured, debited or sent but the objection."""
    right = accountant.account

    def account(made: calibration.Calibration) -> accountant.Accounting:
        found = right(made)
        return accountant.Accounting(made, found.rho, (found.epsilon or Decimal(0)) - 1, found.epsilon_pld)

    monkeypatch.setattr(agent, "account", account)
    institutions = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    assert set(runs.errors) == {institution.site.config.institution for institution in institutions}
    assert all(isinstance(error, PrivacyError) for error in runs.errors.values())
    for institution in institutions:
        assert institution.measure.calls == 0
        assert kinds(institution) == []
        assert "abort/sent" in journal_of(institution)


def test_the_plan_names_both_accountants_figures(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    shown: list[Plan] = []

    def decline(plan: Plan) -> None:
        shown.append(plan)
        raise DeclinedError

    with (
        Client(Connection(first.site.config.address, first.site.tls, first.site.egress)) as client,
        pytest.raises(DeclinedError),
    ):
        take_part(first.site, client, replace(first.request(), consent=decline))
    text = " ".join(shown[0].text.split())
    assert re.search(r" this session: epsilon 7\.99\d+ by dp-accounting, 7\.99\d+ by opacus, at delta 0\.000001 ", text)
    assert re.search(
        r" this session, by a closer estimate: epsilon 7\.50\d* by dp-accounting, 7\.50\d+ by opacus, at delta 0\.000001 ",
        text,
    )
    assert re.search(
        r" what this site books: epsilon 7\.99\d+ by dp-accounting, 7\.99\d+ by opacus, at delta 0\.000001 ", text
    )
