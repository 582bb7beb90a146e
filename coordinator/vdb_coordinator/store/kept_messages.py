"""The messages from which a published total was made, read back from the event log.

Promises those of the attempt that was published, of the institutions in the sum, and nothing else: masked vectors of an attempt
that was given up stay where they are, since nobody may ever unmask them. Changes nothing; the server may run meanwhile.

Source: protos/README.md §9.4, §11.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from vdb_coordinator.events import InputReceived, SessionOpened, decode_event
from vdb_coordinator.rounds import Summed
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import Aggregating, Published, SessionState, attempt_of
from vdb_coordinator.store import eventlog
from vdb_coordinator.store.blobs import BlobStore
from vdb_shared.bundle.messages import KeptMessages
from vdb_shared.errors import StoreError, UsageError
from vdb_shared.secagg.parameters import Seat


@dataclass(frozen=True, slots=True)
class PublishedMessages:
    """A published session's bundle, and what its total was made of.

    Attributes:
        archive: digest of the bundle.
        names: institution of each survivor.
        messages: of these survivors.
    """

    archive: str
    names: dict[Seat, str]
    messages: KeptMessages = field(repr=False)


def published_messages(connection: Connection, blobs: BlobStore, session: str) -> PublishedMessages:
    """Return the messages of a published session.

    Args:
        connection: to the coordinator's database.
        blobs: its vectors and bundles.
        session: id of the session.

    Raises:
        UsageError: no such session, or it has no result.
        StoreError: the log or a vector is damaged.
    """
    bodies, _ = eventlog.load(connection, session)
    state: SessionState | None = None
    summed: Summed | None = None
    masked: dict[Seat, bytes] = {}
    for body in bodies:
        event = decode_event(body, blobs.get)
        if state is None:
            if not isinstance(event, SessionOpened):
                raise StoreError(f"the log of session {session} does not begin with its opening")
            state = opened(event)
            continue
        before, state = state, apply(state, event)
        if attempt_of(state) != attempt_of(before):
            masked.clear()
        if isinstance(event, InputReceived):
            masked[event.seat] = event.masked
        if isinstance(state, Aggregating) and isinstance(state.rounds, Summed):
            summed = state.rounds
    if not isinstance(state, Published) or summed is None:
        raise UsageError(
            f"session {session[:19]} has no published result; `vdb-coordinator session list` shows which have"
        )
    survivors = sorted(summed.survivors)
    names = {seat: state.opening.member(seat).institution for seat in survivors}
    return PublishedMessages(
        state.archive, names, KeptMessages({seat: masked[seat] for seat in survivors}, dict(summed.revealed))
    )
