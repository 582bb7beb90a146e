"""Who may call what, and what errors look like outside."""

from __future__ import annotations

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from testkit.statements import INSTITUTIONS, make_roster
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.answers import DETAILS_KEY, status_of
from vdb_coordinator.service.callers import Roles, authorised
from vdb_shared import errors
from vdb_shared.roster import parse_roster
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons

ROSTER = parse_roster(make_roster().roster)
LEAD = "spiffe://testbed/admin/lead"
ROLES = Roles.of(ROSTER, (LEAD,))
PARTICIPANT = f"spiffe://testbed/participant/{INSTITUTIONS[0]}"
INVITED = "spiffe://testbed/enrolment/newcomer"
FOR_LEADS_TOO = {
    *(("SessionService", method) for method in ("ListSessions", "GetSession", "WatchSession", "GetBundle")),
    *(("LogService", method) for method in ("Object", "GetObjections")),
}
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


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RefusedError(reasons.CONFLICT, "x"), StatusCode.ALREADY_EXISTS, reasons.CONFLICT),
        (RefusedError(reasons.WRONG_OFFSET, "x"), StatusCode.UNAVAILABLE, reasons.WRONG_OFFSET),
        (errors.ProtocolError("x", peer="seat 1"), StatusCode.INVALID_ARGUMENT, reasons.PROTOCOL),
        (errors.SignatureError("x"), StatusCode.INVALID_ARGUMENT, reasons.PROTOCOL),
        (errors.FormatError("x"), StatusCode.INVALID_ARGUMENT, reasons.INVALID),
        (errors.SpecError("x"), StatusCode.INVALID_ARGUMENT, reasons.INVALID),
        (errors.StoreError("disk full"), StatusCode.UNAVAILABLE, reasons.STORAGE),
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


def test_every_reason_has_a_code() -> None:
    names = [name for name in vars(reasons) if name.isupper() and name != "DOMAIN"]
    for name in names:
        status_of(RefusedError(getattr(reasons, name), "x"))


def test_long_messages_are_cut_to_what_headers_bear() -> None:
    assert len(status_of(errors.FormatError("x" * 100_000))[1]) == 1000
