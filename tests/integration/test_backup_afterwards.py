"""What was said of a result after the backup: it is in the log, its words are lost, and nothing is said twice."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from testkit.backups import back_up, bring_back, key_of, monitored, newest_note, serving, unsound
from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.small_specs import small_spec
from vdb_coordinator.config import Home
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.objections import Objection, sign_objection
from vdb_shared.bundle.record import RESULT, read_envelope
from vdb_shared.errors import UsageError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")


def objection(member: TestMember, text: str) -> bytes:
    """Return a member's objection to the result of its session."""
    result = read_envelope(read_archive(member.bundle()), RESULT).payload_digest
    said = Objection(
        session=member.session,
        result=result,
        objector=member.identity.institution,
        reason="data",
        text=text,
        objected="2026-02-02T09:00:00Z",
    )
    return sign_objection(said, member.identity.statement_key)


def bring(member: TestMember, statement: bytes) -> bytes:
    """Hand an objection in and return the log's entry of it."""
    request = pb.ObjectRequest(session=member.session, objection=statement)
    return bytes(member.log.Object(request, timeout=CALL).entry)


def published(stack: ExitStack, path: Path) -> tuple[RunningCoordinator, list[TestMember]]:
    coordinator = stack.enter_context(running_coordinator(path, institutions=4))
    session = coordinator.admin.create_session(PATIENT)
    members = [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]
    play(members, *STEPS)
    members[0].wait(Phase.PUBLISHED)
    return coordinator, members


def test_an_objection_that_was_lost_comes_back_as_it_was_and_no_result_is_withdrawn_twice(tmp_path: Path) -> None:
    with ExitStack() as stack:
        coordinator, members = published(stack, tmp_path)
        back_up(coordinator, tmp_path / "backup")
        statement = objection(members[0], "our clips were cut")
        entry = bring(members[0], statement)
        coordinator.admin.withdraw_result(members[0].session, "a site used other clips")
        note, key = newest_note(coordinator.home), key_of(coordinator)
        coordinator.stop()
        done = bring_back(tmp_path / "backup", tmp_path / "restored", coordinator.home.log)
        assert done.losses.entries == 2
        with serving(tmp_path / "restored", coordinator, members) as restored:
            assert restored.admin.said(members[0].session).objections == ()
            assert bring(members[0], statement) == entry
            assert restored.admin.said(members[0].session).objections == (statement,)
            with pytest.raises(UsageError, match="withdrawn already, as the log says"):
                restored.admin.withdraw_result(members[0].session, "again")
            assert bring(members[1], objection(members[1], "so were ours")) != entry
            restored.restart()
            report = monitored(restored.home, key, note)
    assert report.wrong == ()
    (session,) = report.sessions
    assert [said.record.objector for said in session.objections] == ["site-0", "site-1"]
    assert session.withdrawal is not None
    assert unsound(Home(tmp_path / "restored")) == {}


def test_a_session_whose_result_was_lost_can_be_replaced(tmp_path: Path) -> None:
    with ExitStack() as stack:
        coordinator = stack.enter_context(running_coordinator(tmp_path, institutions=4))
        session = coordinator.admin.create_session(PATIENT)
        back_up(coordinator, tmp_path / "backup")
        members = [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]
        play(members, *STEPS)
        members[0].wait(Phase.PUBLISHED)
        coordinator.stop()
        bring_back(tmp_path / "backup", tmp_path / "restored", coordinator.home.log)
        with serving(tmp_path / "restored", coordinator) as restored:
            with pytest.raises(UsageError, match="this coordinator lost it when it was restored"):
                restored.admin.withdraw_result(session, "no")
            later = restored.admin.create_session(PATIENT, session)
            report = monitored(restored.home, key_of(coordinator))
    assert report.wrong == ()
    assert json.loads(json.dumps(report.to_json()))["sessions"][0]["successors"] == [later]
