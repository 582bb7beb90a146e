"""The audit log of a running coordinator: its own doings, sums of refused calls, and the signature over its end.

Promises that a coordinator does not serve on an audit log that is not the one whose end it signed last, and that its end is
signed soon after it grew. Leaves the entries of what leads do to whoever does it, in the same transaction.

Source: protos/README.md §11.10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from vdb_coordinator.audit_export import ORIGIN_SUFFIX, read_end, sign_end
from vdb_coordinator.files import read_file, write_durably
from vdb_coordinator.serving.clock import Clock
from vdb_coordinator.store import attempts, schema
from vdb_coordinator.store.attempts import End
from vdb_coordinator.store.database import Database
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared.errors import FormatError, SignatureError, StoreError
from vdb_shared.transparency.note import ED25519, NoteKey, NoteSigner

WHO: Final = "vdb-coordinator serve"
SUM_PERIOD: Final = timedelta(hours=1)
"""Refused calls are summed up for so long before an entry tells of them."""


class Auditing:
    """Keeps the audit log of one coordinator."""

    def __init__(
        self,
        database: Database,
        place: Path,
        consortium: str,
        signer: NoteSigner,
        clock: Clock,
        refused: Callable[[], Mapping[str, int]],
    ) -> None:
        """Prepare to keep it.

        Args:
            database: has the entries.
            place: file with the signed end.
            consortium: its name.
            signer: the coordinator's statement key.
            clock: ours.
            refused: returns how many calls were refused since it was asked last, by reason.
        """
        self._database = database
        self._place = place
        self._consortium = consortium
        self._signer = signer
        self._clock = clock
        self._refused = refused
        self._signed: End | None = None
        self._summed = clock.now()
        self._waiting_since = clock.monotonic()

    async def start(self, head: str, parts: Sequence[str] = ()) -> None:
        """Check the log against the end that was signed last, and note that we serve.

        Args:
            head: begins each of the entries that say so.
            parts: what they say, in so many entries as hold it.

        Raises:
            StoreError: it is not the one whose end was signed, or is damaged.
        """
        now = self._clock.now()

        def begin(connection: Connection) -> None:
            check_signed_end(connection, self._place, self._key)
            attempts.record_list(connection, now, WHO, "serve", head, parts)

        await self._database.run(begin)
        await self.keep_up()

    async def keep_up(self, *, stopping: bool = False) -> None:
        """Sum up refused calls when it is time, and sign the end if it has moved.

        Raises:
            StoreError: the storage refuses.
            FallenBackError: the log is not one that continues what was signed last; its end is not signed.
        """
        now = self._clock.now()
        if stopping or self._clock.monotonic() - self._waiting_since >= SUM_PERIOD.total_seconds():
            await self._sum_up(now)
        if stopping:
            await self._database.run(lambda connection: attempts.record(connection, now, WHO, "stop", "in good order"))
        end = await self._database.run(self._end)
        if end != self._signed and end.size:
            write_durably(self._place, sign_end(self._consortium, end, self._signer))
            self._signed = end

    def _end(self, connection: Connection) -> End:
        """Return the end of the log, after a check that what was signed last is in it still."""
        signed, table = self._signed, schema.attempts.c
        if signed and connection.scalar(select(table.digest).where(table.id == signed.size)) != signed.digest:
            raise FallenBackError(f"entry {signed.size} of the audit log, up to which it was signed,")
        return attempts.end(connection)

    async def _sum_up(self, now: datetime) -> None:
        since, self._summed, self._waiting_since = self._summed, now, self._clock.monotonic()
        found = self._refused()
        if not found:
            return
        words = ", ".join(f"{reason} {count}" for reason, count in sorted(found.items()))
        outcome = f"since {since.isoformat(timespec='seconds')}: {words}"
        await self._database.run(lambda connection: attempts.record(connection, now, WHO, "refused calls", outcome))

    @property
    def _key(self) -> NoteKey:
        return NoteKey(self._consortium + ORIGIN_SUFFIX, ED25519, self._signer.public_key.raw)


def check_signed_end(connection: Connection, place: Path, key: NoteKey) -> None:
    """Check that the audit log in a database is one chain, and begins as the one whose end was signed last.

    Raises:
        StoreError: it is not, or the file with that end is damaged.
    """
    entries = attempts.load(connection)
    if not place.exists():
        return
    try:
        signed = read_end(read_file(place), key)
    except (FormatError, SignatureError) as error:
        raise StoreError(
            f"{place}: is not the end of this audit log that we signed: {error}; restore a backup"
        ) from error
    if signed.size > len(entries) or attempts.end_of(entries[: signed.size]) != signed:
        raise StoreError(
            f"the audit log in the database is not the one whose end was signed: {signed.size} entries in {place}, "
            f"{len(entries)} here; keep both for whoever looks into it, and restore a backup"
        )
