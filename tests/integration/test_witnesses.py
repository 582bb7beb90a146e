"""Witnesses of the log over real gRPC: without a quorum nothing is sealed and nothing is published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep

import grpc
import pytest

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.refusals import reason_of
from testkit.specs import small_spec
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import OPEN_PROOF, RESULT_PROOF
from vdb_shared.bundle.witnessed import witness_name
from vdb_shared.errors import VdbError
from vdb_shared.spec import Deadlines
from vdb_shared.transparency.checkpoint import cosign, parse_checkpoint
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=5) as running:
        yield running


@contextmanager
def members_of(coordinator: RunningCoordinator, *, round_seconds: int = 60) -> Iterator[list[TestMember]]:
    deadlines = Deadlines(joining=60, computing=60, round=round_seconds, countersigning=60)
    session = coordinator.admin.create_session(small_spec().model_copy(update={"deadlines": deadlines}))
    with ExitStack() as stack:
        yield [stack.enter_context(TestMember(coordinator, identity, session)) for identity in coordinator.identities]


def stages(member: TestMember) -> list[str]:
    return [site.stage for site in member.details().status.sites]


def wait_until_asked(member: TestMember, size: int) -> None:
    """Wait until the session asks to witness the log of this size; a log that grows is asked for again."""
    seen = set()
    for _ in range(200):
        seen.add(int(member.details().status.witness))
        if size in seen:
            return
        sleep(0.05)
    raise AssertionError(f"asked for {seen}")


def witnesses_in(bundle: bytes, name: str) -> list[str]:
    note = parse_note(parse_proof(read_archive(bundle)[name]).checkpoint)
    return [line.name for line in note.signatures]


def without_staying(members: list[TestMember]) -> None:
    """Let members countersign and go, as test members otherwise stay to witness the result."""
    for member in members:
        member.gone.set()


def test_nothing_is_sealed_that_too_few_saw_announced(coordinator: RunningCoordinator) -> None:
    with members_of(coordinator, round_seconds=2) as members:
        for seat, member in enumerate(members):
            member.join(witnessing=seat < 3)
        wait_until_asked(members[0], 1)
        assert stages(members[0]) == ["joined"] * 3 + ["joined, is to witness the log"] * 2
        assert members[0].wait(Phase.ABORTED).reason == "3 institutions witnessed the log, 4 of those who joined must"


def test_the_fourth_of_five_seals(coordinator: RunningCoordinator) -> None:
    with members_of(coordinator) as members:
        for seat, member in enumerate(members):
            member.join(witnessing=seat < 3)
        wait_until_asked(members[4], 1)
        assert members[4].witness() == 1
        assert members[0].wait(Phase.ADVERTISING_KEYS).phase is Phase.ADVERTISING_KEYS


def test_signatures_of_different_logs_do_not_add_up(coordinator: RunningCoordinator) -> None:
    """Each signed when it joined, and the log grew meanwhile: all are asked for the newest."""
    with members_of(coordinator) as members:
        for member in members:
            member.join()
            coordinator.admin.create_session(small_spec())
        wait_until_asked(members[0], 6)
        for member in members[:4]:
            assert member.witness() == 6
        assert members[0].wait(Phase.ADVERTISING_KEYS).witness == 0


def test_a_result_waits_for_its_witnesses_as_long_as_it_takes(coordinator: RunningCoordinator) -> None:
    with members_of(coordinator) as members:
        play(members, *STEPS[:-1])
        members[0].wait(Phase.FINALISING)
        without_staying(members)
        play(members, "countersign")
        wait_until_asked(members[0], 2)
        assert stages(members[0]) == ["countersigned, is to witness the log"] * 5
        with pytest.raises(VdbError, match="stands in the public log; it is published once enough institutions"):
            coordinator.admin.abort_session(members[0].session, "the lead does not like it")
        for member in members[:3]:
            member.witness()
        coordinator.restart()
        for member in members:
            member.reconnect()
        wait_until_asked(members[0], 2)
        assert stages(members[0])[3:] == ["countersigned, is to witness the log"] * 2
        members[4].witness()
        assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
        bundle = members[0].bundle()
    names = [witness_name("testbed", identity.institution) for identity in coordinator.identities]
    assert witnesses_in(bundle, OPEN_PROOF) == ["testbed/vdb-log", *names]
    assert witnesses_in(bundle, RESULT_PROOF) == ["testbed/vdb-log", *names[:3], names[4]]


@pytest.mark.parametrize("wrong", ["another size", "a size that is not there", "another's key", "too short", "none"])
def test_what_is_no_signature_of_this_log_is_refused(coordinator: RunningCoordinator, wrong: str) -> None:
    with members_of(coordinator) as members:
        coordinator.admin.create_session(small_spec())
        ours, other = members[0], members[1]
        shown = parse_checkpoint(parse_note(ours.look().checkpoint).text)
        key = (other if wrong == "another's key" else ours).identity.statement_key
        value = cosign(shown, witness_name("testbed", ours.identity.institution), key, 1).value
        value = {"too short": value[:-1], "none": b""}.get(wrong, value)
        size = {"another size": 1, "a size that is not there": 3}.get(wrong, 2)
        request = pb.CosignRequest(session=ours.session, size=size, cosignature=value)
        with pytest.raises(grpc.RpcError) as caught:
            ours.log.Cosign(request, timeout=CALL)
        expected = reasons.TOO_LATE if wrong == "a size that is not there" else reasons.PROTOCOL
        assert reason_of(caught.value) == expected
        for member in members:
            member.join(witnessing=member is not ours and member is not other)
        wait_until_asked(ours, 2)


def test_who_saw_a_longer_log_is_shown_this_one_without_a_proof(coordinator: RunningCoordinator) -> None:
    with members_of(coordinator) as members:
        request = pb.GetCheckpointRequest(session=members[0].session, size=2)
        answer = members[0].log.GetCheckpoint(request, timeout=CALL)
        assert answer.checkpoint == members[0].look().checkpoint
        assert not answer.consistency
