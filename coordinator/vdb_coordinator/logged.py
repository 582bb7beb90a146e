"""Which events of a session stand in the transparency log, and what their records say. Pure.

Source: protos/README.md §9.7.
"""

from __future__ import annotations

from datetime import timedelta

from vdb_coordinator.events import Event, SessionAborted, SessionOpened, SessionPublished
from vdb_coordinator.serving.clock import timestamp
from vdb_coordinator.states import SessionState
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.logged import AbortedRecord, OpenedRecord, PublishedRecord, Record, encode_record
from vdb_shared.bundle.record import ACCOUNTING, RESULT, read_envelope
from vdb_shared.bundle.statement import Abort, Result, parse_statement
from vdb_shared.canonical import parse_canonical_json, parse_decimal, sha256_digest
from vdb_shared.spec import Deadlines

ROUNDS = 4
"""Phases with the deadline of a round, beside joining, computing and countersigning."""


def log_entry(event: Event, state: SessionState) -> bytes | None:
    """Return the log's entry for an event that led to a state, or None where the log has none.

    Raises:
        FormatError: too many institutions take part for one entry.
    """
    record = _record(event, state)
    return None if record is None else encode_record(record)


def _record(event: Event, state: SessionState) -> Record | None:
    opening = state.opening
    match event:
        case SessionOpened():
            return OpenedRecord(
                session=opening.session,
                spec=opening.spec.digest,
                roster=opening.roster.digest,
                opened=timestamp(event.at),
                due=timestamp(event.at + _longest(opening.spec.deadlines)),
            )
        case SessionPublished():
            members = read_archive(event.archive)
            payload = read_envelope(members, RESULT)
            rho = parse_canonical_json(members[ACCOUNTING])["rho"]
            return PublishedRecord(
                session=opening.session,
                result=payload.payload_digest,
                bundle=sha256_digest(event.archive),
                published=timestamp(event.at),
                survivors=parse_statement(payload.payload, Result)[0].survivors,
                rho=None if rho is None else parse_decimal(rho),
                delta=opening.spec.privacy.delta,
            )
        case SessionAborted():
            return AbortedRecord(
                session=opening.session,
                abort=event.abort.payload_digest,
                stage=parse_statement(event.abort.payload, Abort)[0].stage,
                aborted=timestamp(event.at),
            )
        case _:
            return None


def _longest(deadlines: Deadlines) -> timedelta:
    seconds = deadlines.joining + deadlines.computing + ROUNDS * deadlines.round + deadlines.countersigning
    return timedelta(seconds=seconds)
