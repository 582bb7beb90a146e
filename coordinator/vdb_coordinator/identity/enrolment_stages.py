"""How far invitations came, as leads are shown it, and until when members' certificates last."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import Connection, Row

from vdb_coordinator.identity.revocation import issued_certificates
from vdb_coordinator.serving.clock import parse_timestamp, timestamp
from vdb_shared.identity import StatementPublicKey
from vdb_shared.roster import Roster


class EnrolmentStage(enum.Enum):
    """How far an invitation came."""

    INVITED = "invited"
    WAITING = "waiting for approval"
    APPROVED = "approved"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class EnrolmentStatus:
    """One invitation and what became of it.

    Attributes:
        institution: who was invited.
        stage: how far it came.
        fingerprint: of its statement key; "" until it is known.
        seat: None until it is approved.
        expires: when the invitation does.
        certificate_expires: when the last certificate of its key does; "" until it is approved, and after a revocation.
    """

    institution: str
    stage: EnrolmentStage
    fingerprint: str
    seat: int | None
    expires: str
    certificate_expires: str = ""


def status_of(
    row: Row[tuple[object, ...]], roster: Roster, now: datetime, ends: Mapping[tuple[str, bytes], datetime]
) -> EnrolmentStatus:
    """Return what became of an invitation.

    Args:
        row: its columns and those of its enrolment, if there is one.
        roster: the newest.
        now: whether it has expired.
        ends: when the last certificate ends, by institution and statement key.
    """
    if row.statement_key is None:
        expired = now > parse_timestamp(row.expires)
        stage = EnrolmentStage.EXPIRED if expired else EnrolmentStage.INVITED
        return EnrolmentStatus(row.institution, stage, "", None, row.expires)
    key = StatementPublicKey(row.statement_key)
    if row.certificate is None:
        return EnrolmentStatus(row.institution, EnrolmentStage.WAITING, key.key_id, None, row.expires)
    for member in roster.participants:
        if (member.institution, member.public_key) == (row.institution, key):
            last = timestamp(ends[row.institution, row.statement_key])
            return EnrolmentStatus(row.institution, EnrolmentStage.APPROVED, key.key_id, member.seat, row.expires, last)
    return EnrolmentStatus(row.institution, EnrolmentStage.REVOKED, key.key_id, None, row.expires)


def certificate_ends(connection: Connection) -> Mapping[tuple[str, bytes], datetime]:
    """Return when the last certificate ends, by institution and statement key."""
    ends: dict[tuple[str, bytes], datetime] = {}
    for issued in issued_certificates(connection):
        holder = (issued.institution, issued.statement_key)
        end = x509.load_pem_x509_certificate(issued.certificate).not_valid_after_utc
        ends[holder] = max(end, ends.get(holder, end))
    return ends
