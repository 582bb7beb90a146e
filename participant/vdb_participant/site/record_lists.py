"""The lists of private records that debits are for, in the ledger's database: stored once, only added to, searched by parts.

Promises that the lists which share a part of a record with another list are all found, that a record's two parts count as
one from the first list that holds both, and that a list which is read is the one that the ledger's entry commits to. Each
record is stored once, however many versions of a data set hold it; a list is then some 16 bytes for each.
Leaves transactions and the meaning of sharing a part to `ledger.py`.

Source: protos/README.md §8.4, §12.3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from vdb_shared.errors import FormatError, StoreError
from vdb_shared.privacy.record_list import NONE, RecordList

SCHEMA: Final = (
    "CREATE TABLE records (number INTEGER PRIMARY KEY, words BLOB NOT NULL, file BLOB NOT NULL,"
    " UNIQUE (words, file)) STRICT",
    "CREATE INDEX records_by_file ON records (file) WHERE file <> x''",
    "CREATE TABLE lists (number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE members (list INTEGER NOT NULL REFERENCES lists, record INTEGER NOT NULL REFERENCES records,"
    " PRIMARY KEY (list, record)) STRICT, WITHOUT ROWID",
)
CACHE_KIB: Final = 2**19
"""Of pages, at most: digests are looked up in no order, and a million records take some 200 MiB."""

TABLES: Final = ("records", "lists", "members")

_SCRATCH: Final = (
    "CREATE TEMP TABLE asked (part BLOB PRIMARY KEY) STRICT, WITHOUT ROWID",
    "CREATE TEMP TABLE touched (part BLOB PRIMARY KEY) STRICT, WITHOUT ROWID",
    "CREATE TEMP TABLE known (record INTEGER PRIMARY KEY) STRICT",
)
_SEARCH: Final = (
    "INSERT INTO touched SELECT part FROM asked",
    "INSERT OR IGNORE INTO touched SELECT file FROM asked CROSS JOIN records ON words = part WHERE file <> x''",
    "INSERT OR IGNORE INTO touched SELECT words FROM asked CROSS JOIN records ON file = part AND file <> x''"
    " WHERE words <> x''",
    "INSERT OR IGNORE INTO known SELECT number FROM touched CROSS JOIN records ON words = part",
    "INSERT OR IGNORE INTO known SELECT number FROM touched CROSS JOIN records ON file = part AND file <> x''",
)
"""The parts that are asked for, then those that some list holds in one record with them, then all records with any of these."""

_FOUND: Final = (
    "SELECT digest FROM lists WHERE EXISTS (SELECT 1 FROM members CROSS JOIN known ON known.record = members.record"
    " WHERE members.list = lists.number)"
)


class RecordLists:
    """The lists in an open database."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Work in a database that has the tables of SCHEMA."""
        self._database = database
        database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        database.execute("PRAGMA temp_store=MEMORY")  # what is searched for must not be written to a disk in passing
        for statement in _SCRATCH:
            database.execute(statement)

    def add(self, records: RecordList) -> None:
        """Store a list, unless it is there; inside the caller's transaction."""
        if records.digest in self.digests():
            return
        cursor = self._database.execute("INSERT INTO lists (digest) VALUES (?)", (records.digest,))
        rows = [(_stored(words), _stored(file)) for words, file in records]
        self._database.executemany("INSERT OR IGNORE INTO records (words, file) VALUES (?, ?)", rows)
        self._database.executemany(
            "INSERT INTO members SELECT ?, number FROM records WHERE words = ? AND file = ?",
            ((cursor.lastrowid, words, file) for words, file in rows),
        )

    def digests(self) -> set[str]:
        """Return the digests of all lists."""
        return {digest for (digest,) in self._database.execute("SELECT digest FROM lists")}

    def sharing(self, records: RecordList) -> set[str]:
        """Return the digests of the lists that hold a part of a record that this list holds a part of.

        The record may be one of this list, or of any list that is stored: words and a file that stood together once are one
        record for good. Whoever relies on a list that is not among them has read all of them before: what is damaged is not
        found.
        """
        for table in ("asked", "touched", "known"):
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - three names of ours
        self._database.executemany("INSERT INTO asked VALUES (?)", ((part,) for part in sorted(records.parts)))
        for statement in _SEARCH:
            self._database.execute(statement)
        return {digest for (digest,) in self._database.execute(_FOUND)}

    def size(self, digest: str) -> int:
        """Return how many records a list holds."""
        query = "SELECT count(*) FROM members JOIN lists ON list = number WHERE digest = ?"
        (found,) = self._database.execute(query, (digest,)).fetchone()
        return int(found)

    def read(self, digest: str) -> RecordList:
        """Return a list, recomputed from its records.

        Raises:
            StoreError: it is missing, or not what its digest says.
        """
        query = (
            "SELECT words, file FROM members JOIN lists ON list = lists.number JOIN records ON record = records.number"
            " WHERE digest = ? ORDER BY words, file"
        )
        try:
            records = RecordList.decode(b"".join(_rows(self._database.execute(query, (digest,)))))
        except FormatError as error:
            raise StoreError(f"the ledger's list of records {digest[:19]} is damaged: {error}") from error
        if records.digest != digest or digest not in self.digests():
            raise StoreError(
                f"the ledger's list of records {digest[:19]} is not the one that was debited; restore the newest copy"
            )
        return records


def _rows(found: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for words, file in found:
        yield (words or NONE) + (file or NONE)


def _stored(part: bytes) -> bytes:
    return b"" if part == NONE else part
