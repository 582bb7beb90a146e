"""How far invitations came, as leads are shown it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row

from vdb_coordinator.serving.clock import parse_timestamp
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
    """One invitation and what became of it; `fingerprint` is "" and `seat` None until they are known."""

    institution: str
    stage: EnrolmentStage
    fingerprint: str
    seat: int | None
    expires: str


def status_of(row: Row[tuple[object, ...]], roster: Roster, now: datetime) -> EnrolmentStatus:
    """Return what became of an invitation.

    Args:
        row: its columns and those of its enrolment, if there is one.
        roster: the newest.
        now: whether it has expired.
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
            return EnrolmentStatus(row.institution, EnrolmentStage.APPROVED, key.key_id, member.seat, row.expires)
    return EnrolmentStatus(row.institution, EnrolmentStage.REVOKED, key.key_id, None, row.expires)
