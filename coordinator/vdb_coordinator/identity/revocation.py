"""Revocation: an institution is a member no more, its key signs for it no more, its certificates open nothing.

Promises that the roster without it, the log's entry and the audit log are stored in one transaction, that a revoked key never
comes back, and that a certificate counts only as long as the key under which it was issued is its institution's, whether the
database knows the certificate or lost it. Leaves open connections to the service, and sessions to the conductor.

Source: protos/README.md §9.7, §11.1, §11.2.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Connection, select, union_all

from vdb_coordinator.identity.rosters import RosterAuthority, StoredRoster, without_member
from vdb_coordinator.serving.clock import timestamp
from vdb_coordinator.store import attempts, log_entries, schema
from vdb_shared.bundle.logged import SALT_BYTES, RevocationReason, RevokedRecord, encode_record, parse_record
from vdb_shared.errors import FormatError, IdentityError
from vdb_shared.identity import StatementPublicKey, statement_key_of
from vdb_shared.roster import Member, Roster


@dataclass(frozen=True, slots=True)
class Revocation:
    """A lead's decision.

    Attributes:
        institution: whose membership ends.
        reason: as everybody reads it in the log.
        note: more words, for the coordinator's audit log alone.
        by: SPIFFE id of the lead.
        fingerprint: key id of the key that is revoked; "" is the one that the institution has now, whichever that is.
    """

    institution: str
    reason: RevocationReason
    note: str
    by: str
    fingerprint: str = ""


def revocable(roster: Roster, revocation: Revocation) -> Member:
    """Return the member whose membership a decision ends.

    Raises:
        IdentityError: there is none, it has another key than the decision names, or it is the coordinator itself.
    """
    institution = revocation.institution
    if institution not in {member.institution for member in roster.members}:
        raise IdentityError(
            f"{institution} is not a member of consortium {roster.consortium}; `vdb-coordinator enrolments` lists who is"
        )
    member = roster.member(institution)
    if member.role == "coordinator":
        raise IdentityError(
            f"{institution} is the coordinator itself; whoever loses its key founds a new consortium, with a new trust root"
        )
    if revocation.fingerprint not in ("", member.public_key.key_id):
        raise IdentityError(
            f"{institution} has another key now ({member.public_key.key_id[:16]}) than the one that was to be revoked "
            f"({revocation.fingerprint[:16]}), which counts no more; decide anew if it is to be revoked all the same"
        )
    return member


def store_revocation(
    connection: Connection, rosters: RosterAuthority, revocation: Revocation, now: datetime
) -> StoredRoster:
    """Store the roster without a member, the log's entry of that and what the lead said; return the roster.

    Raises:
        IdentityError: it is no member, has another key than the one that is to be revoked, or is the coordinator itself.
    """
    current = rosters.newest(connection)
    member = revocable(current.roster, revocation)
    roster = without_member(current.roster, member.institution)
    stored = rosters.store(connection, roster, current.version + 1, now)
    _log(connection, member, revocation.reason, now)
    outcome = f"{member.institution}, {revocation.reason}: {revocation.note or 'no note'}"
    attempts.record(connection, now, revocation.by, "revoke", outcome)
    return stored


def log_replacement(
    connection: Connection, roster: Roster, institution: str, key: StatementPublicKey, now: datetime
) -> None:
    """Store in the log that a member's key is replaced, if it had another one before."""
    for member in roster.members:
        if member.institution == institution and member.public_key != key:
            _log(connection, member, "replaced", now)


def check_not_revoked(connection: Connection, institution: str, key: StatementPublicKey) -> None:
    """Check that a key was never revoked.

    Raises:
        IdentityError: it was.
    """
    for row in connection.execute(select(schema.log_entries.c.entry)):
        if _revokes(row.entry, key.key_id):
            raise IdentityError(
                f"{institution} uses a key that was revoked; it must make a new one: an institution by enrolling in another "
                "--dir, an auditor with `vdb-audit key`"
            )


@dataclass(frozen=True, slots=True)
class PresentCertificates:
    """Those certificates of participants that count under one version of the roster.

    Attributes:
        keys: the statement key of each participant, by SPIFFE id.
        nameless: digests of those that were issued under one of these keys, as the database knows, and do not name it:
            certificates of earlier programs.
    """

    keys: Mapping[str, bytes]
    nameless: frozenset[bytes]

    @classmethod
    def of(cls, connection: Connection, roster: Roster) -> PresentCertificates:
        """Return those under a roster."""
        keys = {member.institution: member.public_key.raw for member in roster.participants}
        return cls(
            {member.spiffe_id: member.public_key.raw for member in roster.participants},
            frozenset(
                certificate_digest(row.certificate)
                for row in issued_certificates(connection)
                if keys.get(row.institution) == row.statement_key and statement_key_of(row.certificate) is None
            ),
        )

    def include(self, spiffe: str, certificate: bytes) -> bool:
        """Return whether a certificate (PEM) of a participant counts."""
        key = self.keys.get(spiffe)
        if key is None:
            return False
        named = statement_key_of(certificate)
        return named == key or (named is None and certificate_digest(certificate) in self.nameless)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of a member: whose, asked for under which statement key, PEM."""

    institution: str
    statement_key: bytes
    certificate: bytes


def issued_certificates(connection: Connection) -> list[Issued]:
    """Return the certificates of all enrolments and renewals."""
    enrolled = select(
        schema.invitations.c.institution, schema.enrolments.c.statement_key, schema.enrolments.c.certificate
    ).join(schema.enrolments)
    renewed = select(schema.renewals.c.institution, schema.renewals.c.statement_key, schema.renewals.c.certificate)
    query = union_all(enrolled.where(schema.enrolments.c.certificate.is_not(None)), renewed)
    return [Issued(*row) for row in connection.execute(query)]


def certificate_digest(pem: bytes) -> bytes:
    """Return the SHA-256 of a certificate's DER bytes."""
    return sha256(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))).digest()


def _log(connection: Connection, member: Member, reason: RevocationReason, now: datetime) -> None:
    record = RevokedRecord(
        institution=member.institution,
        key=member.public_key.key_id,
        reason=reason,
        revoked=timestamp(now),
        salt=secrets.token_hex(SALT_BYTES),
    )
    log_entries.append(connection, encode_record(record))


def _revokes(entry: bytes, key_id: str) -> bool:
    if key_id.encode() not in entry:
        return False
    try:
        record = parse_record(entry)
    except FormatError:
        return False
    return isinstance(record, RevokedRecord) and record.key == key_id
