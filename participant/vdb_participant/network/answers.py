"""What a coordinator's refusal means here: gRPC statuses as errors of the one tree.

Promises that the coordinator's own sentence reaches the user. Leaves UNAVAILABLE to `client.py`.

Source: protos/README.md §11.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from vdb_shared.errors import (
    IdentityError,
    InvitationError,
    ProtocolError,
    RoundsRestartedError,
    SessionAbortedError,
    UnreachableError,
    UsageError,
    VdbError,
)
from vdb_shared.wire import reasons

DETAILS_KEY: Final = "grpc-status-details-bin"

_TOO_LARGE: Final = "larger than max"
"""Part of what gRPC says of a message beyond its bounds."""

_KINDS: Final[Mapping[str, type[VdbError]]] = {
    reasons.NOT_A_MEMBER: IdentityError,
    reasons.INVITATION: InvitationError,
    reasons.VERSION: UsageError,
    reasons.NO_SUCH_SESSION: UsageError,
    reasons.NOT_YET: UnreachableError,
    reasons.TOO_LATE: SessionAbortedError,
    reasons.ABORTED: SessionAbortedError,
    reasons.RESTARTED: RoundsRestartedError,
    reasons.TOO_MUCH: UnreachableError,
    reasons.WRONG_OFFSET: UnreachableError,
    reasons.STORAGE: UnreachableError,
    reasons.INTERNAL: UnreachableError,
}
"""Reasons that are nobody's breach of the protocol; all others are."""


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason in an error's ErrorInfo, or ""."""
    try:
        status = Status.FromString(details_of(error))
    except DecodeError:
        return ""
    for detail in status.details:
        found = ErrorInfo()
        if detail.Is(ErrorInfo.DESCRIPTOR) and detail.Unpack(found) and found.domain == reasons.DOMAIN:
            return str(found.reason)
    return ""


def details_of(error: grpc.RpcError) -> bytes:
    """Return the bytes of google.rpc.Status that came with an error, or b""."""
    metadata = cast(Iterable[tuple[str, bytes]], error.trailing_metadata() or ())
    return next((value for key, value in metadata if key == DETAILS_KEY), b"")


class SilentError(grpc.RpcError):
    """That a stream was open until its deadline and nothing came: nobody answers there, whatever holds the connection."""

    def code(self) -> grpc.StatusCode:
        """Return what gRPC says of a server that is not there."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """Return what happened."""
        return "it takes connections and sends nothing"

    def trailing_metadata(self) -> Any:
        """Return what came last: no pairs of key and value."""
        return ()


def is_absence(error: grpc.RpcError) -> bool:
    """Return whether an error says that the coordinator is not there, went away during the call, or takes no more calls now.

    A server that stops cancels what its grace did not suffice for. We cancel no call that we wait for. One that has as many
    calls as it takes says RESOURCE_EXHAUSTED before its program has seen the call; our own library says so of a message that
    is too large, which is no absence.
    """
    if error.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return not reason_of(error) and _TOO_LARGE not in (error.details() or "")
    return error.code() is grpc.StatusCode.UNAVAILABLE


def refusal(error: grpc.RpcError) -> VdbError:
    """Return the error that a refusal is, with the coordinator's sentence."""
    kind = _KINDS.get(reason_of(error))
    message = error.details() or error.code().name
    if kind is not None:
        return kind(message)
    if error.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return IdentityError(message)
    if error.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL) and not reason_of(error):
        # A fault of its program is no breach of the protocol, and must not cost us the session.
        return UnreachableError(
            f"the coordinator could not answer ({message}); run again, and tell the lead if it stays"
        )
    return ProtocolError(message, peer="coordinator")
