"""A real agent seals garbage: the others complain, begin again without it over a real coordinator, and publish."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.crashes import sealing_garbage
from testkit.institutions import Institution
from testkit.sessions import Runs, consortium, journal_of, kinds, run_with_failpoint
from vdb_participant import rounds
from vdb_participant.phases import Advertised, SharedKeys, SharedKeysMessage
from vdb_participant.session.exchange import COMPLAINT_SENT, LEAVING, MASK_SENT
from vdb_participant.session.records import RESTART, in_attempt
from vdb_shared.audit.verify import verify
from vdb_shared.errors import SessionAbortedError

FIVE = 5
DEALER, VICTIM = 1, 4
"""Seats of who seals garbage, and for whom."""


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=FIVE) as running:
        yield running


@pytest.fixture(autouse=True)
def dealer_seals_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the dealer's agent, and no other, sign garbage for the victim."""
    real = rounds.share_keys

    def share_keys(phase: Advertised, *rest: object) -> tuple[SharedKeys, SharedKeysMessage]:
        following, message = real(phase, *rest)  # type: ignore[arg-type]  # what it was called with
        if phase.membership.seat != DEALER:
            return following, message
        bad = sealing_garbage(following, message, VICTIM)
        return replace(following, own=bad.header), bad

    monkeypatch.setattr("vdb_participant.session.exchange.rounds.share_keys", share_keys)


def assert_published(coordinator: RunningCoordinator, runs: Runs, institutions: list[Institution]) -> None:
    """Check the result of all but the dealer, and that the dealer was told."""
    dealer, victim = institutions[DEALER], institutions[VICTIM]
    name = dealer.site.config.institution
    assert runs.errors.keys() == {name}, runs.errors
    assert isinstance(runs.errors[name], SessionAbortedError)
    assert f"restarted without us: seat {VICTIM} says that what we sealed" in str(runs.errors[name])
    (bundle,) = {outcome.bundle.read_bytes() for outcome in runs.outcomes.values()}
    verify(bundle, root=coordinator.root_fingerprint).require()
    assert len(runs.outcomes) == FIVE - 1
    for institution in institutions:
        journal = journal_of(institution)
        assert f"{RESTART}1" in journal
        assert "secret" not in journal.values()
        if institution is not dealer:
            assert kinds(institution) == ["debit"]
            assert in_attempt(1, LEAVING) in journal
            assert institution.measure.calls <= 1
    assert COMPLAINT_SENT in journal_of(victim)
    assert MASK_SENT not in journal_of(victim)


def test_the_others_publish_without_the_dealer(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    institutions = consortium(coordinator, tmp_path, minimum=FIVE)
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    assert_published(coordinator, runs, institutions)


@pytest.mark.parametrize("place", ["after-complaint", "after-restart"])
def test_killed_around_its_complaint_it_goes_on(coordinator: RunningCoordinator, tmp_path: Path, place: str) -> None:
    institutions = consortium(coordinator, tmp_path, minimum=FIVE)
    victim = institutions[VICTIM]
    runs = Runs()
    runs.start(*(institution for institution in institutions if institution is not victim))
    assert run_with_failpoint(victim, f"{place}=kill") == -signal.SIGKILL
    runs.start(victim)
    runs.join()
    assert_published(coordinator, runs, institutions)


def test_the_dealer_pays_only_for_an_input_that_left(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    institutions = consortium(coordinator, tmp_path, minimum=FIVE)
    dealer = institutions[DEALER]
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    paid = kinds(dealer)
    assert paid in ([["debit"]] if LEAVING in journal_of(dealer) else [[], ["debit", "refund"]])
    with pytest.raises(SessionAbortedError, match="restarted without us"):
        dealer.take_part()
    assert kinds(dealer) == paid
