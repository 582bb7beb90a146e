"""An agent that is lied to leaves with one signed statement that says why, says nothing afterwards, and keeps no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.crashes import Crash
from testkit.dishonest import FewSurvivors, ForgedHeader, ForgedSeal, Remembering, StrangeStatement, dies
from testkit.institutions import Institution
from testkit.sessions import SITES, Runs, consortium, journal_of, kinds, recorded
from vdb_participant.session.preparation import Resources
from vdb_participant.session.progress import Progress
from vdb_participant.session.records import ABORT_SENT, CONSENTED, OUTCOME, Consented, Measured
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.institution import Site
from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Abort, parse_statement
from vdb_shared.errors import ProtocolError, SessionAbortedError, StatisticError, VdbError
from vdb_shared.metrics.statistic import Tally

SEAT = SITES - 1
"""The victim's."""


@dataclass(frozen=True)
class Lie:
    """A coordinator's lie, and what an agent says to it.

    Attributes:
        link: tells it.
        words: what the agent answers.
        stage: its last record before.
        said: what it had submitted before.
        ledger: what the session costs it.
    """

    link: type[Remembering]
    words: str
    stage: str
    said: tuple[str, ...]
    ledger: tuple[str, ...]


LIES = {
    "a forged seal": Lie(ForgedSeal, "its seal statement is not one of", "seal/received", ("join",), ()),
    "a forged round-1 header": Lie(
        ForgedHeader, "message of seat 0: signature", "masked-input/received", ("join", "keys", "shares"), ()
    ),
    "a U3 below the smallest cohort": Lie(
        FewSurvivors,
        "U3 holds 2 participants, expected at least 3",
        "consistency/received",
        ("join", "keys", "shares", "input"),
        ("debit",),
    ),
    "another T3": Lie(
        StrangeStatement,
        "seat 0 signed another T3 than we did",
        "consistency/sent/acknowledged",
        ("join", "keys", "shares", "input", "consistency"),
        ("debit",),
    ),
}


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


def abort_in(victim: Institution, statement: bytes) -> Abort:
    """Return what an abort statement says, if it is one of the victim's seat, and the one in its journal."""
    assert statement == recorded(victim, ABORT_SENT)
    roster = Consented.decode(recorded(victim, CONSENTED)).offered.roster
    member = roster.verify(victim.site.config.root_fingerprint, None).seated(SEAT)
    payload = Envelope.from_json(statement).verify(labels.TYPE_STATEMENT, [member.public_key])
    assert json.loads(payload)["_type"] == "https://in-toto.io/Statement/v1"
    abort, subjects = parse_statement(payload, Abort)
    assert not subjects
    assert (abort.session, abort.institution) == (victim.session, member.institution)
    return abort


def assert_over(victim: Institution) -> None:
    """Check that the session left no secret, and that another life says nothing."""
    assert OUTCOME in journal_of(victim)
    assert "secret" not in journal_of(victim).values()
    with Remembering(victim) as link, pytest.raises(SessionAbortedError):
        victim.take_part(link)
    assert link.sent == []


@pytest.mark.parametrize("story", LIES)
def test_it_says_once_why_it_leaves(coordinator: RunningCoordinator, tmp_path: Path, story: str) -> None:
    lie = LIES[story]
    *others, victim = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*others)
    with lie.link(victim) as link, pytest.raises(ProtocolError, match=lie.words) as caught:
        victim.take_part(link)
    runs.join()
    assert not runs.errors, "the others are not held up"
    assert link.kinds == [*lie.said, "abort"]
    abort = abort_in(victim, link.sent[-1][1])
    assert abort.reason == str(caught.value)
    assert abort.stage == lie.stage
    assert kinds(victim)[:1] == list(lie.ledger)
    assert_over(victim)


@pytest.mark.parametrize("story", LIES)
def test_killed_around_its_statement_it_says_the_same_again_and_nothing_else(
    coordinator: RunningCoordinator, tmp_path: Path, story: str
) -> None:
    """Also when the coordinator no longer lies."""
    lie = LIES[story]
    *others, victim = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*others)
    with lie.link(victim, before_abort=dies) as first, pytest.raises(Crash):
        victim.take_part(first)
    with Remembering(victim, after_abort=dies) as second, pytest.raises(Crash):
        victim.take_part(second)
    with Remembering(victim) as third, pytest.raises(VdbError, match=lie.words):
        victim.take_part(third)
    runs.join()
    assert not runs.errors
    assert first.kinds == [*lie.said, "abort"]
    assert first.sent[-1:] == second.sent == third.sent
    abort_in(victim, third.sent[0][1])
    assert_over(victim)


@dataclass
class Overlong:
    """Measures a clip whose statistic is longer than any may be; implements Measure."""

    private: str = ""

    def __call__(
        self, site: Site, sealed: SealedTerms, consented: Consented, resources: Resources, progress: Progress
    ) -> Measured:
        block = next(block for block in sealed.terms.layout.blocks if block.private)
        try:
            Tally(sealed.terms.layout, capacity=1).add(block.name, np.full(block.dims, 1234.5))
        except StatisticError as error:
            self.private = str(error)
            raise
        raise AssertionError("was taken")


def test_why_it_leaves_never_quotes_what_it_measured(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    *others, victim = consortium(coordinator, tmp_path)
    victim.measure = overlong = Overlong()  # type: ignore[assignment]  # another measurement of the same shape
    runs = Runs()
    runs.start(*others)
    with Remembering(victim) as link, pytest.raises(StatisticError, match=r"found \d+"):
        victim.take_part(link)
    runs.join()
    assert not runs.errors
    assert link.kinds == ["join", "abort"]
    assert abort_in(victim, link.sent[-1][1]).reason == "left (StatisticError)"
    assert overlong.private.rsplit(" ", 1)[1].encode() not in Envelope.from_json(link.sent[-1][1]).payload
    assert kinds(victim) == []
    assert_over(victim)
