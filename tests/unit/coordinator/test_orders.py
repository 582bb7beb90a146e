"""Orders of several people while nobody serves: exactly what was signed, by enough of them, in time, and once in a database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.orders import KEYS, PEOPLE
from vdb_coordinator.approvals import (
    Action,
    ApprovalPolicy,
    Proposal,
    named,
    parse_proposal,
    proposal_digest,
    sign_proposal,
)
from vdb_coordinator.orders import Deed, Handed, installation, ordered, propose, record_done, restoration
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.wishes import wish_of
from vdb_coordinator.store import attempts
from vdb_coordinator.store.database import Database
from vdb_shared.errors import FormatError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.wire import reasons

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
BACKUP, ROOT = "sha256:" + "b" * 64, "sha256:" + "d" * 64
POLICY = ApprovalPolicy(actions={"restore": 2, "install_root": 2}, keys=KEYS)
RESTORE = restoration("testbed", BACKUP, 40, nothing_lost=False)
INSTALL = installation("testbed", 2, ROOT)


def signed(deed: Deed, *names: str, hours: int = 72, at: datetime = NOW) -> Handed:
    body = propose(deed, hours, at)
    return Handed(body, {name: sign_proposal(body, PEOPLE[name]) for name in names})


def refused(deed: Deed, handed: Handed, at: datetime = NOW) -> tuple[str, str]:
    with pytest.raises(RefusedError) as caught:
        ordered(POLICY, deed, handed, at)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("deed", [RESTORE, INSTALL], ids=lambda deed: deed.action)
def test_what_the_policy_names_one_person_cannot_do(deed: Deed) -> None:
    with pytest.raises(UsageError, match=r"2 of 3 people must sign this: .* give it with --order"):
        ordered(POLICY, deed, None, NOW)
    one = signed(deed, "anna")
    assert refused(deed, one) == (reasons.NEEDS_APPROVAL, "2 people must sign this, 1 have")
    stranger = sign_proposal(one.body, StatementKey.generate())
    for name in ("ben", "mallory"):
        assert refused(deed, replace(one, signatures={**one.signatures, name: stranger}))[0] == reasons.NEEDS_APPROVAL
    two = ordered(POLICY, deed, signed(deed, "anna", "carla"), NOW)
    assert two is not None
    assert sorted(two.signatures) == ["anna", "carla"]


def test_where_nobody_must_sign_one_person_does_it() -> None:
    """The attack that succeeds without a policy."""
    free = ApprovalPolicy(keys=KEYS)
    assert ordered(free, RESTORE, None, NOW) is None
    with pytest.raises(UsageError, match="leave it out"):
        ordered(free, RESTORE, signed(RESTORE, "anna", "ben"), NOW)


@pytest.mark.parametrize(
    "done",
    [
        restoration("testbed", "sha256:" + "c" * 64, 40, nothing_lost=False),
        restoration("testbed", BACKUP, 39, nothing_lost=False),
        restoration("testbed", BACKUP, 40, nothing_lost=True),
        restoration("elsewhere", BACKUP, 40, nothing_lost=False),
        INSTALL,
        replace(RESTORE, parameters={**RESTORE.parameters, "database": "another"}),
        replace(RESTORE, parameters={"backup": BACKUP}),
    ],
)
def test_an_order_is_of_exactly_one_deed(done: Deed) -> None:
    assert refused(done, signed(RESTORE, "anna", "ben"))[0] == reasons.INVALID


def test_words_that_were_changed_after_they_were_signed() -> None:
    good = signed(RESTORE, "anna", "ben")
    other = restoration("testbed", BACKUP, 3, nothing_lost=False)
    changed = parse_proposal(good.body).model_copy(update={"parameters": dict(other.parameters)})
    assert refused(other, replace(good, body=changed.encode()))[0] == reasons.NEEDS_APPROVAL


def test_an_order_lives_as_long_as_the_policy_says_whatever_it_says_itself() -> None:
    late, early = signed(RESTORE, "anna", "ben", hours=2), signed(RESTORE, "anna", "ben", hours=10_000)
    assert ordered(POLICY, RESTORE, late, NOW + timedelta(hours=1)) is not None
    assert refused(RESTORE, late, NOW + timedelta(hours=2))[0] == reasons.TOO_LATE
    assert ordered(POLICY, RESTORE, early, NOW + timedelta(hours=71)) is not None
    assert refused(RESTORE, early, NOW + timedelta(hours=72))[0] == reasons.TOO_LATE
    ahead = signed(RESTORE, "anna", "ben", at=NOW + timedelta(days=400))
    assert refused(RESTORE, ahead)[0] == reasons.INVALID, "dated ahead, so that it lives longer"


def test_dates_that_are_none() -> None:
    body = parse_proposal(propose(RESTORE, 1, NOW)).model_copy(update={"proposed": "2026-13-01T12:00:00Z"}).encode()
    handed = Handed(body, {name: sign_proposal(body, PEOPLE[name]) for name in ("anna", "ben")})
    assert refused(RESTORE, handed)[0] == reasons.INVALID


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite")
    asyncio.run(database.open())
    order = ordered(POLICY, INSTALL, signed(INSTALL, "anna", "ben"), NOW)
    assert order is not None
    database.run_now(lambda connection: record_done(connection, order, NOW, "somebody", "install root", "version 2"))
    (entry,) = database.run_now(attempts.load)
    digest, names = proposal_digest(order.body).hex(), ", ".join(named({name: KEYS[name] for name in ("anna", "ben")}))
    assert entry.outcome == f"version 2; sha256:{digest}: approved by {names}"
    with pytest.raises(RefusedError, match="done on 2026-02-01T12:00:00Z; a proposal is done once"):
        database.run_now(lambda connection: record_done(connection, order, NOW, "x", "install root", "version 2"))
    assert len(database.run_now(attempts.load)) == 1
    database.close()


@pytest.mark.parametrize("deed", [RESTORE, INSTALL], ids=lambda deed: deed.action)
def test_no_server_does_them(deed: Deed) -> None:
    proposal: Proposal = parse_proposal(propose(deed, 1, NOW))
    action: Action = proposal.action
    assert action == deed.action
    with pytest.raises(FormatError, match="is done while nobody serves"):
        wish_of(proposal)
