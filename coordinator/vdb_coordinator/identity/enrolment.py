"""Enrolment: from an invitation to a seat in the roster.

Promises that an invitation is used once, by whoever proves to hold the key; that a member enters the roster only when the
lead confirmed the key's fingerprint, and leaves it for good when its key is revoked; and that every refusal is in the audit
log. Leaves transport identity to the service.

Source: protos/README.md §11.2.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Row, delete, insert, select, update
from structlog.typing import FilteringBoundLogger

from vdb_coordinator.identity.ca import CertificateAuthority, parse_request, spiffe_id
from vdb_coordinator.identity.enrolment_stages import EnrolmentStatus, certificate_ends, status_of
from vdb_coordinator.identity.keys import key_pem, new_tls_key
from vdb_coordinator.identity.revocation import (
    PresentCertificates,
    Revocation,
    check_not_revoked,
    log_replacement,
    revocable,
    store_revocation,
)
from vdb_coordinator.identity.rosters import RosterAuthority, Seats, StoredRoster, with_member
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.clock import Clock, parse_timestamp, timestamp
from vdb_coordinator.store import attempts, schema
from vdb_coordinator.store.database import Database
from vdb_shared import labels
from vdb_shared.errors import FormatError, IdentityError, SignatureError
from vdb_shared.identity import StatementPublicKey
from vdb_shared.roster import Member, Roster
from vdb_shared.wire import reasons
from vdb_shared.wire.enrolment import (
    TOKEN_BYTES,
    InvitationFile,
    possession_body,
    token_hash,
    ungrouped,
)
from vdb_shared.wire.status import Enrolment

INVITATION_LIFETIME: Final = timedelta(hours=72)

_USED: Final = "invitation was used already; ask the lead for a new one"
_UNKNOWN: Final = "invitation is not known here, or was replaced by a newer one; ask the lead for a new one"


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What an institution sends: see EnrolRequest."""

    institution: str
    token: bytes = field(repr=False)
    certificate_request: bytes
    statement_key: bytes
    possession: bytes


@dataclass(frozen=True, slots=True)
class Consortium:
    """What invitations say about the consortium besides the address."""

    name: str
    authority: CertificateAuthority
    rosters: RosterAuthority


class Enrolments:
    """Invitations and members, kept in the database."""

    def __init__(self, consortium: Consortium, database: Database, clock: Clock, log: FilteringBoundLogger) -> None:
        self._consortium = consortium
        self._database = database
        self._clock = clock
        self._log = log
        self._current: StoredRoster | None = None
        self._present = PresentCertificates({}, frozenset())
        self._leaving: set[Member] = set()
        self._seats = Seats()

    @property
    def members(self) -> Roster:
        """The newest roster, as far as this process knows: it alone writes rosters."""
        return self._newest.roster

    @property
    def _newest(self) -> StoredRoster:
        if self._current is None:
            raise RuntimeError("no roster was read yet")
        return self._current

    def is_member(self, member: Member) -> bool:
        """Return whether an institution is a member under this key; one that is being revoked is none."""
        return member not in self._leaving and (member.institution, member.statement_key) in self._newest.keys

    def may_call(self, spiffe: str, certificate: bytes) -> bool:
        """Return whether a certificate (PEM) counts: of a participant's, those that were issued under its present key."""
        if any(member.spiffe_id == spiffe for member in self._leaving):
            return False
        participant = spiffe.startswith(spiffe_id(self._consortium.name, "participant", ""))
        return not participant or self._present.include(spiffe, certificate)

    async def roster(self) -> StoredRoster:
        """Return the newest roster; its signature is renewed when it nears expiry."""
        now = self._clock.now()

        def read(connection: Connection) -> tuple[StoredRoster, PresentCertificates]:
            stored = self._consortium.rosters.renewed(connection, now)
            return stored, PresentCertificates.of(connection, stored.roster)

        stored, self._present = await self._database.run(read)
        self._current = stored
        return stored

    async def revoke(self, revocation: Revocation) -> tuple[Member, int]:
        """End a membership; return it, and the version of the roster without it.

        From the first moment on the institution is refused, also while this is being stored.

        Raises:
            IdentityError: it is no member, or has another key than the one that is to be revoked.
            StoreError: it could not be stored; the institution is still a member.
        """
        now, member = self._clock.now(), revocable(self.members, revocation)

        def store(connection: Connection) -> tuple[StoredRoster, PresentCertificates]:
            stored = store_revocation(connection, self._consortium.rosters, revocation, now)
            _void(connection, member.institution)
            return stored, PresentCertificates.of(connection, stored.roster)

        self._leaving.add(member)
        try:
            stored, self._present = await self._database.run(store)
            self._current = stored
        finally:
            self._leaving.discard(member)
        self._log.info("membership ended", institution=member.institution, roster=stored.version)
        return member, stored.version

    async def invite(self, institution: str, address: str, by: str) -> InvitationFile:
        """Return a new invitation; older ones of the institution that were not approved become void."""
        now, current = self._clock.now(), await self.roster()
        if institution == current.roster.coordinator.institution:
            raise IdentityError(f"{institution} is the coordinator's own name; invite an institution")
        _check_no_auditor(current.roster, institution)
        token, expires = secrets.token_bytes(TOKEN_BYTES), now + INVITATION_LIFETIME
        key = new_tls_key()
        name = spiffe_id(self._consortium.name, "enrolment", institution)
        authority = self._consortium.authority
        certificate = authority.issue_client(key.public_key(), name, now, INVITATION_LIFETIME)
        invitation = InvitationFile(
            consortium=self._consortium.name,
            address=address,
            institution=institution,
            ca_certificate=authority.pem.decode(),
            root_fingerprint=current.signed.root_fingerprint,
            token=token.hex(),
            bootstrap_certificate=certificate.decode(),
            bootstrap_key=key_pem(key, None).decode(),
            expires=timestamp(expires),
        )

        def store(connection: Connection) -> None:
            _void(connection, institution)
            row = {"token_hash": token_hash(token), "institution": institution, "expires": invitation.expires}
            connection.execute(insert(schema.invitations), row)
            attempts.record(connection, now, by, "invite", institution)

        await self._database.run(store)
        return invitation

    async def enrol(self, request: EnrolmentRequest, caller: str) -> None:
        """Bind an invitation to a statement key and a certificate request.

        Raises:
            RefusedError: the invitation is unknown, used, expired or another institution's.
            IdentityError, SignatureError: the request does not prove that its maker holds the keys.
        """
        now = self._clock.now()
        async with self.recorded(caller, "enrol"):
            key = StatementPublicKey(request.statement_key)
            body = possession_body(request.token, request.institution, request.certificate_request)
            key.verify(labels.TYPE_POSSESSION, body, request.possession)
            parse_request(request.certificate_request)
            fresh = await self._database.run(lambda connection: _bind(connection, request, now))
        if fresh:
            self._log.info("institution asks to be a member", institution=request.institution)

    async def enrolment(self, institution: str, token: bytes, caller: str) -> Enrolment | None:
        """Return certificate and roster of an approved enrolment, or None while the lead has not approved.

        Raises:
            RefusedError: no enrolment with this token.
        """

        def read(connection: Connection) -> Enrolment | None:
            row = _invitation(connection, token, institution)
            if row.statement_key is None:
                raise RefusedError(reasons.INVITATION, "invitation was not used yet; enrol with it first")
            if row.certificate is None:
                return None
            newest = self._consortium.rosters.newest(connection)
            name = spiffe_id(self._consortium.name, "participant", institution)
            if not PresentCertificates.of(connection, newest.roster).include(name, row.certificate):
                raise RefusedError(reasons.INVITATION, f"the membership of {institution} under this key was revoked")
            return Enrolment(row.certificate + self._consortium.authority.pem, newest.signed)

        async with self.recorded(caller, "get enrolment"):
            return await self._database.run(read)

    async def approve(self, institution: str, fingerprint: str, by: str) -> tuple[int, int]:
        """Give an institution its seat and certificate, sign the new roster; return seat and roster version.

        A key that it had before is revoked by that.

        Raises:
            IdentityError: nobody waits, or the fingerprint is another key's.
        """
        now = self._clock.now()

        def store(connection: Connection) -> tuple[int, StoredRoster, PresentCertificates]:
            waiting = _waiting(connection, institution)
            key = StatementPublicKey(waiting.statement_key)
            _check_fingerprint(institution, key.key_id, fingerprint)
            current = self._consortium.rosters.newest(connection)
            _check_no_auditor(current.roster, institution)
            _check_unused(current.roster, institution, key)
            check_not_revoked(connection, institution, key)
            log_replacement(connection, current.roster, institution, key, now)
            seat = self._seats.seat_for(connection, current.roster, institution)
            name = spiffe_id(self._consortium.name, "participant", institution)
            member = Member(
                institution=institution,
                role="participant",
                seat=seat,
                statement_key=waiting.statement_key.hex(),
                spiffe_id=name,
            )
            roster = with_member(current.roster, member)
            signed = self._consortium.rosters.store(connection, roster, current.version + 1, now)
            certificate = self._consortium.authority.issue_participant(parse_request(waiting.request), member, now)
            connection.execute(
                update(schema.enrolments)
                .where(schema.enrolments.c.token_hash == waiting.token_hash)
                .values(certificate=certificate)
            )
            attempts.record(connection, now, by, "approve", f"{institution} in seat {seat}")
            return seat, signed, PresentCertificates.of(connection, roster)

        seat, stored, self._present = await self._database.run(store)
        self._current = stored
        self._log.info("institution is a member", institution=institution, seat=seat, roster=stored.version)
        return seat, stored.version

    async def admit_auditor(self, name: str, key: StatementPublicKey, by: str) -> int:
        """Put an auditor into a new roster, which later sessions count on; return its version.

        An auditor has a name and a key and no seat, and never connects: members and leads carry what it signs.

        Raises:
            IdentityError: the name or the key is a member's already, or the key was revoked.
        """
        now = self._clock.now()

        def store(connection: Connection) -> StoredRoster:
            current = self._consortium.rosters.newest(connection)
            if any(member.institution == name for member in current.roster.members):
                raise IdentityError(f"{name} is a member already; choose another name for the auditor")
            _check_unused(current.roster, name, key)
            check_not_revoked(connection, name, key)
            auditor = Member(
                institution=name,
                role="auditor",
                seat=None,
                statement_key=key.raw.hex(),
                spiffe_id=spiffe_id(self._consortium.name, "auditor", name),
            )
            roster = with_member(current.roster, auditor)
            signed = self._consortium.rosters.store(connection, roster, current.version + 1, now)
            attempts.record(connection, now, by, "admit auditor", name)
            return signed

        self._current = await self._database.run(store)
        return self._current.version

    async def statuses(self) -> list[EnrolmentStatus]:
        """Return all invitations, by institution."""
        now = self._clock.now()

        def read(connection: Connection) -> list[EnrolmentStatus]:
            roster = self._consortium.rosters.newest(connection).roster
            rows, ends = (
                connection.execute(_ALL.order_by(schema.invitations.c.institution)),
                certificate_ends(connection),
            )
            return [status_of(row, roster, now, ends) for row in rows]

        return await self._database.run(read)

    @asynccontextmanager
    async def recorded(self, caller: str, action: str) -> AsyncIterator[None]:
        """Note in the audit log that an action is refused."""
        try:
            yield
        except (RefusedError, FormatError, IdentityError, SignatureError) as error:
            now, why = self._clock.now(), str(error)
            await self._database.run(lambda connection: attempts.record_refusal(connection, now, caller, action, why))
            raise


_ALL: Final = select(
    schema.invitations,
    schema.enrolments.c.request,
    schema.enrolments.c.statement_key,
    schema.enrolments.c.certificate,
).join(schema.enrolments, isouter=True)


def _invitation(connection: Connection, token: bytes, institution: str) -> Row[tuple[object, ...]]:
    row = connection.execute(_ALL.where(schema.invitations.c.token_hash == token_hash(token))).one_or_none()
    if row is None or row.institution != institution:
        raise RefusedError(reasons.INVITATION, _UNKNOWN)
    return row


def _bind(connection: Connection, request: EnrolmentRequest, now: datetime) -> bool:
    """Return whether the invitation was not bound yet: to the same keys it may be again, since an answer can be lost."""
    row = _invitation(connection, request.token, request.institution)
    given = (request.certificate_request, request.statement_key)
    if row.statement_key is not None:
        if (row.request, row.statement_key) != given:
            raise RefusedError(reasons.INVITATION, _USED)
        return False
    if now > parse_timestamp(row.expires):
        raise RefusedError(reasons.INVITATION, f"invitation expired on {row.expires}; ask the lead for a new one")
    values = {"token_hash": row.token_hash, "request": given[0], "statement_key": given[1]}
    connection.execute(insert(schema.enrolments), values)
    return True


def _waiting(connection: Connection, institution: str) -> Row[tuple[object, ...]]:
    query = _ALL.where(
        schema.invitations.c.institution == institution,
        schema.enrolments.c.statement_key.is_not(None),
        schema.enrolments.c.certificate.is_(None),
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise IdentityError(
            f"{institution} does not wait for approval; it must run `vdb-participant enroll` with its invitation first"
        )
    return row


def _check_fingerprint(institution: str, expected: str, found: str) -> None:
    if not hmac.compare_digest(expected.encode(), ungrouped(found).encode()):
        raise IdentityError(
            f"the key of {institution} has another fingerprint than the one given; give all of what the institution reads out; "
            "if that is all of it, somebody else used its invitation: do not approve"
        )


def _check_no_auditor(roster: Roster, institution: str) -> None:
    if any(member.institution == institution and member.role == "auditor" for member in roster.members):
        raise IdentityError(f"{institution} is an auditor, which does not take part; choose another name")


def _check_unused(roster: Roster, institution: str, key: StatementPublicKey) -> None:
    for member in roster.members:
        if member.public_key == key and member.institution != institution:
            raise IdentityError(f"{institution} uses the key of {member.institution}; every institution needs its own")


def _void(connection: Connection, institution: str) -> None:
    """Forget all invitations of an institution that were not approved."""
    approved = select(schema.enrolments.c.token_hash).where(schema.enrolments.c.certificate.is_not(None))
    mine = select(schema.invitations.c.token_hash).where(schema.invitations.c.institution == institution)
    connection.execute(
        delete(schema.enrolments).where(
            schema.enrolments.c.token_hash.in_(mine), schema.enrolments.c.certificate.is_(None)
        )
    )
    connection.execute(
        delete(schema.invitations).where(
            schema.invitations.c.institution == institution, schema.invitations.c.token_hash.not_in(approved)
        )
    )
