"""Objections and withdrawals in a running coordinator: taken, logged, and given to whoever may ask.

Promises that an answer comes after the log says so, that the same objection again gets the same answer, and that what is no
member's objection is refused and recorded. Leaves the rules to `afterwards.py` and who may call to the service.

Source: protos/README.md §9.7.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from vdb_coordinator.checks import misplaced
from vdb_coordinator.events import ObjectionReceived
from vdb_coordinator.logged import entry_afterwards
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.clock import parse_timestamp
from vdb_coordinator.serving.conductor import Conductor
from vdb_coordinator.serving.live import LiveSession
from vdb_coordinator.serving.services import Services
from vdb_coordinator.states import Lost, Published, phase_of
from vdb_coordinator.store import attempts
from vdb_coordinator.store.restorations import entries_without_events
from vdb_shared.bundle.logged import SALT_BYTES, ObjectionRecord, Record, WithdrawalRecord, parse_record
from vdb_shared.bundle.objections import parse_envelope
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError
from vdb_shared.transparency.proof import LogProof
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase, Said


@dataclass(frozen=True, slots=True)
class Logged:
    """Where an objection stands in the log: its entry, and the proof of it, signed by the log alone."""

    entry: bytes
    proof: LogProof


class Objections:
    """What was said of results since they were published."""

    def __init__(self, conductor: Conductor, services: Services) -> None:
        self._conductor = conductor
        self._services = services

    async def take(self, live: LiveSession, data: bytes, who: str) -> Logged:
        """Store an objection, unless it is stored already, and return where it stands in the log.

        Args:
            live: the session.
            data: the envelope.
            who: brings it, for the audit log; who objects is who signed.

        Raises:
            RefusedError: the session has no result, or the objector was heard often enough.
            FormatError, IdentityError, SignatureError: it is no objection of a member to this result.
            StoreError: it could not be stored or logged; sending it again is safe.
        """
        now = self._services.clock.now()
        try:
            envelope = parse_envelope(data)
            logged = await self._logged_before(envelope.payload_digest) or (now, secrets.token_bytes(SALT_BYTES))
            await self._conductor.append(live, ObjectionReceived(logged[0], envelope, logged[1]))
        except RefusedError as error:
            if error.reason != reasons.CONFLICT:
                await self._refused(live, now, who, str(error))
                raise
            await self._services.transparency.publish()
        except (FormatError, IdentityError, SignatureError) as error:
            await self._refused(live, now, who, str(error))
            raise
        known = next(item for item in published(live).objections if item.objection.payload == envelope.payload)
        entry = entry_afterwards(known)
        return Logged(entry, self._services.transparency.proof_of(entry))

    async def withdraw(self, live: LiveSession, reason: str, superseded_by: str, who: str) -> bytes:
        """Withdraw a result because its lead says so, and return the coordinator's statement.

        Args:
            live: the session.
            reason: why, in words.
            superseded_by: id of the session whose result replaces it, or a prefix of it; "" if there is none.
            who: the lead.

        Raises:
            RefusedError: there is no result, it is withdrawn already, or there is no such other session.
            UsageError: the reason has no words, too many, or unreadable ones.
            StoreError: it could not be stored or logged.
        """
        state, now = published(live), self._services.clock.now()
        await self._check_stands(state)
        successor = await self.successor(superseded_by) or None
        salt = secrets.token_bytes(SALT_BYTES)
        event = self._services.coordinator.withdraw(state, reason, successor, now, salt)
        await self._conductor.withdraw(live, event, who)
        return event.withdrawal.to_json()

    async def replaced(self, session: str) -> str | None:
        """Return the id of the session whose result a new one is to replace; None for "".

        Raises:
            UsageError: it has no result.
            RefusedError: no session, or several, with that id or prefix.
        """
        if not session:
            return None
        live = await self._conductor.find(session)
        if not isinstance(live.state, Published | Lost) or phase_of(live.state) is not Phase.PUBLISHED:
            raise UsageError(
                f"{live.id} was never published, so there is nothing to replace; open the session without it"
            )
        return live.id

    def said(self, live: LiveSession) -> Said:
        """Return all that was said of a result.

        Raises:
            RefusedError: there is no result.
        """
        state = published(live)
        withdrawal = b"" if state.withdrawal is None else state.withdrawal.withdrawal.to_json()
        return Said(tuple(item.objection.to_json() for item in state.objections), withdrawal)

    def check_reason(self, live: LiveSession, reason: str) -> None:
        """Check that a result could be withdrawn for a reason in these words.

        Raises:
            RefusedError: there is no result.
            UsageError: the reason has no words, too many, or unreadable ones.
        """
        now, salt = self._services.clock.now(), secrets.token_bytes(SALT_BYTES)
        self._services.coordinator.withdraw(published(live), reason, None, now, salt)

    async def _logged_before(self, objection: str) -> tuple[datetime, bytes] | None:
        """Return time and salt of an objection that a restoration lost and the log names: it comes back as it was."""
        for record in await self._records_without_events():
            if isinstance(record, ObjectionRecord) and record.objection == objection:
                return parse_timestamp(record.received), bytes.fromhex(record.salt)
        return None

    async def _check_stands(self, state: Published) -> None:
        """Check that the log does not name a withdrawal of a result that was lost in a restoration."""
        for record in await self._records_without_events():
            if isinstance(record, WithdrawalRecord) and record.result == state.result:
                raise RefusedError(reasons.CONFLICT, "the result is withdrawn already, as the log says")

    async def _records_without_events(self) -> list[Record]:
        entries = await self._services.database.run(lambda connection: list(entries_without_events(connection)))
        return [parse_record(entry) for entry in entries]

    async def successor(self, session: str) -> str:
        """Return the id of the session whose result is to replace a withdrawn one; "" for "".

        Raises:
            UsageError: it was aborted.
            RefusedError: no session, or several, with that id or prefix.
        """
        if not session:
            return ""
        live = await self._conductor.find(session)
        if phase_of(live.state) is Phase.ABORTED:
            raise UsageError(
                f"{live.id} was aborted, so it replaces nothing; name a session that has a result or may have one"
            )
        return live.id

    async def _refused(self, live: LiveSession, now: datetime, who: str, why: str) -> None:
        await self._services.database.run(
            lambda connection: attempts.record_refusal(connection, now, who, "Object", f"{live.id}: {why}")
        )


def published(live: LiveSession) -> Published:
    """Return the state of a session that has a result.

    Raises:
        RefusedError: it has none.
    """
    if not isinstance(live.state, Published):
        raise misplaced(live.state, Phase.PUBLISHED)
    return live.state
