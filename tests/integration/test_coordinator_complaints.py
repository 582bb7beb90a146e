"""Dealers whose shares do not open, over real gRPC: complaint, record, a new attempt, a result without them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.refusals import refused
from testkit.small_specs import small_spec
from vdb_coordinator.release import full_archive
from vdb_coordinator.store.blobs import BlobStore
from vdb_coordinator.store.database import read_database
from vdb_coordinator.store.kept_messages import published_messages
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import RELEASED, SessionRecord
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import UnusableShareError
from vdb_shared.secagg.encoding import decode_totals
from vdb_shared.secagg.restarts import verify_restart
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
DEALER = 4
HELD_BY = 0
"""For whom the dealer seals garbage."""


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    """Return a coordinator with five members, of whom four are enough."""
    with running_coordinator(tmp_path_factory.mktemp("complaints"), institutions=5) as running:
        yield running


@contextmanager
def spoilt(coordinator: RunningCoordinator, *, dealer: int = DEALER) -> Iterator[list[TestMember]]:
    """Yield the members of a session that awaits masked inputs; one of them dealt a pair that does not open."""
    session = coordinator.admin.create_session(PATIENT)
    members = [TestMember(coordinator, identity, session) for identity in coordinator.identities]
    members[dealer].spoils = (HELD_BY,)
    try:
        play(members, *STEPS[:3])
        members[0].wait(Phase.MASKING_INPUT)
        yield members
    finally:
        for member in members:
            member.__exit__(None, None, None)


def discovered(member: TestMember) -> int:
    """Return the dealer whose pair a member cannot open."""
    with pytest.raises(UnusableShareError) as caught:
        member.prepare_mask()
    return caught.value.dealer


def go_on(members: list[TestMember]) -> None:
    """Let members learn of the newest attempt."""
    for member in members:
        member.restart()


def test_a_session_goes_on_without_a_dealer_whose_shares_do_not_open(coordinator: RunningCoordinator) -> None:
    with spoilt(coordinator) as members:
        there = members[:DEALER]
        members[1].mask()
        progress = pb.ReportProgressRequest(session=members[0].session, stage="generating", done=36, total=36)
        members[2].sessions.ReportProgress(progress, timeout=CALL)
        assert discovered(members[HELD_BY]) == DEALER
        members[HELD_BY].complain(DEALER)
        status = members[HELD_BY].details().status
        assert (status.attempt, status.phase) == (1, Phase.ADVERTISING_KEYS)
        assert [site.stage for site in status.sites] == [*["joined"] * DEALER, "left out"]
        go_on(there)
        for member in there:
            member.lanes = np.zeros(member.parameters().lanes, dtype=np.int64)
            member.lanes[member.seat] = 1
        play(there, *STEPS[1:])
        status = members[0].wait(Phase.PUBLISHED)
        assert (status.attempt, status.phase) == (1, Phase.PUBLISHED), status.reason
        bundle = coordinator.admin.bundle(members[0].session)
    report = verify(bundle, root=coordinator.root_fingerprint)
    assert not [line for line in report.lines if line.status.value == "FAIL" and line.id not in ("V40", "V41")]
    archive = read_archive(bundle)
    record = SessionRecord.from_members({name: content for name, content in archive.items() if name not in RELEASED})
    assert decode_totals(record.aggregate, DEALER)[:5].tolist() == [1, 1, 1, 1, 0]
    assert [restart.dealer for restart in record.restarts] == [DEALER]
    assert_only_the_last_attempt_is_shown(coordinator, bundle, members[0].session)


def assert_only_the_last_attempt_is_shown(coordinator: RunningCoordinator, bundle: bytes, session: str) -> None:
    """What was masked in the attempt that was given up stays with the coordinator: nobody may ever unmask it."""
    blobs = BlobStore(coordinator.home.blobs)
    kept = read_database(coordinator.home.sqlite, lambda connection: published_messages(connection, blobs, session))
    assert kept.names == {seat: f"site-{seat}" for seat in range(DEALER)}
    assert kept.messages.masked.keys() == set(range(DEALER))
    full = full_archive(bundle, kept.names, kept.messages)
    (line,) = (line for line in verify(full, root=coordinator.root_fingerprint).lines if line.id == "V33")
    assert line.status.value == "PASS", line.detail
    with sqlite3.connect(coordinator.home.sqlite) as database:
        stored = [
            json.loads(body) for (body,) in database.execute("select body from events where session = ?", [session])
        ]
    inputs = [event["masked"] for event in stored if event["event"] == "input-received"]
    assert len(inputs) == DEALER + 1
    assert set(map(sha256_digest, kept.messages.masked.values())) < set(inputs)


def test_the_record_is_served_to_all_who_joined_and_holds(coordinator: RunningCoordinator) -> None:
    with spoilt(coordinator) as members:
        request = pb.GetRestartsRequest(session=members[0].session)
        assert not members[1].rounds.GetRestarts(request, timeout=CALL).restarts
        members[HELD_BY].complain(DEALER)
        for member in members:
            found = convert.restarts_from_wire(member.rounds.GetRestarts(request, timeout=CALL))
            assert [(restart.dealer, restart.complainer) for restart in found] == [(DEALER, HELD_BY)]
            following = verify_restart(member.sealed_parameters(), found[0], "coordinator")
            assert following.left_out == {DEALER}
        go_on(members)
        assert refused(members[DEALER].advertise) == reasons.TOO_LATE


def test_a_complaint_that_breaks_a_rule_changes_nothing_and_is_recorded(coordinator: RunningCoordinator) -> None:
    with spoilt(coordinator) as members:
        liar, before = members[1], members[0].details().status
        assert refused(lambda: liar.complain(1)) == reasons.PROTOCOL
        assert members[0].details().status == before
        members[2].restart()
        assert members[2].attempt == 0
        (outcome,) = refusals(coordinator, "Complain", liar.session)
        assert "seat 1 complains about itself" in outcome
        play(members[1:], "mask")
        coordinator.expire(liar.session)
        play(members[1:], *STEPS[4:6])
        assert liar.wait(Phase.FINALISING).attempt == 0


def test_a_second_complaint_of_a_seat_is_refused(coordinator: RunningCoordinator) -> None:
    with spoilt(coordinator) as members:
        members[HELD_BY].complain(DEALER)
        there = members[:DEALER]
        go_on(there)
        play(there, *STEPS[1:3])
        there[0].wait(Phase.MASKING_INPUT)
        assert refused(lambda: members[HELD_BY].complain(1)) == reasons.PROTOCOL
        (outcome,) = refusals(coordinator, "Complain/1", there[0].session)
        assert "complains a second time" in outcome
        assert there[0].wait(Phase.MASKING_INPUT).attempt == 1


def refusals(coordinator: RunningCoordinator, action: str, session: str) -> list[str]:
    """Return what the coordinator recorded of refused submissions of a session."""
    with sqlite3.connect(coordinator.home.path / "coordinator.sqlite") as connection:
        rows = connection.execute("select outcome from attempts where action = ?", (action,)).fetchall()
    connection.close()
    return [outcome for (outcome,) in rows if session in outcome]


def test_late_messages_of_the_old_attempt_are_told_of_the_restart(coordinator: RunningCoordinator) -> None:
    with spoilt(coordinator) as members:
        late, prepared = members[1], members[2]
        prepared.prepare_mask()
        first = next(prepared.upload_parts())
        query = pb.QueryUploadRequest(session=late.session, digest=bytes(32))
        sent = late.mask()
        receipt = members[HELD_BY].complain(DEALER)
        for call in (
            prepared.mask,
            lambda: prepared.rounds.UploadMaskedInput(iter([first]), timeout=CALL),
            lambda: prepared.rounds.QueryUpload(query, timeout=CALL),
            members[3].prepare_mask,
            late.agree,
        ):
            assert refused(call) == reasons.RESTARTED
        assert refused(lambda: members[3].complain(DEALER)) == reasons.RESTARTED
        assert members[HELD_BY].complain(DEALER) == receipt
        assert late.advertise().event < late.share().event < sent.event
        go_on(members[:DEALER])
        first_keys = late.advertise()
        assert first_keys.event > receipt.event
        late.attempt = 0
        assert late.advertise().event < receipt.event
        late.attempt = 1
        assert late.advertise() == first_keys


def test_a_request_for_an_attempt_that_has_not_begun_is_refused_too(coordinator: RunningCoordinator) -> None:
    with spoilt(coordinator) as members:
        request = pb.GetSharedKeysRequest(session=members[1].session, attempt=1)
        assert refused(lambda: members[1].rounds.GetSharedKeys(request, timeout=CALL)) == reasons.RESTARTED
        assert members[1].mask().digest


def test_the_coordinator_may_die_between_the_complaint_and_the_new_round_0(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=5) as coordinator, spoilt(coordinator) as members:
        there = members[:DEALER]
        members[1].mask()
        receipt = members[HELD_BY].complain(DEALER)
        coordinator.restart()
        for member in members:
            member.reconnect()
        assert members[HELD_BY].complain(DEALER) == receipt
        assert refused(members[2].prepare_mask) == reasons.RESTARTED
        go_on(there)
        for step in STEPS[1:]:
            play(there[:2], step)
            coordinator.restart()
            for member in members:
                member.reconnect()
            play(there, step)
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
        report = verify(coordinator.admin.bundle(members[0].session), root=coordinator.root_fingerprint)
    assert not [line for line in report.lines if line.status.value == "FAIL"]


def test_too_few_left_abort_in_the_name_of_the_dealer(coordinator: RunningCoordinator) -> None:
    with spoilt(coordinator) as members:
        members[3].abort()
        members[HELD_BY].complain(DEALER)
        status = members[0].wait(Phase.ABORTED)
        assert status.phase is Phase.ABORTED
        complainer, dealer = (members[seat].identity.institution for seat in (HELD_BY, DEALER))
        assert f"{complainer} cannot open what {dealer} sealed for it" in status.reason
        assert refused(members[1].mask) == reasons.ABORTED
