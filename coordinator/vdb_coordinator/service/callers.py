"""Who calls, and whether they may: SPIFFE ids from mutual TLS, roles from the roster and the configuration.

Promises that a certificate's name alone gives no right but to use the invitation it came with: participants are looked up in
the roster, leads in the configuration, at every call.

Source: protos/README.md §11.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal

from vdb_coordinator.identity.ca import spiffe_id
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.states import Opening
from vdb_shared.roster import Roster
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire import reasons

Role = Literal["participant", "admin", "enrolment"]

_PACKAGE: Final = "/vdb.v1."
_HEALTH: Final = "/grpc.health.v1.Health/"
_EVERYBODY: Final[frozenset[Role]] = frozenset({"participant", "admin", "enrolment"})
_LASTING: Final[frozenset[Role]] = frozenset({"participant", "admin"})
"""Who may watch: not who has an invitation and is nobody yet."""

_SERVICES: Final[Mapping[str, frozenset[Role]]] = {
    "ProtocolService": _EVERYBODY,
    "MembershipService": frozenset({"participant"}),
    "EnrolmentService": frozenset({"enrolment"}),
    "SessionService": frozenset({"participant"}),
    "LogService": frozenset({"participant"}),
    "AggregationService": frozenset({"participant"}),
    "AdminService": frozenset({"admin"}),
}
_FOR_LEADS_TOO: Final[Mapping[str, frozenset[str]]] = {
    "SessionService": frozenset({"ListSessions", "GetSession", "WatchSession", "GetBundle"}),
    "LogService": frozenset({"Object", "GetObjections"}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated peer, the role it has now, and the certificate (PEM) with which it calls."""

    spiffe_id: str
    role: Role
    certificate: bytes = field(default=b"", repr=False)


_CALLER: ContextVar[Caller] = ContextVar("caller")


def set_caller(caller: Caller) -> None:
    """Remember who makes the present call."""
    _CALLER.set(caller)


def current_caller() -> Caller:
    """Return who makes the present call."""
    return _CALLER.get()


@dataclass(frozen=True, slots=True)
class Roles:
    """Who has which role under one version of the roster."""

    consortium: str
    participants: frozenset[str]
    admins: frozenset[str]

    @classmethod
    def of(cls, roster: Roster, admins: tuple[str, ...]) -> Roles:
        """Return the roles that a roster and the configuration give."""
        return cls(roster.consortium, frozenset(member.spiffe_id for member in roster.participants), frozenset(admins))

    def role_of(self, peer: str) -> Role | None:
        """Return the role of a SPIFFE id, or None for a stranger."""
        if peer in self.admins:
            return "admin"
        if peer in self.participants:
            return "participant"
        if peer.startswith(spiffe_id(self.consortium, "enrolment", "")):
            return "enrolment"
        return None


def roles_for(method: str) -> frozenset[Role]:
    """Return the roles that may call a method, given as /package.Service/Method."""
    if method.startswith(_HEALTH):
        return _LASTING if method == _HEALTH + "Watch" else _EVERYBODY
    service, _, name = method.removeprefix(_PACKAGE).partition("/")
    allowed = _SERVICES.get(service, frozenset())
    return allowed | {"admin"} if name in _FOR_LEADS_TOO.get(service, ()) else allowed


def authorised(peer: str | None, method: str, roles: Roles) -> Caller:
    """Return the caller if it may call a method.

    Raises:
        RefusedError: it may not.
    """
    role = roles.role_of(peer) if peer else None
    if peer is None or role is None:
        raise RefusedError(reasons.NOT_A_MEMBER, _no_member(peer, roles.consortium))
    if role not in roles_for(method):
        raise RefusedError(reasons.NOT_A_MEMBER, f"{peer} may not call {method.rpartition('/')[2]}")
    return Caller(peer, role)


def _no_member(peer: str | None, consortium: str) -> str:
    """Return why a peer without a role is refused; one with a participant's certificate, which we issued, was a member once."""
    if peer is not None and peer.startswith(spiffe_id(consortium, "participant", "")):
        return (
            f"{peer} is no longer a member of consortium {consortium}: its membership was revoked, or a backup from before it "
            "enrolled was restored; ask the lead"
        )
    return f"{peer or 'a caller without a SPIFFE id'} is not a member of consortium {consortium}; ask the lead"


def seat_of(caller: Caller, opening: Opening) -> Seat:
    """Return the caller's seat in a session.

    Raises:
        RefusedError: it is not in the session's roster.
    """
    seat = opening.seat_of(caller.spiffe_id)
    if seat is not None:
        return seat
    raise RefusedError(
        reasons.NOT_A_MEMBER,
        f"{caller.spiffe_id} is not in the roster of session {opening.session}, which was opened before it became a member",
    )


def check_seat(caller: Caller, opening: Opening, claimed: Seat) -> Seat:
    """Return the caller's seat if it is the one that a message claims.

    Raises:
        RefusedError: it is another one's.
    """
    seat = seat_of(caller, opening)
    if seat != claimed:
        raise RefusedError(reasons.NOT_A_MEMBER, f"{caller.spiffe_id} has seat {seat}, the message says {claimed}")
    return seat
