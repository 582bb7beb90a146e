"""Calls: what is retried, what ends at once, and in whose words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from testkit.recorded import Recorded
from vdb_participant.network.answers import reason_of
from vdb_participant.network.client import SHORTEST_WATCH, Client
from vdb_participant.network.connection import FIRST_PAUSE, LONGEST_PAUSE, Connection
from vdb_participant.site.keys import TlsIdentity
from vdb_shared.errors import (
    FormatError,
    IdentityError,
    ProtocolError,
    SessionAbortedError,
    UnreachableError,
    UsageError,
    VdbError,
)
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase, SessionStatus

NOBODY = TlsIdentity(b"", b"", b"")


class Refusal(grpc.RpcError):
    """An answer as gRPC gives it."""

    def __init__(
        self, code: grpc.StatusCode, details: str = "", reason: str = "", domain: str = reasons.DOMAIN
    ) -> None:
        super().__init__()
        self._code, self._details = code, details
        self.metadata: tuple[tuple[str, bytes], ...] = ()
        if reason:
            packed = AnyMessage()
            packed.Pack(ErrorInfo(reason=reason, domain=domain))
            status = Status(code=code.value[0], message=details, details=[packed])
            self.metadata = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self.metadata


@dataclass
class Script:
    """A call that fails as often as the script says, then answers."""

    errors: list[Exception]
    pauses: list[float] = field(default_factory=list)
    calls: int = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def connection(self, *, answered: bool = True, patience: float = 300.0) -> Connection:
        connection = Connection("127.0.0.1:1", NOBODY, Recorded(), patience=patience, pause=self.pauses.append)
        if answered:
            connection.attempt(lambda: None)
        return connection


def test_a_busy_coordinator_is_asked_again_with_growing_pauses() -> None:
    script = Script([Refusal(grpc.StatusCode.UNAVAILABLE) for _ in range(8)])
    assert script.connection().attempt(script) == "answer"
    assert script.calls == 9
    assert script.pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(script.pauses) == LONGEST_PAUSE


def test_a_call_that_a_stopping_coordinator_cancelled_is_made_again() -> None:
    script = Script([Refusal(grpc.StatusCode.CANCELLED)])
    assert script.connection().attempt(script) == "answer"


def test_storage_trouble_is_worth_retrying_even_at_first() -> None:
    script = Script([Refusal(grpc.StatusCode.UNAVAILABLE, "disk full", reasons.STORAGE)])
    assert script.connection(answered=False).attempt(script) == "answer"


def test_storage_trouble_that_stays_is_told_in_the_coordinators_words() -> None:
    script = Script([Refusal(grpc.StatusCode.UNAVAILABLE, "disk full", reasons.STORAGE)])
    with pytest.raises(UnreachableError, match=r"^disk full$"):
        script.connection(patience=-1).attempt(script)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, reasons.NOT_A_MEMBER, IdentityError),
        (grpc.StatusCode.PERMISSION_DENIED, reasons.INVITATION, IdentityError),
        (grpc.StatusCode.PERMISSION_DENIED, "", IdentityError),
        (grpc.StatusCode.NOT_FOUND, reasons.NO_SUCH_SESSION, UsageError),
        (grpc.StatusCode.FAILED_PRECONDITION, reasons.TOO_LATE, SessionAbortedError),
        (grpc.StatusCode.FAILED_PRECONDITION, reasons.ABORTED, SessionAbortedError),
        (grpc.StatusCode.FAILED_PRECONDITION, reasons.NOT_YET, UnreachableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, reasons.TOO_MUCH, UnreachableError),
        (grpc.StatusCode.ALREADY_EXISTS, reasons.CONFLICT, ProtocolError),
        (grpc.StatusCode.INVALID_ARGUMENT, reasons.PROTOCOL, ProtocolError),
        (grpc.StatusCode.INTERNAL, "", UnreachableError),
    ],
)
def test_a_refusal_is_final_and_keeps_its_words(code: grpc.StatusCode, reason: str, kind: type[VdbError]) -> None:
    script = Script([Refusal(code, "the lead said no", reason)])
    with pytest.raises(kind, match="the lead said no"):
        script.connection().attempt(script)
    assert script.calls == 1


def test_a_call_that_runs_out_of_time_can_be_run_again() -> None:
    script = Script([Refusal(grpc.StatusCode.DEADLINE_EXCEEDED)])
    with pytest.raises(UnreachableError, match="did not answer in time; run again"):
        script.connection().attempt(script)


def test_a_malformed_answer_is_the_coordinators_fault() -> None:
    script = Script([FormatError("receipt is for other bytes")])
    with pytest.raises(ProtocolError, match="coordinator: its answer is malformed: receipt is for other bytes"):
        script.connection().attempt(script)


def test_reasons_of_others_are_not_ours() -> None:
    def found(make: Callable[[], Refusal]) -> str:
        return reason_of(make())

    assert found(lambda: Refusal(grpc.StatusCode.INTERNAL, "x", reasons.ABORTED, domain="elsewhere")) == ""
    assert found(lambda: Refusal(grpc.StatusCode.INTERNAL)) == ""
    broken = Refusal(grpc.StatusCode.INTERNAL)
    broken.metadata = (("grpc-status-details-bin", b"\xff\xff\xff"),)
    assert reason_of(broken) == ""


def test_the_first_call_is_short_and_later_ones_may_take_longer() -> None:
    script = Script([])
    assert script.connection(answered=False).call_seconds < 10
    assert script.connection().call_seconds > 30


def test_what_work_must_not_wait_for_is_tried_once() -> None:
    """Reports of progress: with patience, an outage of the coordinator would hold up generation for minutes."""
    script = Script([Refusal(grpc.StatusCode.UNAVAILABLE, "disk full", reasons.STORAGE) for _ in range(3)])
    with pytest.raises(VdbError):
        script.connection().attempt(script, patient=False)
    assert (script.calls, script.pauses) == (1, [])


class EndsAtOnce(grpc.GenericRpcHandler):
    """A coordinator that ends every stream of statuses as soon as it is opened, but the third."""

    def __init__(self) -> None:
        self.opened = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_stream_rpc_method_handler(
            self._watch, pb.WatchSessionRequest.FromString, pb.WatchSessionResponse.SerializeToString
        )

    def _watch(self, request: pb.WatchSessionRequest, context: Any) -> Iterator[pb.WatchSessionResponse]:
        self.opened += 1
        if self.opened == 3:
            status = SessionStatus(Phase.PUBLISHED, 1, "", ())
            yield pb.WatchSessionResponse(status=convert.status_to_wire(status))


def test_who_ends_streams_at_once_does_not_keep_us_busy() -> None:
    pauses: list[float] = []
    server = grpc.server(ThreadPoolExecutor(1), handlers=[EndsAtOnce()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            connection = Connection(f"127.0.0.1:{port}", NOBODY, Recorded(), pause=pauses.append, _channel=channel)
            found = Client(connection).wait("sha256:" + "0" * 64, Phase.PUBLISHED)
    finally:
        server.stop(None)
    assert found.phase is Phase.PUBLISHED
    assert pauses == [SHORTEST_WATCH, SHORTEST_WATCH]
