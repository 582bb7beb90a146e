"""The site's privacy ledger on disk: one append-only SQLite file with one hash chain, and the lists of records it is about.

Promises that a debit which was returned is durable together with the list of its records, that the cap holds also when two
agents debit at once, that every session counts that used a record of the same data, wherever they lay, and that entries and
lists are only ever added. Leaves the chain and the filter to `vdb_shared.privacy.ledger`, the search for shared records to
`record_lists.py`, and when to debit to `spending.py`.

SQLite runs with a rollback journal and synchronous=EXTRA: FULL would not make the removal of the rollback journal durable, so
a power cut could take a debit back.

Source: protos/README.md §8.4, §12.3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vdb_participant.site import record_lists
from vdb_participant.site.policy import Charging
from vdb_participant.site.record_lists import RecordLists
from vdb_participant.site.storage import PRIVATE_FILE, make_folder
from vdb_shared.canonical import canonical_json, parse_canonical_json, parse_decimal
from vdb_shared.errors import BudgetError, FormatError, StoreError
from vdb_shared.privacy import ledger as rules
from vdb_shared.privacy.ledger import Charge, LedgerEntry, Standing
from vdb_shared.privacy.record_list import RecordList

BUSY_SECONDS: Final = 600.0
"""How long one agent waits for another's transaction, which searches lists of up to millions of records."""

VERSION: Final = 2
"""PRAGMA user_version of the tables below; 1, which wrote 0, had a chain for each account and no lists of records."""

_SCHEMA: Final = (
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, session TEXT NOT NULL, body BLOB NOT NULL) STRICT",
    *record_lists.SCHEMA,
    *(
        f"CREATE TRIGGER {table}_{words} BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END"
        for table in ("entries", *record_lists.TABLES)
        for words, change in (("never_change", "UPDATE"), ("never_vanish", "DELETE"))
    ),
    f"PRAGMA user_version={VERSION}",
)


_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY: Final = 0xFF
"""SQLite's extended error codes have the code that they belong to in their lowest byte."""

_RESTORE: Final = (
    "restore the newest copy, and look whether it has the debits of all your results with `vdb-participant budget verify "
    "--receipt RESULT`: a copy that lacks some would let this site spend more than its cap"
)
"""What to do about a damaged ledger; an empty one in its place would forget what was spent."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One data set that was debited, as `budget` shows it.

    Attributes:
        dataset: content id.
        folders: where it lay, in the order of debits.
        records: how many its largest list holds; lists of one data set differ in which words go with which file.
        standing: what counts against it.
        entries: its own debits and refunds.
    """

    dataset: str
    folders: tuple[str, ...]
    records: int
    standing: Standing
    entries: tuple[LedgerEntry, ...]


class Ledger:
    """The ledger file, open."""

    def __init__(self, path: Path, *, observe: Callable[[str], object] | None = None) -> None:
        """Open the ledger, making it when missing.

        Args:
            path: the SQLite file.
            observe: called with every SQL statement before it runs; for crash tests.

        Raises:
            StoreError: it cannot be opened or is no ledger.
        """
        make_folder(path.parent)
        self._path = path
        with self._translated():
            path.touch(mode=PRIVATE_FILE, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._database.set_trace_callback(observe)
                self._database.execute("PRAGMA journal_mode=DELETE")
                self._database.execute("PRAGMA synchronous=EXTRA")
                self._make_tables()
                self._lists = RecordLists(self._database)
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def chain(self) -> tuple[LedgerEntry, ...]:
        """Return all entries in order.

        Raises:
            StoreError: the chain is broken.
        """
        with self._translated():
            rows = self._database.execute("SELECT sequence, session, body FROM entries ORDER BY sequence").fetchall()
        chain = tuple(_decode(*row) for row in rows)
        rules.verify_chain(chain)
        return chain

    def standing(self, records: RecordList, charging: Charging) -> Standing:
        """Return what counts against a data set.

        Raises:
            StoreError: the ledger is damaged.
        """
        with self._transaction():
            chain = self.chain()
            return rules.standing(chain, self._counted(chain, records, charging))

    def holdings(self, charging: Charging) -> tuple[Holding, ...]:
        """Return all data sets that were debited, in the order of their first debits.

        Raises:
            StoreError: the ledger is damaged.
        """
        with self._transaction():
            chain = self.chain()
            self._check_lists(chain)
            datasets = dict.fromkeys(entry.charge.dataset for entry in chain)
            return tuple(self._holding(chain, dataset, charging) for dataset in datasets)

    def debit(self, records: RecordList, charge: Charge, cap: Decimal, charging: Charging, moment: str) -> LedgerEntry:
        """Debit a session durably, with the list of its records, and return the entry.

        Args:
            records: all private records that the session could read.
            charge: what the session costs. A debit of the session with the same nonce is an earlier try's, which counts;
                one with another nonce means that the journal was lost, and the session must not run a second time.
            cap: largest sum of rho.
            charging: which sessions count, by the site's policy.
            moment: now, for people.

        Raises:
            BudgetError: the cap would be exceeded, the session was debited in another life, or its debit was refunded.
            ValueError: the charge is for another list of records.
        """
        if charge.records != records.digest or charge.dataset != records.dataset:
            raise ValueError("a charge names the list of records that it is for")
        with self._transaction():
            chain = self.chain()
            earlier = [entry for entry in chain if entry.charge.session == charge.session]
            if earlier:
                return _same(earlier, charge)
            entry = rules.debit(chain, charge, cap, moment, self._counted(chain, records, charging))
            self._lists.add(records)
            self._append(entry)
        return entry

    def refund(self, session: str, nonce: bytes, moment: str) -> LedgerEntry | None:
        """Take back the debit of a session whose masked input provably never left.

        Returns:
            The entry; None if there is no such debit, or it has another nonce: then it was made in another life, in which
            the input may have left.
        """
        with self._transaction():
            chain = self.chain()
            found = [(entry.kind, entry.charge.nonce) for entry in chain if entry.charge.session == session]
            if found != [("debit", nonce.hex())]:
                return None
            entry = rules.refund(chain, session, moment)
            self._append(entry)
        return entry

    def verify(self) -> tuple[LedgerEntry, ...]:
        """Check the chain, that every list is the one its entries commit to, and the file itself; return all entries.

        Raises:
            StoreError: with what was found first.
        """
        with self._transaction():
            (sound,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
            if sound != "ok":
                raise StoreError(f"{self._path}: the privacy ledger is damaged ({sound}); {_RESTORE}")
            chain = self.chain()
            self._check_lists(chain)
            for digest in self._lists.digests() - {entry.charge.records for entry in chain}:
                raise StoreError(
                    f"{self._path}: no entry names the list of records {digest[:19]}; the ledger was changed"
                )
        return chain

    def _counted(self, chain: Sequence[LedgerEntry], records: RecordList, charging: Charging) -> set[str] | None:
        """Return the lists whose sessions count; none is left out before all were found to be what was debited."""
        if charging == "site":
            return None
        self._check_lists(chain)
        return self._lists.sharing(records)

    def _check_lists(self, chain: Sequence[LedgerEntry]) -> None:
        for digest, dataset in {(entry.charge.records, entry.charge.dataset) for entry in chain}:
            if self._lists.read(digest).dataset != dataset:
                raise StoreError(f"{self._path}: list {digest[:19]} is not of data set {dataset[:19]}")

    def _holding(self, chain: tuple[LedgerEntry, ...], dataset: str, charging: Charging) -> Holding:
        entries = tuple(entry for entry in chain if entry.charge.dataset == dataset)
        lists = {entry.charge.records for entry in entries}
        counted: set[str] | None = None
        if charging == "overlapping":
            counted = set[str]().union(*(self._lists.sharing(self._lists.read(digest)) for digest in lists))
        return Holding(
            dataset,
            tuple(dict.fromkeys(entry.charge.folder for entry in entries)),
            max(self._lists.size(digest) for digest in lists),
            rules.standing(chain, counted),
            entries,
        )

    def _append(self, entry: LedgerEntry) -> None:
        row = (entry.sequence, entry.charge.session, canonical_json(entry.to_json()))
        self._database.execute("INSERT INTO entries VALUES (?, ?, ?)", row)

    def _make_tables(self) -> None:
        with self._transaction():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if version == 0 and tables == 0:
                for statement in _SCHEMA:
                    self._database.execute(statement)
            elif version != VERSION:
                raise StoreError(
                    f"{self._path}: the privacy ledger cannot be used: it is of another version of this program; keep it "
                    "elsewhere, and lower epsilon_total in policy.toml by what it says was spent"
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _DAMAGED:
                raise StoreError(f"{self._path}: the privacy ledger is damaged ({error}); {_RESTORE}") from error
            raise StoreError(f"{self._path}: the privacy ledger cannot be used: {error}") from error


def _same(earlier: list[LedgerEntry], charge: Charge) -> LedgerEntry:
    """Return the standing debit of a session, if it is for this charge."""
    first = earlier[0]
    if first.charge.nonce != charge.nonce:
        raise BudgetError(
            f"session {charge.session} was debited before, and what was sent then is not known here any more "
            "(lost or restored journal); it cannot run twice"
        )
    if len(earlier) > 1:
        raise BudgetError(f"session {charge.session} was given up and its debit refunded; it cannot run again here")
    if first.charge != charge:
        raise BudgetError(
            f"session {charge.session} was debited for rho = {first.charge.rho} and data set {first.charge.dataset[:19]}, "
            f"not {charge.rho} and {charge.dataset[:19]}; leave the session"
        )
    return first


def _decode(number: int, place: str, body: bytes) -> LedgerEntry:
    """Return the entry of a row, refusing any that would not be written like this."""
    try:
        match parse_canonical_json(body):
            case {
                "sequence": int(sequence),
                "previous": str(previous),
                "kind": ("debit" | "refund") as kind,
                "moment": str(moment),
                "session": str(session),
                "spec": str(spec),
                "dataset": str(dataset),
                "records": str(records),
                "folder": str(folder),
                "rho": str(rho),
                "sensitivity": str(sensitivity),
                "smallest_cohort": int(smallest),
                "collusion": int(collusion),
                "nonce": str(nonce),
                **rest,
            } if not rest and (sequence, session) == (number, place):
                charge = Charge(
                    session, spec, dataset, records, folder, parse_decimal(rho), parse_decimal(sensitivity), smallest,
                    collusion, nonce,
                )  # fmt: skip
                return LedgerEntry(sequence, previous, kind, moment, charge)
    except FormatError as error:
        raise StoreError(f"ledger entry {number}: is damaged: {error}") from error
    raise StoreError(f"ledger entry {number}: is not one")
