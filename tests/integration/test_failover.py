"""A database that goes back under a running coordinator: it signs nothing, acknowledges nothing, and says what to do."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.postgres import running_postgres
from testkit.refusals import refused
from testkit.small_specs import small_spec
from vdb_coordinator.serving import server as serving
from vdb_shared.audit.log_files import check_remembered, open_log
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import StoreError, VdbError
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.note import NoteKey
from vdb_shared.wire import reasons

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
HEALTH = health_pb2.HealthCheckResponse


def key_of(coordinator: RunningCoordinator) -> NoteKey:
    return log_key(parse_roster(coordinator.identities[0].roster.roster))


def logged(coordinator: RunningCoordinator) -> list[dict[str, str]]:
    return [json.loads(line) for line in coordinator.log.getvalue().splitlines()]


def test_a_coordinator_does_not_go_on_upon_a_replica_that_lacks_what_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack succeeds without the checks: a second log of the same size, signed, and receipts for what is lost."""
    monkeypatch.setattr(serving, "UPKEEP_SECONDS", 3600.0)
    with (
        running_postgres() as server,
        running_coordinator(tmp_path, institutions=4, database=server.database("main")) as coordinator,
        ExitStack() as stack,
    ):
        session = coordinator.admin.create_session(PATIENT)
        members = [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]
        members[0].join()
        server.copy("main", "replica")
        receipt = members[1].join()
        assert members[1].join(witnessing=False) == receipt, "the lost connection alone is no matter"
        coordinator.admin.create_session(PATIENT)
        _, remembered = open_log(str(coordinator.home.log), key_of(coordinator))
        stream = health_pb2_grpc.HealthStub(stack.enter_context(coordinator.channel(coordinator.identities[0]))).Watch(
            health_pb2.HealthCheckRequest(), timeout=CALL
        )
        assert next(stream).status == HEALTH.SERVING
        server.fail_over("main", "replica")
        again = partial(members[1].join, witnessing=False)
        assert refused(again) == reasons.STORAGE, "its receipt is not given again for what is lost"
        assert next(stream).status == HEALTH.NOT_SERVING, "at once, not at the next look"
        assert refused(members[2].join) == reasons.STORAGE
        with pytest.raises(VdbError, match="its operator finds the reason in its log"):
            coordinator.admin.create_session(PATIENT)
        found, note = open_log(str(coordinator.home.log), key_of(coordinator))
        check_remembered(found, remembered, key_of(coordinator))
        assert note == remembered
        told = [line.get("error", "") for line in logged(coordinator) if line["level"] == "error"]
        assert any(
            "gone back: " in words and "Stop this coordinator; then bring back the database" in words for words in told
        )
        with pytest.raises(StoreError, match="the database does not have them"):
            coordinator.restart()


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the coordinator look after everything many times a second."""
    monkeypatch.setattr(serving, "UPKEEP_SECONDS", 0.02)


def until_more_is_signed(coordinator: RunningCoordinator) -> None:
    """Return once the end of the audit log has been signed that tells of an invitation made now."""
    before = coordinator.home.audit_end.read_bytes()
    coordinator.admin.invite("somebody")
    for _ in range(500):
        if coordinator.home.audit_end.read_bytes() != before:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"nobody looks after the audit log any more: {logged(coordinator)[-1]}")


def test_upkeep_goes_on_without_the_lead_s_certificate_and_says_so_once(busy: None, tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=1) as coordinator:
        place = coordinator.home.admin_certificate
        pem = place.read_bytes()
        coordinator.admin.invite("who-has-a-connection-needs-no-file")
        for damage in (place.unlink, lambda: place.write_bytes(pem[:100])):
            damage()
            until_more_is_signed(coordinator)
            until_more_is_signed(coordinator)
        place.write_bytes(pem)
        until_more_is_signed(coordinator)
        with coordinator.channel(coordinator.identities[0]) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=CALL)
        assert answer.status == HEALTH.SERVING
        told = [
            line["error"] for line in logged(coordinator) if line["event"] == "the lead's certificate is not renewed"
        ]
        assert [words.partition(": ")[2] for words in told] == [
            "cannot be read: No such file or directory",
            "is no certificate; put the lead's back",
        ]


def test_upkeep_goes_on_after_an_error_that_nobody_foresaw(
    busy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_coordinator(tmp_path, institutions=1) as coordinator, ExitStack() as stack:
        channel = stack.enter_context(coordinator.channel(coordinator.identities[0]))
        stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=CALL)
        assert next(stream).status == HEALTH.SERVING
        with monkeypatch.context() as patch:
            nothing: dict[str, None] = {}
            patch.setattr(serving, "renew_admin_certificate", lambda *_: nothing["unforeseen"])
            assert next(stream).status == HEALTH.NOT_SERVING
        assert next(stream).status == HEALTH.SERVING
        until_more_is_signed(coordinator)
        (told, *_) = [line for line in logged(coordinator) if line["event"] == "upkeep failed"]
        assert (told["level"], told["error"]) == ("critical", "KeyError('unforeseen')")
