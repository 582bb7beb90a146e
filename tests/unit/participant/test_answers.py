"""A refusal becomes the error that says what to do next, with the coordinator's own sentence."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from vdb_participant.network.answers import refusal
from vdb_shared.errors import ProtocolError, RoundsRestartedError, SessionAbortedError, UnreachableError, VdbError
from vdb_shared.wire import reasons


class Refused(grpc.RpcError):
    """What gRPC raises for a refusal with this reason."""

    def __init__(self, reason: str) -> None:
        detail = Any()
        detail.Pack(ErrorInfo(reason=reason, domain=reasons.DOMAIN))
        self.status = Status(details=[detail]).SerializeToString()

    def trailing_metadata(self):  # type: ignore[no-untyped-def]  # the stubs name a class that does not exist at run time
        return (("grpc-status-details-bin", self.status),)

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.FAILED_PRECONDITION

    def details(self) -> str:
        return "its own sentence"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (reasons.RESTARTED, RoundsRestartedError),
        (reasons.TOO_LATE, SessionAbortedError),
        (reasons.ABORTED, SessionAbortedError),
        (reasons.NOT_YET, UnreachableError),
        (reasons.INTERNAL, UnreachableError),
        (reasons.PROTOCOL, ProtocolError),
        (reasons.CONFLICT, ProtocolError),
        ("VDB_SOMETHING_NEW", ProtocolError),
    ],
)
def test_each_reason_is_an_error_of_its_own(reason: str, kind: type[VdbError]) -> None:
    found = refusal(Refused(reason))
    assert type(found) is kind
    assert "its own sentence" in str(found)


def test_a_fault_of_the_coordinators_program_is_no_breach() -> None:
    class Fault(Refused):
        def __init__(self, code: grpc.StatusCode) -> None:
            self.status, self._code = b"", code

        def code(self) -> grpc.StatusCode:
            return self._code

    assert type(refusal(Fault(grpc.StatusCode.UNKNOWN))) is UnreachableError
    assert type(refusal(Fault(grpc.StatusCode.INVALID_ARGUMENT))) is ProtocolError
