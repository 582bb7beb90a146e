"""What an agent checks once more when it knows who really joined: its site's policy, and the cost by its own accountant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.crashes import Crash
from testkit.dishonest import Remembering
from testkit.institutions import no_passphrase
from testkit.sessions import SITES, Runs, consortium, journal_of, kinds, recorded, wait_for_journal
from testkit.wrong_accountants import spoil_the_first_accountant
from vdb_participant.session.correspondence import ACKNOWLEDGED
from vdb_participant.session.records import ABORT_SENT, JOIN_SENT
from vdb_participant.site.institution import open_site
from vdb_participant.site.storage import write_durably
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Abort, parse_statement
from vdb_shared.errors import BudgetError, PrivacyError
from vdb_shared.wire.status import SealedSession


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


def reason_in(statement: bytes) -> str:
    return parse_statement(Envelope.from_json(statement).payload, Abort)[0].reason


class DyingBeforeTheSeal(Remembering):
    """Ends the life that asks for the seal."""

    def seal(self, session: str) -> SealedSession:
        raise Crash


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "minimum_cohort = 3",
            "minimum_cohort = 4",
            "demands 4 institutions in the sum, the session is content with 3",
        ),
        ("minimum_honest = 2", "minimum_honest = 3", "demands 3 honest ones in the sum, the session ensures 2"),
    ],
)
def test_a_policy_tightened_after_the_join_holds_for_the_sealed_cohort(
    coordinator: RunningCoordinator, tmp_path: Path, old: str, new: str, words: str
) -> None:
    *others, victim = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*others)
    with DyingBeforeTheSeal(victim) as dying, pytest.raises(Crash):
        victim.take_part(dying)
    policy = victim.site.folder.policy
    assert old.encode() in policy.read_bytes()
    write_durably(policy, policy.read_bytes().replace(old.encode(), new.encode()))
    victim.site = open_site(victim.site.folder, no_passphrase)
    with Remembering(victim) as link, pytest.raises(BudgetError, match=words):
        victim.take_part(link)
    runs.join()
    assert not runs.errors
    assert link.kinds == ["abort"]
    assert reason_in(link.sent[0][1]) == "left (BudgetError)", "what the site demands is its own affair"
    assert kinds(victim) == []
    assert victim.measure.calls == 0


def test_an_accountant_that_understates_the_sealed_cost_is_contradicted(
    coordinator: RunningCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is in code that all share, and shows between consent and seal: everybody's first opinion is content with it."""
    *joining, _ = consortium(coordinator, tmp_path, minimum=SITES - 1)
    runs = Runs()
    runs.start(*joining)
    for institution in joining:
        wait_for_journal(institution, JOIN_SENT + ACKNOWLEDGED)
    spoil_the_first_accountant(monkeypatch, epsilon=0.95)
    coordinator.expire(joining[0].session)
    runs.join()
    assert len(runs.errors) == len(joining)
    for institution in joining:
        error = runs.errors[institution.site.config.institution]
        assert isinstance(error, PrivacyError)
        assert "opacus 8.4" in str(error)
        assert reason_in(recorded(institution, ABORT_SENT)) == "left (PrivacyError)"
        assert "measurement" not in journal_of(institution)
        assert kinds(institution) == []
