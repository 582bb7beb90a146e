"""The site's privacy ledger on disk: one append-only SQLite file with a hash chain for each account.

Promises that a debit which was returned is durable, that the cap holds also when two agents debit at once, and that entries
are only ever added. Leaves the chain and the filter to `vdb_shared.privacy.ledger`, and when to debit to `agent.py`.

SQLite runs with a rollback journal and synchronous=EXTRA: FULL would not make the removal of the rollback journal durable, so
a power cut could take a debit back.

Source: protos/README.md §8.4, §12.3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vdb_participant.site.storage import PRIVATE_FILE, make_folder
from vdb_shared.canonical import canonical_json, parse_canonical_json, parse_decimal
from vdb_shared.errors import BudgetError, FormatError, StoreError
from vdb_shared.privacy import ledger as rules
from vdb_shared.privacy.ledger import Charge, LedgerEntry

BUSY_SECONDS: Final = 30.0
"""How long one agent waits for another's transaction."""

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS entries (dataset TEXT NOT NULL, sequence INTEGER NOT NULL, session TEXT NOT NULL,"
    " body BLOB NOT NULL, PRIMARY KEY (dataset, sequence)) STRICT",
    "CREATE TABLE IF NOT EXISTS folders (dataset TEXT PRIMARY KEY, folder TEXT NOT NULL) STRICT",
    "CREATE TRIGGER IF NOT EXISTS entries_never_change BEFORE UPDATE ON entries"
    " BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END",
    "CREATE TRIGGER IF NOT EXISTS entries_never_vanish BEFORE DELETE ON entries"
    " BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END",
)


@dataclass(frozen=True, slots=True)
class Account:
    """The ledger of one account.

    Attributes:
        dataset: content id.
        folder: where the data last were, for people.
        chain: all entries, verified.
    """

    dataset: str
    folder: str
    chain: tuple[LedgerEntry, ...]

    @property
    def spent(self) -> Decimal:
        """Sum of rho of all debits that were not refunded."""
        return rules.spent(self.chain)


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
            self._database.set_trace_callback(observe)
            self._database.execute("PRAGMA journal_mode=DELETE")
            self._database.execute("PRAGMA synchronous=EXTRA")
            with self._transaction():
                for statement in _SCHEMA:
                    self._database.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def account(self, dataset: str) -> Account:
        """Return the ledger of an account; empty when it was never debited.

        Raises:
            StoreError: the chain is broken.
        """
        with self._translated():
            rows = self._database.execute(
                "SELECT body FROM entries WHERE dataset = ? ORDER BY sequence", (dataset,)
            ).fetchall()
            folder = self._database.execute("SELECT folder FROM folders WHERE dataset = ?", (dataset,)).fetchone()
        chain = tuple(_decode(body, dataset) for (body,) in rows)
        rules.verify_chain(chain)
        return Account(dataset, folder[0] if folder else "", chain)

    def accounts(self) -> tuple[Account, ...]:
        """Return all accounts, by name.

        Raises:
            StoreError: a chain is broken.
        """
        with self._translated():
            rows = self._database.execute("SELECT DISTINCT dataset FROM entries ORDER BY dataset").fetchall()
        return tuple(self.account(dataset) for (dataset,) in rows)

    def debit(self, dataset: str, folder: str, charge: Charge, cap: Decimal) -> LedgerEntry:
        """Debit a session durably and return the entry.

        Args:
            dataset: name of the account.
            folder: where the data are, for people.
            charge: what the session costs. A debit of the session with the same nonce is an earlier try's, which counts;
                one with another nonce means that the journal was lost, and the session must not run a second time.
            cap: largest sum of rho.

        Raises:
            BudgetError: the cap would be exceeded, the session was debited in another life, or its debit was refunded.
        """
        with self._transaction():
            chain = self.account(dataset).chain
            earlier = [entry for entry in chain if entry.session == charge.session]
            if earlier:
                return _same(earlier, charge)
            entry = rules.debit(chain, dataset, charge, cap)
            self._append(entry)
            self._database.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (dataset, folder))
        return entry

    def refund(self, dataset: str, session: str, nonce: bytes) -> LedgerEntry | None:
        """Take back the debit of a session whose masked input provably never left.

        Returns:
            The entry; None if there is no such debit, or it has another nonce: then it was made in another life, in which
            the input may have left.
        """
        with self._transaction():
            chain = self.account(dataset).chain
            if [(entry.kind, entry.nonce) for entry in chain if entry.session == session] != [("debit", nonce.hex())]:
                return None
            entry = rules.refund(chain, session)
            self._append(entry)
        return entry

    def _append(self, entry: LedgerEntry) -> None:
        row = (entry.dataset, entry.sequence, entry.session, canonical_json(entry.to_json()))
        self._database.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)

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
            raise StoreError(f"{self._path}: the privacy ledger cannot be used: {error}") from error


def _same(earlier: list[LedgerEntry], charge: Charge) -> LedgerEntry:
    """Return the standing debit of a session, if it is for this charge."""
    first = earlier[0]
    if first.nonce != charge.nonce:
        raise BudgetError(
            f"session {charge.session} was debited before, and what was sent then is not known here any more "
            "(lost or restored journal); it cannot run twice"
        )
    found = rules.charge_in(first)
    if len(earlier) > 1:
        raise BudgetError(f"session {charge.session} was given up and its debit refunded; it cannot run again here")
    if found != charge:
        raise BudgetError(
            f"session {charge.session} was debited for rho = {found.rho}, not {charge.rho}; leave the session"
        )
    return first


def _decode(body: bytes, dataset: str) -> LedgerEntry:
    """Return the entry of a row, refusing any that would not be written like this."""
    try:
        match parse_canonical_json(body):
            case {
                "sequence": int(sequence),
                "previous": str(previous),
                "dataset": str(name),
                "session": str(session),
                "spec": str(spec),
                "kind": ("debit" | "refund") as kind,
                "rho": str(rho),
                "sensitivity": str(sensitivity),
                "smallest_cohort": int(smallest),
                "collusion": int(collusion),
                "nonce": str(nonce),
                **rest,
            } if not rest:
                return LedgerEntry(
                    sequence, previous, name, session, spec, kind, parse_decimal(rho), parse_decimal(sensitivity),
                    smallest, collusion, nonce,
                )  # fmt: skip
    except FormatError as error:
        raise StoreError(f"the ledger's account {dataset} holds an entry that is damaged: {error}") from error
    raise StoreError(f"the ledger's account {dataset} holds an entry that is not one")
