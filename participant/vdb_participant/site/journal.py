"""The session journal: what a participant has decided, drawn, received and said, durable before it is used.

Promises that a value recorded under a name stays that value for ever: after kill -9 at any point, running again recalls what
was recorded and goes on from there, so entropy, noise and masks are never drawn twice, and no name ever gets a second value.
Leaves bytes to `journal_format.py`, the disk to `storage.py`, and what is recorded when to `exchange.py` and `agent.py`.

Source: protos/README.md §12.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from vdb_participant.site.journal_format import Kind, Record, encode_frame, encode_journal, preamble, read_journal
from vdb_participant.site.storage import FileStorage, Storage
from vdb_shared.errors import StoreError


class Journal:
    """One session's journal, open for writing."""

    def __init__(self, storage: Storage, session: bytes) -> None:
        """Read what is there.

        Args:
            storage: where the bytes are.
            session: SHA-256 of the session-open statement's payload, 32 bytes.

        Raises:
            StoreError: damaged, or another session's.
        """
        self._storage = storage
        self._session = session
        reading = read_journal(storage.read(), session)
        self._records = {record.name: record for record in reading.records}
        self._link = reading.link
        self._size = reading.size
        self._failed = False
        if not reading.size:
            self._append(preamble(session))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, if it is one."""
        if isinstance(self._storage, FileStorage):
            self._storage.close()

    def __contains__(self, name: str) -> bool:
        return name in self._records

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all records, in the order written."""
        return tuple(self._records)

    def recall(self, name: str) -> bytes:
        """Return what was recorded under a name.

        Raises:
            KeyError: nothing was.
            StoreError: it was a secret of a session that has ended.
        """
        record = self._records[name]
        if record.kind == "erased":
            raise StoreError(f"the secret {name!r} of this session was erased: nothing needs it any more")
        return record.value

    def record(self, name: str, value: bytes, *, secret: bool = False) -> bytes:
        """Record a value durably under a name and return it; again with the same value, only return it.

        Raises:
            StoreError: another value was recorded under the name, or the disk refuses.
        """
        if name in self._records:
            if self.recall(name) != value:
                raise StoreError(
                    f"{name!r} was recorded in this session with another value; "
                    "the first one stands for ever, and this session cannot go on with a second"
                )
            return value
        record = Record(name, "secret" if secret else "public", value)
        frame, link = encode_frame(self._link, record)
        self._append(frame)
        self._link = link
        self._records[name] = record
        return value

    def once(self, name: str, make: Callable[[], bytes], *, secret: bool = False) -> bytes:
        """Return what was recorded under a name; if nothing was, make it and record it first."""
        if name in self._records:
            return self.recall(name)
        return self.record(name, make(), secret=secret)

    def erase_secrets(self) -> None:
        """Replace every secret by its SHA-256; the journal remembers that it was there, not what it was.

        Raises:
            StoreError: the disk refuses; every record is still there, and this journal has to be opened again.
        """
        if not any(record.kind == "secret" for record in self._records.values()):
            return
        records = [_erased(record) for record in self._records.values()]
        data, link = encode_journal(self._session, records)
        self._check_usable()
        self._failed = True
        self._storage.replace(data)
        self._failed = False
        self._records = {record.name: record for record in records}
        self._link, self._size = link, len(data)

    def _append(self, data: bytes) -> None:
        self._check_usable()
        self._failed = True  # after a failed fsync nobody can say what is on the disk, short of reading it again
        self._storage.append(self._size, data)
        self._failed = False
        self._size += len(data)

    def _check_usable(self) -> None:
        if self._failed:
            raise StoreError("an earlier write to the journal failed; run again")


def _erased(record: Record) -> Record:
    kind: Kind = "erased"
    return Record(record.name, kind, hashlib.sha256(record.value).digest()) if record.kind == "secret" else record
