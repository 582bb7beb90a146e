"""Errors as gRPC statuses: one code, one reason for programs, one line for people.

Promises that no error of the tree leaves the server without its reason, and that nothing else but its message does.

Source: google.rpc.Status, google.rpc.ErrorInfo; protos/README.md §11.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from vdb_coordinator.refusals import RefusedError
from vdb_shared.errors import (
    FormatError,
    IdentityError,
    PrivacyError,
    ProtocolError,
    SessionAbortedError,
    SignatureError,
    StoreError,
    UsageError,
    VdbError,
)
from vdb_shared.wire import reasons

DETAILS_KEY: Final = "grpc-status-details-bin"
_LONGEST: Final = 1000
"""Characters of a message: statuses travel in headers, whose size is capped."""

_CODES: Final[Mapping[str, StatusCode]] = {
    reasons.INVALID: StatusCode.INVALID_ARGUMENT,
    reasons.NO_DEADLINE: StatusCode.INVALID_ARGUMENT,
    reasons.NOT_A_MEMBER: StatusCode.PERMISSION_DENIED,
    reasons.NO_SUCH_SESSION: StatusCode.NOT_FOUND,
    reasons.NOT_YET: StatusCode.FAILED_PRECONDITION,
    reasons.TOO_LATE: StatusCode.FAILED_PRECONDITION,
    reasons.RESTARTED: StatusCode.FAILED_PRECONDITION,
    reasons.CONFLICT: StatusCode.ALREADY_EXISTS,
    reasons.ABORTED: StatusCode.FAILED_PRECONDITION,
    reasons.PROTOCOL: StatusCode.INVALID_ARGUMENT,
    reasons.INVITATION: StatusCode.PERMISSION_DENIED,
    reasons.WRONG_OFFSET: StatusCode.UNAVAILABLE,
    reasons.TOO_MUCH: StatusCode.RESOURCE_EXHAUSTED,
    reasons.STORAGE: StatusCode.UNAVAILABLE,
    reasons.NEEDS_APPROVAL: StatusCode.FAILED_PRECONDITION,
    # Agents of protocol 1.0 take an unknown reason for a breach, and leave their session for good, but with this code.
    reasons.VERSION: StatusCode.PERMISSION_DENIED,
}
"""UNAVAILABLE is what clients retry."""

_REASONS: Final[tuple[tuple[type[VdbError], str], ...]] = (
    (ProtocolError, reasons.PROTOCOL),
    (SignatureError, reasons.PROTOCOL),
    (SessionAbortedError, reasons.ABORTED),
    (StoreError, reasons.STORAGE),
    (FormatError, reasons.INVALID),
    (UsageError, reasons.INVALID),
    (IdentityError, reasons.INVALID),
    (PrivacyError, reasons.INVALID),
)


def reason_for(error: VdbError) -> str:
    """Return the reason that an error carries on the wire."""
    if isinstance(error, RefusedError):
        return error.reason
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), reasons.INVALID)


def status_of(error: VdbError) -> tuple[StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Return code, message and trailing metadata of an error."""
    reason = reason_for(error)
    code, message = _CODES[reason], str(error)[:_LONGEST]
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=reason, domain=reasons.DOMAIN))
    status = Status(code=code.value[0], message=message, details=[detail])
    return code, message, ((DETAILS_KEY, status.SerializeToString()),)
