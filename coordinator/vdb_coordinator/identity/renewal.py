"""Renewal: a member gets a new TLS certificate for a new key, before the present one ends.

Promises that a certificate is issued only to who calls with one that counts and holds the statement key that the newest roster
names, that the same request gets the same certificate, and that what was issued is revoked with the key that asked for it.
Leaves transport identity to the service. The present certificate counts until its own end.

Source: protos/README.md §11.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sqlalchemy import Connection, func, insert, select

from vdb_coordinator.identity.ca import parse_request
from vdb_coordinator.identity.enrolment import Consortium
from vdb_coordinator.identity.revocation import PresentCertificates, certificate_digest
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.clock import Clock, timestamp
from vdb_coordinator.store import attempts, schema
from vdb_coordinator.store.database import Database
from vdb_shared import labels
from vdb_shared.errors import IdentityError, SignatureError
from vdb_shared.roster import Member, Roster
from vdb_shared.wire import reasons
from vdb_shared.wire.enrolment import renewal_body

MAX_RENEWALS: Final = 8
"""Of one statement key within a day: agents renew once in ten days."""

_PERIOD: Final = timedelta(days=1)
_ACTION: Final = "renew certificate"


@dataclass(frozen=True, slots=True)
class RenewalRequest:
    """What a member sends, and what is known of it.

    Attributes:
        caller: its SPIFFE id.
        certificate: with which it calls, PEM.
        certificate_request: PKCS#10, DER, of its new key.
        possession: signature of its statement key, see RenewCertificateRequest.
    """

    caller: str
    certificate: bytes
    certificate_request: bytes
    possession: bytes


class Renewals:
    """Issues certificates to members; kept in the database."""

    def __init__(self, consortium: Consortium, database: Database, clock: Clock) -> None:
        self._consortium = consortium
        self._database = database
        self._clock = clock

    async def renew(self, request: RenewalRequest) -> bytes:
        """Return a new certificate chain, PEM, leaf first.

        Raises:
            RefusedError: the caller is no member any more, its certificate was revoked, or it renews too often.
            SignatureError: the statement key did not sign this.
            IdentityError: the request for a certificate is malformed, or for a key that has one.
        """
        key, now = parse_request(request.certificate_request), self._clock.now()
        try:
            leaf = await self._database.run(lambda connection: self._renewed(connection, request, key, now))
        except (RefusedError, SignatureError, IdentityError) as error:
            why = str(error)
            await self._database.run(
                lambda connection: attempts.record_refusal(connection, now, request.caller, _ACTION, why)
            )
            raise
        return leaf + self._consortium.authority.pem

    def _renewed(
        self, connection: Connection, request: RenewalRequest, key: EllipticCurvePublicKey, now: datetime
    ) -> bytes:
        roster = self._consortium.rosters.newest(connection).roster
        member, present = _member(roster, request.caller), certificate_digest(request.certificate)
        if not PresentCertificates.of(connection, roster).include(request.caller, request.certificate):
            raise RefusedError(reasons.NOT_A_MEMBER, f"the certificate of {request.caller} was revoked; ask the lead")
        body = renewal_body(self._consortium.name, member.institution, present, request.certificate_request)
        member.public_key.verify(labels.TYPE_RENEWAL, body, request.possession)
        table, name = schema.renewals, sha256(body).digest()
        known: bytes | None = connection.scalar(select(table.c.certificate).where(table.c.request == name))
        if known is not None:
            return known
        if _certifies(request.certificate, key):
            raise IdentityError(
                "the certificate request is for the key that the present certificate has; make a new one"
            )
        _check_quota(connection, member, now)
        leaf = self._consortium.authority.issue_participant(key, member, now)
        row = {
            "request": name,
            "institution": member.institution,
            "statement_key": member.public_key.raw,
            "issued": timestamp(now),
            "certificate": leaf,
        }
        connection.execute(insert(table), row)
        attempts.record(connection, now, request.caller, _ACTION, _outcome(leaf, present))
        return leaf


def _member(roster: Roster, spiffe: str) -> Member:
    for member in roster.participants:
        if member.spiffe_id == spiffe:
            return member
    raise RefusedError(reasons.NOT_A_MEMBER, f"{spiffe} is no member any more; ask the lead")


def _check_quota(connection: Connection, member: Member, now: datetime) -> None:
    table = schema.renewals
    mine = (table.c.statement_key == member.public_key.raw, table.c.issued > timestamp(now - _PERIOD))
    count = connection.execute(select(func.count()).select_from(table).where(*mine)).scalar_one()
    if count >= MAX_RENEWALS:
        raise RefusedError(
            reasons.TOO_MUCH,
            f"{member.institution} renewed its certificate {count} times within a day; try again tomorrow",
        )


def _certifies(certificate: bytes, key: EllipticCurvePublicKey) -> bool:
    return x509.load_pem_x509_certificate(certificate).public_key() == key


def _outcome(leaf: bytes, present: bytes) -> str:
    ends = x509.load_pem_x509_certificate(leaf).not_valid_after_utc
    return f"until {timestamp(ends)}, sha256:{certificate_digest(leaf).hex()}, after sha256:{present.hex()}"
