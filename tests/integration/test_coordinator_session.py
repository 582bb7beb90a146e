"""Whole sessions over real gRPC: consent, five rounds, draft, countersignatures, result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import PHASES, STEPS, play
from testkit.refusals import refused
from testkit.small_specs import small_spec
from vdb_coordinator.store import attempts
from vdb_coordinator.store.database import read_database
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.record import RELEASED, SessionRecord
from vdb_shared.bundle.statement import Abort, parse_statement
from vdb_shared.errors import SessionAbortedError, UsageError
from vdb_shared.secagg.encoding import decode_totals
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.vectors import vector_bytes
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
"""Deadlines that no test reaches: a test lets them pass by `expire`."""


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    """Return a coordinator with five members."""
    with running_coordinator(tmp_path_factory.mktemp("sessions"), institutions=5) as running:
        yield running


@contextmanager
def session_of(coordinator: RunningCoordinator, *played: str) -> Iterator[list[TestMember]]:
    """Yield the members of a new session in which all have played these steps."""
    session = coordinator.admin.create_session(PATIENT)
    members = [TestMember(coordinator, identity, session) for identity in coordinator.identities]
    try:
        play(members, *played)
        members[0].wait(PHASES[len(played)])
        yield members
    finally:
        for member in members:
            member.__exit__(None, None, None)


def record_of(bundle: bytes) -> SessionRecord:
    members = read_archive(bundle)
    return SessionRecord.from_members({name: content for name, content in members.items() if name not in RELEASED})


def test_all_five_are_in_the_sum_and_the_bundle_verifies(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator, *STEPS[:2]) as members:
        lanes = members[0].parameters().lanes
        for member in members:
            member.lanes = np.zeros(lanes, dtype=np.int64)
            member.lanes[member.seat] = 1
        play(members, *STEPS[2:])
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
        bundle = coordinator.admin.bundle(members[0].session)
        assert members[3].bundle() == bundle
    report = verify(bundle, root=coordinator.root_fingerprint)
    assert not [line for line in report.lines if line.status.value == "FAIL" and line.id not in ("V40", "V41")]
    totals = decode_totals(record_of(bundle).aggregate, 5)
    assert totals[:5].tolist() == [1] * 5
    assert not totals[5:].any()


@pytest.mark.parametrize("step", STEPS[1:7])
def test_one_who_stops_is_not_waited_for_beyond_the_deadline(coordinator: RunningCoordinator, step: str) -> None:
    with session_of(coordinator, *STEPS[: STEPS.index(step)]) as members:
        there = members[:4]
        for following in STEPS[STEPS.index(step) :]:
            play(there, following)
            if members[0].details().status.phase is PHASES[STEPS.index(following)]:
                coordinator.expire(members[0].session)
        status = members[0].wait(Phase.PUBLISHED)
        assert status.phase is Phase.PUBLISHED, status.reason
        bundle = coordinator.admin.bundle(members[0].session)
    survivors = 4 if step in ("advertise", "share", "mask") else 5
    assert len(record_of(bundle).contributions) == survivors


def test_every_submission_can_be_resent_and_gets_the_same_receipt(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator) as members:
        receipts = {}
        for step in STEPS:
            play(members[:-1], step)
            receipts[step] = [getattr(member, step)() for member in members[:-1]]
            play(members[-1:], step)
            assert [getattr(member, step)() for member in members[:-1]] == receipts[step]
        members[0].wait(Phase.PUBLISHED)
        for step in STEPS:
            assert [getattr(member, step)() for member in members[:-1]] == receipts[step]


def test_other_bytes_in_the_same_place_are_refused_and_recorded(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator, "join") as members:
        member = members[0]
        member.advertise()
        phase, signed = member.sent["advertise"]
        member.sent["advertise"] = (phase, replace(signed, body=signed.body + b"x"))
        assert refused(member.advertise) == reasons.CONFLICT
        member.sent["advertise"] = (phase, signed)
        member.advertise()


def test_nobody_sends_in_the_name_of_another(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator, "join") as members:
        members[0].wait(Phase.ADVERTISING_KEYS)
        members[1].advertise()
        stolen = pb.AdvertiseKeysRequest(
            session=members[0].session, keys=convert.signed_to_wire(1, members[1].sent["advertise"][1])
        )
        assert refused(lambda: members[0].rounds.AdvertiseKeys(stolen, timeout=CALL)) == reasons.NOT_A_MEMBER
        renamed = pb.AdvertiseKeysRequest(
            session=members[0].session, keys=convert.signed_to_wire(0, members[1].sent["advertise"][1])
        )
        assert refused(lambda: members[0].rounds.AdvertiseKeys(renamed, timeout=CALL)) == reasons.PROTOCOL


def test_what_is_not_there_yet_is_said_to_be_so(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator) as members:
        member = members[0]
        name: dict[str, Any] = {"session": member.session, "attempt": 0}
        early: list[Callable[[], object]] = [
            member.seal,
            member.bundle,
            lambda: member.rounds.GetAdvertisedKeys(pb.GetAdvertisedKeysRequest(**name), timeout=CALL),
        ]
        assert {refused(call) for call in early} == {reasons.NOT_YET}
        play(members, "join")
        member.wait(Phase.ADVERTISING_KEYS)
        early = [
            lambda: member.rounds.GetAdvertisedKeys(pb.GetAdvertisedKeysRequest(**name), timeout=CALL),
            lambda: member.rounds.GetSharedKeys(pb.GetSharedKeysRequest(**name), timeout=CALL),
            lambda: member.rounds.GetMaskedInputs(pb.GetMaskedInputsRequest(**name), timeout=CALL),
            lambda: member.rounds.GetConsistency(pb.GetConsistencyRequest(**name), timeout=CALL),
            member.bundle,
        ]
        assert {refused(call) for call in early} == {reasons.NOT_YET}


def test_a_broken_upload_goes_on_where_it_stopped(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator, *STEPS[:3]) as members:
        member = members[0]
        member.wait(Phase.MASKING_INPUT)
        member.prepare_mask()
        masked = member.sent["mask"][1].masked
        query = pb.QueryUploadRequest(session=member.session, digest=digest_of(member))
        assert member.rounds.QueryUpload(query, timeout=CALL).stored == 0
        for begin, end in ((0, 1000), (1000, 2000)):
            call = refused(lambda: upload(member, begin, end))  # noqa: B023 - called at once
            assert call == reasons.WRONG_OFFSET
            assert member.rounds.QueryUpload(query, timeout=CALL).stored == end
        coordinator.restart()
        member.reconnect()
        assert member.rounds.QueryUpload(query, timeout=CALL).stored == 2000
        assert refused(lambda: upload(member, 0, None)) == reasons.WRONG_OFFSET
        assert upload(member, 2000, None).receipt.digest
        assert member.rounds.QueryUpload(query, timeout=CALL).stored == 0
        assert member.mask().digest
        for other in members[1:]:
            other.reconnect()
        play(members[1:], "mask")
        assert members[1].wait(Phase.CONSISTENCY)
        assert len(masked) == vector_bytes(member.parameters().lanes)


@pytest.mark.parametrize("stored", [2000, None])
def test_bytes_that_our_disk_lost_are_no_breach_of_who_sent_them(
    coordinator: RunningCoordinator, stored: int | None
) -> None:
    """A power cut may keep the length of a file that was not synced, and none of its bytes."""
    with session_of(coordinator, *STEPS[:3]) as members:
        member = members[0]
        member.wait(Phase.MASKING_INPUT)
        member.prepare_mask()
        size = stored or len(member.sent["mask"][1].masked)
        assert refused(lambda: upload(member, 0, 1000)) == reasons.WRONG_OFFSET
        coordinator.stop()
        (file,) = coordinator.home.uploads.iterdir()
        file.write_bytes(bytes(size))
        coordinator.start()
        member.reconnect()
        assert refused(lambda: upload(member, size, None)) == reasons.WRONG_OFFSET
        query = pb.QueryUploadRequest(session=member.session, digest=digest_of(member))
        assert member.rounds.QueryUpload(query, timeout=CALL).stored == 0
        assert member.mask().digest


def upload(member: TestMember, begin: int, end: int | None) -> pb.UploadMaskedInputResponse:
    return member.rounds.UploadMaskedInput(member.upload_parts(begin, end), timeout=CALL)


def digest_of(member: TestMember) -> bytes:
    return masked_digest(member.sent["mask"][1].masked)


def test_wrong_uploads_are_refused(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator, *STEPS[:3]) as members:
        member = members[0]
        member.wait(Phase.MASKING_INPUT)
        member.prepare_mask()
        start, chunk = member.upload_parts()
        wrong_size = pb.UploadMaskedInputRequest(start=start.start)
        wrong_size.start.size += 8
        flipped = pb.UploadMaskedInputRequest(chunk=bytes([chunk.chunk[0] ^ 1]) + chunk.chunk[1:])
        unsigned = pb.UploadMaskedInputRequest(start=start.start)
        unsigned.start.header.signature = bytes(64)
        flooded, swollen = (pb.UploadMaskedInputRequest(start=start.start) for _ in range(2))
        flooded.start.contribution = b"[" + b"0," * 2**20 + b"0]"
        swollen.start.header.body += bytes(2**20)
        for parts, reason in (
            ([wrong_size, chunk], reasons.PROTOCOL),
            ([unsigned, chunk], reasons.PROTOCOL),
            ([start, flipped], reasons.PROTOCOL),
            ([start, start], reasons.INVALID),
            ([flooded, chunk], reasons.INVALID),
            ([swollen, chunk], reasons.INVALID),
            ([chunk], reasons.INVALID),
            ([], reasons.INVALID),
            ([start, chunk, chunk], reasons.PROTOCOL),
        ):
            found = refused(lambda: member.rounds.UploadMaskedInput(iter(parts), timeout=CALL))  # noqa: B023 (called before the loop goes on)
            assert found == reason, (reason, len(parts))
        recorded = read_database(coordinator.home.sqlite, attempts.load)
        refusals = [
            entry.outcome
            for entry in recorded
            if entry.action == "UploadMaskedInput" and member.session in entry.outcome
        ]
        assert len(refusals) == 7, "all but those that begin no upload"
        assert sum("at most" in outcome for outcome in refusals) == 2, "and neither of the large ones was read"
        query = pb.QueryUploadRequest(session=member.session, digest=digest_of(member))
        stored = member.rounds.QueryUpload(query, timeout=CALL).stored
        start.start.offset = stored
        rest = [pb.UploadMaskedInputRequest(chunk=chunk.chunk[stored:])] if stored < len(chunk.chunk) else []
        assert member.rounds.UploadMaskedInput(iter([start, *rest]), timeout=CALL).receipt.digest


def test_watchers_see_every_phase_in_order_and_progress(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator) as members:
        seen = []
        watch = coordinator.admin.watch(members[0].session)
        seen.append(next(watch))
        play(members, "join")
        members[0].wait(Phase.ADVERTISING_KEYS)
        request = pb.ReportProgressRequest(session=members[0].session, stage="generating", done=12, total=36)
        members[2].sessions.ReportProgress(request, timeout=CALL)
        for status in watch:
            seen.append(status)
            if status.sites[2].stage == "joined, says: generating 12/36":
                break
        play(members, *STEPS[1:])
        seen.extend(watch)
        assert refused(lambda: members[2].sessions.ReportProgress(request, timeout=CALL)) == reasons.TOO_LATE
    phases = [status.phase for status in seen]
    assert phases == sorted(phases)
    assert phases[-1] is Phase.PUBLISHED
    assert {Phase.ACCEPTING, Phase.ADVERTISING_KEYS} <= set(phases)
    assert [status.event for status in seen] == sorted(status.event for status in seen)


def test_the_leads_abort_reaches_everybody_with_its_reason(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator, "join", "advertise") as members:
        coordinator.admin.abort_session(members[0].session[:20], "wrong prompts")
        status = members[0].wait(Phase.ABORTED)
        assert status.reason == "aborted by the lead: wrong prompts"
        assert refused(members[0].share) == reasons.ABORTED
        with pytest.raises(SessionAbortedError, match="wrong prompts"):
            coordinator.admin.bundle(members[0].session)
        with pytest.raises(UsageError):
            coordinator.admin.abort_session(members[0].session, "again")


def test_a_members_abort_drops_that_member_only(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator, "join", "advertise") as members:
        assert members[4].abort() == members[4].abort()
        assert refused(members[4].share) == reasons.TOO_LATE
        play(members[:4], *STEPS[2:])
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
        abort, _ = parse_statement(convert_envelope(members[4]), Abort)
        assert abort.reason == "no GPU today"


def convert_envelope(member: TestMember) -> bytes:
    return Envelope.from_json(member.sent["abort"]).payload


def test_sessions_run_side_by_side(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator) as first, session_of(coordinator) as second:
        for step in STEPS:
            play(first, step)
            play(second, step)
        for members in (first, second):
            assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
        assert first[0].session != second[0].session
        assert first[0].bundle() != second[0].bundle()


def test_sessions_are_found_by_a_unique_prefix(coordinator: RunningCoordinator) -> None:
    with session_of(coordinator) as members:
        session = members[0].session
        assert coordinator.admin.details(session[:20]).session == session
        assert coordinator.admin.details(session.removeprefix("sha256:")[:12]).session == session
        for name in ("", "sha256:", "0" * 64):
            with pytest.raises(UsageError, match="session"):
                coordinator.admin.details(name)


def test_a_newcomer_does_not_see_sessions_opened_before(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        session = coordinator.admin.create_session(PATIENT)
        with TestMember(coordinator, coordinator.enrol("newcomer"), session) as newcomer:
            assert refused(newcomer.details) == reasons.NOT_A_MEMBER
            assert refused(lambda: newcomer.wait(Phase.ACCEPTING)) == reasons.NOT_A_MEMBER


def test_too_small_a_consortium_is_told_so_before_anything_is_created(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=3) as coordinator:
        with pytest.raises(UsageError, match="4 institutions must join, but only 3 are members"):
            coordinator.admin.create_session(PATIENT)
        assert coordinator.admin.sessions() == []


def test_a_disk_that_refuses_loses_nothing(coordinator: RunningCoordinator) -> None:
    blobs = coordinator.home.blobs
    with session_of(coordinator, *STEPS[:3]) as members:
        members[0].prepare_mask()
        blobs.rename(blobs.with_name("away"))
        assert refused(members[0].mask) == reasons.STORAGE
        assert members[0].details().status.sites[0].stage == "shared keys"
        blobs.with_name("away").rename(blobs)
        receipt = members[0].mask()
        assert members[0].mask() == receipt
        play(members[1:], "mask")
        play(members, "agree")
        members[0].wait(Phase.UNMASKING)
        blobs.rename(blobs.with_name("away"))
        coordinator.log.truncate(0)
        play(members[:4], "reveal")
        while "event not stored" not in coordinator.log.getvalue():
            assert members[0].details().status.phase is Phase.UNMASKING
        blobs.with_name("away").rename(blobs)
        play(members, "countersign")
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED


def test_deadlines_pass_by_themselves(tmp_path: Path) -> None:
    spec = small_spec(deadlines="{ joining = 1, computing = 1, round = 1, countersigning = 1 }")
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        session = coordinator.admin.create_session(spec)
        with TestMember(coordinator, coordinator.identities[0], session) as member:
            assert "0 institutions joined" in member.wait(Phase.ABORTED).reason


def test_a_session_that_too_many_have_left_ends_without_waiting_for_its_deadline(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        session = coordinator.admin.create_session(PATIENT)
        first, second = (TestMember(coordinator, one, session) for one in coordinator.identities[:2])
        with first, second:
            first.join()
            first.abort()
            assert "0 institutions joined, the spec asks for at least 4" in second.wait(Phase.ABORTED).reason
