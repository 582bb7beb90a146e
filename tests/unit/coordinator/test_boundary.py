"""Who may call what, and what errors look like outside."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from testkit.statements import INSTITUTIONS, make_roster
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.answers import DETAILS_KEY, status_of, status_of_fault
from vdb_coordinator.service.boundary import Boundary
from vdb_coordinator.service.callers import Roles, authorised
from vdb_coordinator.service.quotas import TURNS
from vdb_coordinator.service.reading import reader
from vdb_coordinator.serving.log import make_log
from vdb_coordinator.serving.metrics import Metrics
from vdb_shared import errors
from vdb_shared.roster import parse_roster
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.versions import Version

ROSTER = parse_roster(make_roster().roster)
LEAD = "spiffe://testbed/admin/lead"
ROLES = Roles.of(ROSTER, (LEAD,))
PARTICIPANT = f"spiffe://testbed/participant/{INSTITUTIONS[0]}"
INVITED = "spiffe://testbed/enrolment/newcomer"
FOR_LEADS_TOO = {
    *(("SessionService", method) for method in ("ListSessions", "GetSession", "WatchSession", "GetBundle")),
    *(("LogService", method) for method in ("Object", "GetObjections")),
}
LISTING, GETTING = "/vdb.v1.SessionService/ListSessions", "/vdb.v1.SessionService/GetSession"
METHODS = [
    (service.name, method.name) for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods
]


@pytest.mark.parametrize(("service", "method"), METHODS)
def test_each_role_may_call_exactly_its_methods(service: str, method: str) -> None:
    expected = {
        INVITED: service in ("EnrolmentService", "ProtocolService"),
        PARTICIPANT: service
        in ("SessionService", "LogService", "AggregationService", "MembershipService", "ProtocolService"),
        LEAD: service in ("AdminService", "ProtocolService") or (service, method) in FOR_LEADS_TOO,
        "spiffe://testbed/participant/stranger": False,
        "spiffe://testbed/coordinator/lead-geneva": False,
        "spiffe://testbed/admin/other": False,
        f"spiffe://other/participant/{INSTITUTIONS[0]}": False,
        "spiffe://other/enrolment/newcomer": False,
    }
    for peer, allowed in expected.items():
        if allowed:
            assert authorised(peer, f"/vdb.v1.{service}/{method}", ROLES).spiffe_id == peer
        else:
            with pytest.raises(RefusedError) as caught:
                authorised(peer, f"/vdb.v1.{service}/{method}", ROLES)
            assert caught.value.reason == reasons.NOT_A_MEMBER


def test_unknown_methods_and_callers_without_a_name_are_refused() -> None:
    for peer, method in ((None, "/vdb.v1.SessionService/Join"), (LEAD, "/vdb.v1.Other/Do"), (LEAD, "/x/y")):
        with pytest.raises(RefusedError):
            authorised(peer, method, ROLES)


def test_members_may_ask_for_health() -> None:
    for peer in (LEAD, PARTICIPANT, INVITED):
        authorised(peer, "/grpc.health.v1.Health/Check", ROLES)
    for peer in (LEAD, PARTICIPANT):
        authorised(peer, "/grpc.health.v1.Health/Watch", ROLES)
    with pytest.raises(RefusedError):
        authorised(INVITED, "/grpc.health.v1.Health/Watch", ROLES)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RefusedError(reasons.CONFLICT, "x"), StatusCode.ALREADY_EXISTS, reasons.CONFLICT),
        (RefusedError(reasons.WRONG_OFFSET, "x"), StatusCode.UNAVAILABLE, reasons.WRONG_OFFSET),
        (errors.ProtocolError("x", peer="seat 1"), StatusCode.INVALID_ARGUMENT, reasons.PROTOCOL),
        (errors.SignatureError("x"), StatusCode.INVALID_ARGUMENT, reasons.PROTOCOL),
        (errors.FormatError("x"), StatusCode.INVALID_ARGUMENT, reasons.INVALID),
        (errors.SpecError("x"), StatusCode.INVALID_ARGUMENT, reasons.INVALID),
        (errors.SessionAbortedError("x"), StatusCode.FAILED_PRECONDITION, reasons.ABORTED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_leave_with_code_reason_and_sentence(error: errors.VdbError, code: StatusCode, reason: str) -> None:
    found_code, message, ((key, packed),) = status_of(error)
    status = Status.FromString(packed)
    info = ErrorInfo()
    assert key == DETAILS_KEY
    assert status.details[0].Unpack(info)
    assert (found_code, message, status.message) == (code, str(error), str(error))
    assert (info.reason, info.domain, status.code) == (reason, reasons.DOMAIN, code.value[0])


def unpacked(metadata: tuple[tuple[str, bytes], ...]) -> tuple[Status, list[str]]:
    ((_, packed),) = metadata
    status, info = Status.FromString(packed), ErrorInfo()
    return status, [info.reason for detail in status.details if detail.Unpack(info)]


def test_what_the_storage_says_stays_inside() -> None:
    code, message, metadata = status_of(errors.StoreError("postgresql://user@host/db: connection refused"))
    status, found = unpacked(metadata)
    assert (code, found) == (StatusCode.UNAVAILABLE, [reasons.STORAGE])
    assert message == status.message
    assert "trying again is safe" in message
    assert "host" not in message


@pytest.mark.parametrize(("speaks", "found"), [(Version(1, 1), [reasons.INTERNAL]), (Version(1, 0), [])])
def test_a_fault_of_the_program_has_a_reason_for_who_knows_it(speaks: Version, found: list[str]) -> None:
    """An agent of 1.0 takes a reason that it does not know for a breach; without one it stays in its session."""
    code, message, metadata = status_of_fault(speaks)
    status, reasons_found = unpacked(metadata)
    assert (code, reasons_found, status.message) == (StatusCode.INTERNAL, found, message)


class Call:
    """A call as the library shows it; of its peer's certificate only the name counts here."""

    code, details = None, ""

    def __init__(self, request: Message, *, speaks: str = "1.1") -> None:
        self.left: list[bytes] = [request.SerializeToString()]
        self.speaks = speaks

    async def read(self) -> object:
        return self.left.pop() if self.left else grpc.aio.EOF

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"peer_spiffe_id": [PARTICIPANT.encode()], "x509_pem_cert": [b""]}

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("vdb-protocol", self.speaks),)

    def time_remaining(self) -> float:
        return 60.0

    def set_trailing_metadata(self, _metadata: object) -> None:
        pass

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        """Have it called as the library does: when the task has ended that answers the call."""
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: callback(self))

    async def abort(self, code: StatusCode, details: str, metadata: tuple[tuple[str, bytes], ...]) -> None:
        self.code, self.details, (_, self.reasons) = code, details, unpacked(metadata)
        raise grpc.aio.AbortError


def boundary(log: io.StringIO) -> Boundary:
    return Boundary(
        lambda: ROSTER, (LEAD,), lambda _spiffe, _certificate: True, Metrics(), make_log(as_json=True, stream=log)
    )


@pytest.mark.parametrize("fault", [OSError(36, "File name too long", "/srv/secret"), KeyError("secret"), ValueError()])
def test_of_a_fault_nothing_but_that_it_happened_leaves_the_server(fault: Exception) -> None:
    async def fails(_request: object, _context: object) -> None:
        raise fault

    log, call = io.StringIO(), Call(pb.ListSessionsRequest())
    wrapped = boundary(log)._unary(fails, LISTING, reader(LISTING, pb.ListSessionsRequest.FromString))
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(wrapped(None, call))
    assert (call.code, call.reasons) == (StatusCode.INTERNAL, [reasons.INTERNAL])
    assert "secret" not in call.details
    assert "fails (test_boundary.py, line" in log.getvalue(), "the operator is told"
    assert type(fault).__name__ in log.getvalue()


def test_what_the_storage_says_is_told_to_the_operator() -> None:
    async def fails(_request: object, _context: object) -> None:
        raise errors.StoreError("/srv/db.sqlite: database is locked")

    log, call = io.StringIO(), Call(pb.ListSessionsRequest())
    wrapped = boundary(log)._unary(fails, LISTING, reader(LISTING, pb.ListSessionsRequest.FromString))
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(wrapped(None, call))
    assert call.reasons == [reasons.STORAGE]
    assert "/srv" not in call.details
    assert "/srv/db.sqlite: database is locked" in log.getvalue()


def test_a_request_that_no_session_wants_does_not_reach_its_service() -> None:
    async def never(_request: object, _context: object) -> None:
        raise AssertionError("it came through")

    call = Call(pb.GetSessionRequest(session="x" * 2**20))
    wrapped = boundary(io.StringIO())._unary(never, GETTING, reader(GETTING, pb.GetSessionRequest.FromString))
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(wrapped(None, call))
    assert call.reasons == [reasons.INVALID]


@pytest.mark.parametrize(("method", "at_once"), [("GetBundle", TURNS), ("WatchSession", TURNS + 4)])
def test_what_is_read_for_an_answer_is_read_in_the_callers_turn_and_news_are_waited_for_outside(
    method: str, at_once: int
) -> None:
    """Otherwise one caller has three hundred pieces of bundles in memory, or eight watched sessions keep it from all else."""
    reading, most = 0, 0

    async def pieces(_request: object, _context: object) -> AsyncIterator[bytes]:
        nonlocal reading, most
        for _ in range(3):
            reading += 1
            most = max(most, reading)
            for _ in range(50):
                await asyncio.sleep(0)
            reading -= 1
            yield b"x"

    async def taken(served: Boundary) -> int:
        name = f"/vdb.v1.SessionService/{method}"
        wrapped = served._watch(pieces, name, reader(name, pb.GetBundleRequest.FromString))
        return len([piece async for piece in wrapped(None, Call(pb.GetBundleRequest()))])

    async def story() -> list[int]:
        served = boundary(io.StringIO())
        return await asyncio.gather(*(taken(served) for _ in range(TURNS + 4)))

    assert asyncio.run(story()) == [3] * (TURNS + 4)
    assert most == at_once


def test_what_many_watchers_are_told_is_written_once() -> None:
    """A status names every institution: for a thousand watchers writing it each time takes longer than all else."""
    written: list[pb.WatchSessionResponse] = []

    def serialise(message: pb.WatchSessionResponse) -> bytes:
        written.append(message)
        return message.SerializeToString()

    async def watch(_request: object, _context: object) -> AsyncIterator[pb.WatchSessionResponse]:
        yield pb.WatchSessionResponse()

    async def intercepted(served: Boundary) -> Callable[[pb.WatchSessionResponse], bytes]:
        async def found(_details: object) -> grpc.RpcMethodHandler[Any, Any]:
            return grpc.unary_stream_rpc_method_handler(watch, pb.WatchSessionRequest.FromString, serialise)

        method = "/vdb.v1.SessionService/WatchSession"
        handler = await served.intercept_service(found, SimpleNamespace(method=method, invocation_metadata=()))
        assert handler is not None
        assert handler.response_serializer is not None
        return handler.response_serializer

    async def story() -> list[bytes]:
        served = boundary(io.StringIO())
        streams = [await intercepted(served) for _ in range(3)]
        return [stream(message) for message in told for stream in streams]

    told = [pb.WatchSessionResponse(status=pb.SessionStatus(event=event)) for event in (1, 2, 1)]
    assert asyncio.run(story()) == [message.SerializeToString() for message in told for _ in range(3)]
    assert written == told


def test_every_reason_has_a_code() -> None:
    names = [name for name in vars(reasons) if name.isupper() and name != "DOMAIN"]
    for name in names:
        status_of(RefusedError(getattr(reasons, name), "x"))


def test_long_messages_are_cut_to_what_headers_bear() -> None:
    assert len(status_of(errors.FormatError("x" * 100_000))[1]) == 1000
