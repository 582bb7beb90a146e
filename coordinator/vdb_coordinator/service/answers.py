"""Errors as gRPC statuses: one code, one reason for programs, one line for people.

Promises that no error leaves the server without its reason; that of an error of the tree nothing else but its message does,
and of others, and of the storage, whose messages name files and addresses, not even that.

Source: google.rpc.Status, google.rpc.ErrorInfo; protos/README.md §11.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
from vdb_shared.wire.versions import Version

DETAILS_KEY: Final = "grpc-status-details-bin"
_LONGEST: Final = 1000
"""Characters of a message: statuses travel in headers, whose size is capped."""

_STORAGE: Final = "the coordinator's storage refuses; trying again is safe; its operator finds the reason in its log"
_FAULT: Final = (
    "a fault of the coordinator's program, which its log describes; try again, and tell the lead if it stays"
)
_TOLD_OF_FAULTS: Final = Version(1, 1)

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
    reasons.INTERNAL: StatusCode.INTERNAL,
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
    message = _STORAGE if isinstance(error, StoreError) else str(error)[:_LONGEST]
    return _CODES[reason], message, _details(_CODES[reason], message, reason)


def status_of_fault(speaks: Version) -> tuple[StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Return code, message and trailing metadata of what no error of the tree explains: a fault of this program.

    Args:
        speaks: the version of the protocol that the caller states. One of 1.0 takes a reason that it does not know for a breach
            and leaves its session for good, and the same code without a reason for what it is.
    """
    code = StatusCode.INTERNAL
    reason = "" if speaks < _TOLD_OF_FAULTS else reasons.INTERNAL
    return code, _FAULT, _details(code, _FAULT, reason)


def _details(code: StatusCode, message: str, reason: str) -> tuple[tuple[str, bytes], ...]:
    status = Status(code=code.value[0], message=message)
    if reason:
        status.details.add().Pack(ErrorInfo(reason=reason, domain=reasons.DOMAIN))
    return ((DETAILS_KEY, status.SerializeToString()),)
