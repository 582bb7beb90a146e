"""The site's privacy ledger: an append-only chain of debits, and the filter that refuses the next one.

Promises that a changed, removed, reordered or inserted entry breaks the chain, and that no debit is admitted that would
take the sum of rho of the sessions it is counted with above the site's cap. Which sessions these are, the caller says: all
of the site's, or those whose data set holds a part of a record that this data set holds a part of (`record_list.py`).

The bound. Call a record known once a debited session's list holds it, and let its total be the sum of rho over unrefunded
debits whose list holds one of its parts. From then on no record's total exceeds the largest cap under which one of these
debits was admitted: take the last of them. Its own list holds a part of the record, so each of the others, holding a part
too, was counted when it was admitted, and the sum of all of them and itself was within the cap; refunds only lower it. The
bound is valid however later sessions were chosen in the light of earlier results. It is one for digests: a video that
comes again in another encoding, or words that were edited, are other parts and count as another record.

Leaves durable storage and the search for shared parts to the participant, as well as the moment of debiting: debit first,
then send. Cutting entries off the end is seen only by who remembers a later digest; receipts in bundles serve that.

Source: Whitehouse, Ramdas, Rogers & Wu 2023, theorem 1 (filters); protos/README.md §8.4.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal
from functools import reduce
from typing import Final, Literal

from vdb_shared import labels
from vdb_shared.canonical import canonical_json, decimal_string, digest_string, labelled_hash
from vdb_shared.errors import BudgetError, FormatError, StoreError
from vdb_shared.privacy.accountant import Accounting
from vdb_shared.privacy.record_list import RecordList

Kind = Literal["debit", "refund"]

GENESIS: Final = "sha256:" + "0" * 64
"""What the first entry names as its predecessor."""

FIELDS: Final = (
    "sequence",
    "previous",
    "kind",
    "moment",
    "session",
    "spec",
    "dataset",
    "records",
    "folder",
    "rho",
    "sensitivity",
    "smallest_cohort",
    "collusion",
    "nonce",
)
"""Names of an entry's fields in its JSON form."""

_UPWARD: Final = Context(prec=60, rounding=ROUND_CEILING)
"""Sums are exact at any cost that occurs, and never too small at one that does not."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A session that wants to be debited; equal in its debit and its refund.

    Attributes:
        session: session id.
        spec: digest of the spec.
        dataset: content id of the data.
        records: digest of the list of their private records.
        folder: where they lay, for people.
        rho: cost of the session.
        sensitivity: Delta_2 in lane units, rounded up to 6 decimals.
        smallest_cohort, collusion: n_min and c that rho assumes.
        nonce: 32 random bytes in hex, which tell the try that it belongs to from any other life of the journal. The digest of
            a debit is published; without something secret in it, whoever can guess the rest could test guesses about the site.
    """

    session: str
    spec: str
    dataset: str
    records: str
    folder: str
    rho: Decimal
    sensitivity: Decimal
    smallest_cohort: int
    collusion: int
    nonce: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the ledger.

    Attributes:
        sequence: place in the chain, from 0.
        previous: digest of the entry before, or GENESIS.
        kind: "debit", or "refund" of this session's debit whose masked input provably never left.
        moment: when, UTC, by the clock of the site's machine, for people.
        charge: what is debited or taken back.
    """

    sequence: int
    previous: str
    kind: Kind
    moment: str
    charge: Charge

    def to_json(self) -> dict[str, object]:
        """Return the JSON form whose hash chains the ledger."""
        charge = self.charge
        values = (
            self.sequence,
            self.previous,
            self.kind,
            self.moment,
            charge.session,
            charge.spec,
            charge.dataset,
            charge.records,
            charge.folder,
            decimal_string(charge.rho),
            decimal_string(charge.sensitivity),
            charge.smallest_cohort,
            charge.collusion,
            charge.nonce,
        )
        return dict(zip(FIELDS, values, strict=True))

    @property
    def digest(self) -> str:
        """H(label, canonical JSON) as a digest string: what the next entry and the bundle's receipt name."""
        return digest_string(labelled_hash(labels.HASH_LEDGER, canonical_json(self.to_json())))


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts against a data set.

    Attributes:
        spent: sum of rho of the sessions that count and were not refunded.
        sessions: how many these are.
    """

    spent: Decimal
    sessions: int


def charge_of(
    accounting: Accounting, *, session: str, spec: str, records: RecordList, folder: str, nonce: bytes
) -> Charge:
    """Return the charge of an accounting.

    Raises:
        BudgetError: private lanes carry no noise, which no budget pays for.
    """
    if accounting.rho is None:
        raise BudgetError("the session adds no noise to private lanes; no privacy budget allows that")
    found = accounting.to_json()
    promise = accounting.calibration.promise
    return Charge(
        session=session,
        spec=spec,
        dataset=records.dataset,
        records=records.digest,
        folder=folder,
        rho=accounting.rho,
        sensitivity=Decimal(str(found["sensitivity"])),
        smallest_cohort=promise.smallest_cohort,
        collusion=promise.collusion,
        nonce=nonce.hex(),
    )


def debit(
    chain: Sequence[LedgerEntry], charge: Charge, cap: Decimal, moment: str, counted: Collection[str] | None
) -> LedgerEntry:
    """Return the entry that debits a session, to be stored durably before anything is sent.

    Args:
        chain: the site's whole ledger, verified.
        charge: the session's cost.
        cap: largest sum of rho that the site allows.
        moment: now, for people.
        counted: digests of the lists of records that share a part with this one, whose sessions count; None: all count.

    Raises:
        BudgetError: the sum would exceed the cap, or the session was debited before.
    """
    if any(entry.charge.session == charge.session for entry in chain):
        raise BudgetError(f"session {charge.session} was debited before; it cannot run twice")
    before = standing(chain, None if counted is None else {*counted, charge.records}).spent
    if not (charge.rho.is_finite() and charge.rho >= 0):
        raise BudgetError(f"a session cannot cost rho = {charge.rho}")
    if _UPWARD.add(before, charge.rho) > cap:
        raise BudgetError(
            f"data set {charge.dataset[:19]}: the session costs rho = {decimal_string(charge.rho)}, but of the cap "
            f"{decimal_string(cap)} only {decimal_string(max(cap - before, Decimal(0)))} is left"
        )
    return _entry(chain, "debit", moment, charge)


def refund(chain: Sequence[LedgerEntry], session: str, moment: str) -> LedgerEntry:
    """Return the entry that takes a debit back; only for a session whose masked input provably never left.

    Raises:
        BudgetError: the session was not debited, or was refunded before.
    """
    entries = [entry for entry in chain if entry.charge.session == session]
    if [entry.kind for entry in entries] != ["debit"]:
        raise BudgetError(f"session {session} has no debit that could be refunded")
    return _entry(chain, "refund", moment, entries[0].charge)


def standing(chain: Sequence[LedgerEntry], counted: Collection[str] | None = None) -> Standing:
    """Return what the sessions of these lists of records, or all, have spent together."""
    refunded = {entry.charge.session for entry in chain if entry.kind == "refund"}
    costs = [
        entry.charge.rho
        for entry in chain
        if entry.kind == "debit"
        and entry.charge.session not in refunded
        and (counted is None or entry.charge.records in counted)
    ]
    return Standing(reduce(_UPWARD.add, costs, Decimal(0)), len(costs))


def verify_chain(chain: Sequence[LedgerEntry], *, head: str | None = None) -> None:
    """Check a whole ledger.

    Args:
        chain: all entries in order.
        head: digest of the last entry as remembered elsewhere, or None when nothing is.

    Raises:
        StoreError: the chain is broken, with the entry at which.
    """
    previous = GENESIS
    latest: dict[str, LedgerEntry] = {}
    for place, entry in enumerate(chain):
        if entry.sequence != place or entry.previous != previous:
            raise StoreError(f"ledger entry {place}: does not follow its predecessor; the ledger was changed")
        _check_kind(entry, latest.get(entry.charge.session))
        latest[entry.charge.session] = entry
        previous = _digest(entry)
    if head is not None and previous != head:
        raise StoreError(f"ledger ends in {previous}, but {head} is remembered; entries are missing or were changed")


def check_receipt(chain: Sequence[LedgerEntry], session: str, digest: str) -> None:
    """Check that a session's debit is still the one that was published.

    Args:
        chain: the site's whole ledger, verified; so whatever came before the debit is unchanged as well.
        session: session id.
        digest: of the entry, as the contribution statement names it.

    Raises:
        StoreError: it is not there, or another; entries were cut off the end, or the ledger was replaced.
    """
    found = [entry.digest for entry in chain if entry.kind == "debit" and entry.charge.session == session]
    if found != [digest]:
        raise StoreError(
            f"session {session[:19]} was debited by the entry {digest[:19]}, which this ledger does not hold; entries were "
            "cut off, or an older copy was put back: restore the newest one"
        )


def _check_kind(entry: LedgerEntry, before: LedgerEntry | None) -> None:
    """Check an entry against the last one of its session."""
    if not (entry.charge.rho.is_finite() and entry.charge.rho >= 0):
        raise StoreError(f"ledger entry {entry.sequence}: no session costs rho = {entry.charge.rho}")
    match entry.kind:
        case "debit":
            if before is not None:
                raise StoreError(f"ledger entry {entry.sequence}: debits session {entry.charge.session} again")
        case "refund":
            if before is None or before.kind != "debit" or before.charge != entry.charge:
                raise StoreError(
                    f"ledger entry {entry.sequence}: refunds what session {entry.charge.session} was not debited"
                )
        case _:
            raise StoreError(f"ledger entry {entry.sequence}: unknown kind {entry.kind!r}")


def _digest(entry: LedgerEntry) -> str:
    try:
        return entry.digest
    except FormatError as error:
        raise StoreError(f"ledger entry {entry.sequence}: {error}") from error


def _entry(chain: Sequence[LedgerEntry], kind: Kind, moment: str, charge: Charge) -> LedgerEntry:
    return LedgerEntry(len(chain), chain[-1].digest if chain else GENESIS, kind, moment, charge)
