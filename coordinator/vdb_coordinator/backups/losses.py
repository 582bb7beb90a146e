"""What a restoration makes of a database that is older than its log: what the log says holds, and what led there is lost.

Promises, in one transaction: the log goes on from its newest entry; a session that ended by the log does not end again; one
whose later events are lost, or that was opened later, is aborted, so that nobody waits for it and nobody contributes to it
twice; a key that the log revokes is no member's; the roster gets a version, and the database an epoch, that nobody has seen.
Leaves signing the aborts of sessions that the backup knows to the coordinator when it serves.

Source: protos/README.md §11.6.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from vdb_coordinator.approvals import SignedOrder
from vdb_coordinator.duties import LONGEST_REASON
from vdb_coordinator.events import EndLost, Event, SessionFailed
from vdb_coordinator.identity.rosters import RosterAuthority, without_member
from vdb_coordinator.orders import record_done
from vdb_coordinator.serving.clock import timestamp
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.sessions import apply
from vdb_coordinator.states import Ending, Publishing, SessionState
from vdb_coordinator.store import log_entries, proposals, restorations, schema
from vdb_coordinator.store.restorations import LostSession, Restoration
from vdb_shared.bundle.logged import (
    SALT_BYTES,
    AbortedRecord,
    OpenedRecord,
    PublishedRecord,
    RevokedRecord,
    encode_record,
    parse_record,
)
from vdb_shared.bundle.statement import Abort, Statement
from vdb_shared.identity import Signer
from vdb_shared.wire.status import Phase

VERSION_SECONDS: Final = 10
"""A restored roster's version is the time in such steps since 1970: rosters change more seldom, so each restoration of whatever
backup goes beyond all versions before it."""


@dataclass(frozen=True, slots=True)
class Later:
    """What stands in the log behind the entries of a backup.

    Attributes:
        entries: all of it, in order.
        ends: the entry of each session that ended, by session.
        opened: sessions that were opened.
        revoked: key ids that were revoked.
    """

    entries: tuple[bytes, ...]
    ends: dict[str, bytes]
    opened: tuple[str, ...]
    revoked: frozenset[str]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of a restoration.

    Attributes:
        at: the time.
        made: when the backup was made, as its manifest says.
        complete: whether the operator says that nothing happened since.
        checkpoint: note of the newest checkpoint; b"" if there never was one.
        rosters: signs the roster.
        signer: the coordinator's statement key.
        order: what several people have signed, or None where nobody must.
    """

    at: datetime
    made: str
    complete: bool
    checkpoint: bytes = field(repr=False)
    rosters: RosterAuthority
    signer: Signer = field(repr=False)
    order: SignedOrder | None = None

    @property
    def reason(self) -> str:
        """Why a session is aborted."""
        return (
            f"the coordinator was restored on {timestamp(self.at)} from a backup of {self.made}; what happened in this session "
            "since then is lost, and it does not go on"
        )[:LONGEST_REASON]


@dataclass(frozen=True, slots=True)
class Losses:
    """What a restoration did.

    Attributes:
        epoch: that it began.
        entries: of the log that were taken from the published one.
        aborted: sessions that the coordinator aborts when it serves.
        ended: sessions of which nothing but their logged end is known from now on.
        lost: sessions that were opened after the backup.
        left_out: members whose keys the log revokes.
        version: of the newest roster.
    """

    epoch: int
    entries: int
    aborted: tuple[str, ...]
    ended: tuple[str, ...]
    lost: tuple[LostSession, ...] = field(repr=False)
    left_out: tuple[str, ...]
    version: int


def later(entries: Sequence[bytes]) -> Later:
    """Return what entries say.

    Raises:
        FormatError: one is no record.
    """
    records = [(entry, parse_record(entry)) for entry in entries]
    return Later(
        tuple(entries),
        {record.session: entry for entry, record in records if isinstance(record, PublishedRecord | AbortedRecord)},
        tuple(record.session for _, record in records if isinstance(record, OpenedRecord)),
        frozenset(record.key for _, record in records if isinstance(record, RevokedRecord)),
    )


def take_losses(connection: Connection, history: SessionHistory, found: Later, circumstances: Circumstances) -> Losses:
    """Bring a restored database up to its log, in its caller's transaction.

    Raises:
        StoreError: the events of a session are damaged.
        RefusedError: the order was done before the backup was made.
    """
    kept = log_entries.size(connection)
    for entry in found.entries:
        log_entries.append(connection, entry)
    aborted, ended = _end_sessions(connection, history, found, circumstances)
    lost = _lost_sessions(connection, found, circumstances)
    left_out, version = _renew_roster(connection, found, circumstances)
    if not circumstances.complete:
        _void_invitations(connection)
        proposals.void(connection)
    epoch = restorations.later_epoch(connection)
    restoration = Restoration(
        epoch,
        timestamp(circumstances.at),
        circumstances.made,
        circumstances.complete,
        kept,
        log_entries.size(connection),
        circumstances.checkpoint,
    )
    restorations.store(connection, restoration, lost)
    outcome = f"backup of {circumstances.made}: {len(found.entries)} entries taken, {len(aborted)} sessions to abort"
    record_done(connection, circumstances.order, circumstances.at, "vdb-coordinator restore", "restore", outcome)
    return Losses(epoch, len(found.entries), tuple(aborted), tuple(ended), tuple(lost), left_out, version)


def _end_sessions(
    connection: Connection, history: SessionHistory, found: Later, circumstances: Circumstances
) -> tuple[list[str], list[str]]:
    """End the sessions that had not; return which are aborted, and which ended by the log."""
    aborted, ended = list[str](), list[str]()
    table = schema.sessions.c
    open_sessions = select(table.session).where(table.phase.not_in([int(phase) for phase in Phase if phase.ended]))
    for session in connection.scalars(open_sessions.order_by(table.opened, table.session)).all():
        *_, (_, state, position) = history.replay(connection, session)
        event = _event(state, found.ends.get(session), circumstances)
        if event is None:
            continue
        history.write(connection, session, position, event, apply(state, event))
        (ended if isinstance(event, EndLost) else aborted).append(session)
    return aborted, ended


def _event(state: SessionState, end: bytes | None, circumstances: Circumstances) -> Event | None:
    """Return what happens to a session that the backup knows as open, or None if it goes on.

    A result that is logged is published, and an abort that was begun is signed: neither needs what was lost.
    """
    if end is not None:
        return EndLost(circumstances.at, end)
    if circumstances.complete or isinstance(state, Publishing | Ending):
        return None
    return SessionFailed(circumstances.at, circumstances.reason)


def _lost_sessions(connection: Connection, found: Later, circumstances: Circumstances) -> list[LostSession]:
    """Return the sessions that were opened after the backup; those that have not ended are aborted in the log."""
    lost = []
    for session in found.opened:
        reason = (
            f"it was opened after the backup of {circumstances.made} from which this coordinator was restored, and what it was "
            "is lost"
        )
        end = found.ends.get(session)
        if end is not None:
            published = isinstance(parse_record(end), PublishedRecord)
            outcome = "it had a result, which institutions have" if published else "it had been aborted"
            lost.append(LostSession(session, f"{reason}; as the log says, {outcome}"))
            continue
        abort = _abort(connection, session, reason, circumstances)
        lost.append(LostSession(session, f"{reason}; it is aborted, and the log says so", abort))
    return lost


def _abort(connection: Connection, session: str, reason: str, circumstances: Circumstances) -> bytes:
    """Sign and log that a session is over of which only the opening's entry is left; return the statement."""
    coordinator = circumstances.rosters.newest(connection).roster.coordinator.institution
    moment = timestamp(circumstances.at)
    predicate = Abort(session=session, institution=coordinator, stage="lost", reason=reason, aborted=moment)
    statement = Statement((), predicate).sign(circumstances.signer)
    entry = AbortedRecord(
        session=session,
        abort=statement.payload_digest,
        stage="lost",
        aborted=moment,
        salt=secrets.token_hex(SALT_BYTES),
    )
    log_entries.append(connection, encode_record(entry))
    return statement.to_json()


def _renew_roster(connection: Connection, found: Later, circumstances: Circumstances) -> tuple[tuple[str, ...], int]:
    """Sign the roster without the members whose keys are revoked, as a version that no institution can have seen yet."""
    current = circumstances.rosters.newest(connection)
    revoked = [member for member in current.roster.members if member.public_key.key_id in found.revoked]
    if circumstances.complete and not revoked:
        return (), current.version
    roster = current.roster
    for member in revoked:
        roster = without_member(roster, member.institution)
    version = max(current.version + 1, int(circumstances.at.timestamp()) // VERSION_SECONDS)
    circumstances.rosters.store(connection, roster, version, circumstances.at)
    return tuple(member.institution for member in revoked), version


def _void_invitations(connection: Connection) -> None:
    """Void all invitations that were not approved: which of them were used since the backup is lost."""
    enrolments = schema.enrolments
    connection.execute(delete(enrolments).where(enrolments.c.certificate.is_(None)))
    used = select(enrolments.c.token_hash)
    connection.execute(delete(schema.invitations).where(schema.invitations.c.token_hash.not_in(used)))
