"""Which events of a session stand in the transparency log, and who must have seen them there. Pure.

Promises that an entry follows from its event, salt included: it is the same entry whenever it is made again.

Source: protos/README.md §9.7, §9.8.
"""

from __future__ import annotations

from vdb_coordinator.events import EndLost, Event, ObjectionReceived, ResultWithdrawn, SessionAborted, SessionOpened
from vdb_coordinator.serving.clock import timestamp
from vdb_coordinator.states import Opening, Publishing, Sealing, SessionState
from vdb_shared.bundle.logged import AbortedRecord, ObjectionRecord, WithdrawalRecord, encode_record, opened_entry
from vdb_shared.bundle.objections import Objection, Withdrawal
from vdb_shared.bundle.statement import Abort, SessionOpen, parse_statement
from vdb_shared.secagg.parameters import Seat, share_threshold


def log_entry(event: Event, state: SessionState) -> bytes | None:
    """Return the log's entry for an event that led to a state, or None where the log has none.

    A result is logged with the event that makes it final: the last countersignature that is waited for, or the deadline.
    """
    match event, state:
        case SessionOpened(), _:
            return opening_entry(state.opening)
        case _, Publishing():
            return state.draft.entry
        case ((ObjectionReceived() | ResultWithdrawn()), _):
            return entry_afterwards(event)
        case EndLost(), _:
            return event.entry
        case SessionAborted(), _:
            abort, _ = parse_statement(event.abort.payload, Abort)
            return encode_record(
                AbortedRecord(
                    session=state.opening.session,
                    abort=event.abort.payload_digest,
                    stage=abort.stage,
                    aborted=timestamp(event.at),
                    salt=event.salt.hex(),
                )
            )
        case _:
            return None


def entry_afterwards(event: ObjectionReceived | ResultWithdrawn) -> bytes:
    """Return the log's entry of what was said of a result."""
    if isinstance(event, ObjectionReceived):
        objection, _ = parse_statement(event.objection.payload, Objection)
        return encode_record(
            ObjectionRecord(
                session=objection.session,
                result=objection.result,
                objector=objection.objector,
                objection=event.objection.payload_digest,
                received=timestamp(event.at),
                salt=event.salt.hex(),
            )
        )
    withdrawal, _ = parse_statement(event.withdrawal.payload, Withdrawal)
    return encode_record(
        WithdrawalRecord(
            session=withdrawal.session,
            result=withdrawal.result,
            withdrawal=event.withdrawal.payload_digest,
            superseded_by=withdrawal.superseded_by,
            withdrawn=withdrawal.withdrawn,
            salt=event.salt.hex(),
        )
    )


def opening_entry(opening: Opening) -> bytes:
    """Return the log's entry of a session's opening."""
    statement, _ = parse_statement(opening.open.payload, SessionOpen)
    return opened_entry(opening.session, statement, opening.spec.deadlines)


def witnesses_for(state: SessionState) -> tuple[bytes, frozenset[Seat], int]:
    """Return what must be seen in the log before a session goes on, which seats may witness it, and how many must.

    Raises:
        ValueError: the session waits for no witnesses.
    """
    match state:
        case Sealing():
            quorum = share_threshold(len(state.joins), state.opening.spec.cohort.collusion)
            return opening_entry(state.opening), frozenset(state.joins), quorum
        case Publishing():
            return state.draft.entry, frozenset(state.sealed.joins), state.sealed.parameters.quorum
        case _:
            raise ValueError(f"{type(state).__name__} waits for no witnesses")
