"""The privacy ledger of one account: an append-only chain of debits, and the filter that refuses the next one.

Promises that a changed, removed, reordered or inserted entry breaks the chain, and that no debit is admitted that would
take the sum of rho above the site's cap; the sum is a valid bound however later sessions were chosen in the light of
earlier results. Leaves durable storage, and the moment of debiting, to the participant: debit first, then send.
Cutting entries off the end is seen only by who remembers the last digest; receipts in bundles serve that.

Source: Whitehouse, Ramdas, Rogers & Wu 2023, theorem 1 (filters); protos/README.md §8.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from vdb_shared import labels
from vdb_shared.canonical import canonical_json, decimal_string, digest_string, labelled_hash
from vdb_shared.errors import BudgetError, FormatError, StoreError
from vdb_shared.privacy.accountant import Accounting

Kind = Literal["debit", "refund"]

GENESIS: Final = "sha256:" + "0" * 64
"""What the first entry names as its predecessor."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the ledger.

    Attributes:
        sequence: place in the chain, from 0.
        previous: digest of the entry before, or GENESIS.
        dataset: name of the account.
        session: session id.
        spec: digest of the spec.
        kind: "debit", or "refund" of this session's debit whose masked input provably never left.
        rho: cost of the session, equal in its debit and refund.
        sensitivity: Delta_2 in lane units, rounded up to 6 decimals.
        smallest_cohort, collusion: n_min and c that rho assumes.
        nonce: 32 random bytes in hex, the same in a refund as in its debit. The digest of a debit is published; without
            something secret in it, whoever can guess the rest could test guesses about the site.
    """

    sequence: int
    previous: str
    dataset: str
    session: str
    spec: str
    kind: Kind
    rho: Decimal
    sensitivity: Decimal
    smallest_cohort: int
    collusion: int
    nonce: str

    def to_json(self) -> dict[str, object]:
        """Return the JSON form whose hash chains the ledger."""
        return {
            "sequence": self.sequence,
            "previous": self.previous,
            "dataset": self.dataset,
            "session": self.session,
            "spec": self.spec,
            "kind": self.kind,
            "rho": decimal_string(self.rho),
            "sensitivity": decimal_string(self.sensitivity),
            "smallest_cohort": self.smallest_cohort,
            "collusion": self.collusion,
            "nonce": self.nonce,
        }

    @property
    def digest(self) -> str:
        """H(label, canonical JSON) as a digest string: what the next entry and the bundle's receipt name."""
        return digest_string(labelled_hash(labels.HASH_LEDGER, canonical_json(self.to_json())))


@dataclass(frozen=True, slots=True)
class Charge:
    """A session that wants to be debited; the nonce tells the try it belongs to from any other life of the journal."""

    session: str
    spec: str
    rho: Decimal
    sensitivity: Decimal
    smallest_cohort: int
    collusion: int
    nonce: str = field(repr=False)


def charge_of(accounting: Accounting, *, session: str, spec: str, nonce: bytes) -> Charge:
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
        rho=accounting.rho,
        sensitivity=Decimal(str(found["sensitivity"])),
        smallest_cohort=promise.smallest_cohort,
        collusion=promise.collusion,
        nonce=nonce.hex(),
    )


def debit(chain: Sequence[LedgerEntry], dataset: str, charge: Charge, cap: Decimal) -> LedgerEntry:
    """Return the entry that debits a session, to be stored durably before anything is sent.

    Args:
        chain: the account's whole ledger, verified.
        dataset: name of the account.
        charge: the session's cost.
        cap: largest sum of rho that the site allows.

    Raises:
        BudgetError: the sum would exceed the cap, or the session was debited before.
    """
    if any(entry.session == charge.session for entry in chain):
        raise BudgetError(f"account {dataset}: session {charge.session} was debited before; it cannot run twice")
    before = spent(chain)
    if not (charge.rho.is_finite() and charge.rho >= 0):
        raise BudgetError(f"account {dataset}: a session cannot cost rho = {charge.rho}")
    if before + charge.rho > cap:
        raise BudgetError(
            f"account {dataset}: the session costs rho = {decimal_string(charge.rho)}, but of the cap "
            f"{decimal_string(cap)} only {decimal_string(max(cap - before, Decimal(0)))} is left"
        )
    return _entry(chain, dataset, charge, "debit")


def refund(chain: Sequence[LedgerEntry], session: str) -> LedgerEntry:
    """Return the entry that takes a debit back; only for a session whose masked input provably never left.

    Raises:
        BudgetError: the session was not debited, or was refunded before.
    """
    entries = [entry for entry in chain if entry.session == session]
    if [entry.kind for entry in entries] != ["debit"]:
        raise BudgetError(f"session {session} has no debit that could be refunded")
    found = entries[0]
    return _entry(chain, found.dataset, charge_in(found), "refund")


def charge_in(entry: LedgerEntry) -> Charge:
    """Return the charge that an entry records."""
    return Charge(
        session=entry.session,
        spec=entry.spec,
        rho=entry.rho,
        sensitivity=entry.sensitivity,
        smallest_cohort=entry.smallest_cohort,
        collusion=entry.collusion,
        nonce=entry.nonce,
    )


def spent(chain: Sequence[LedgerEntry]) -> Decimal:
    """Return the sum of rho of all debits that were not refunded."""
    return sum((entry.rho if entry.kind == "debit" else -entry.rho for entry in chain), Decimal(0))


def verify_chain(chain: Sequence[LedgerEntry], *, head: str | None = None) -> None:
    """Check a whole ledger.

    Args:
        chain: all entries of one account in order.
        head: digest of the last entry as remembered elsewhere, or None when nothing is.

    Raises:
        StoreError: the chain is broken, with the entry at which.
    """
    previous = GENESIS
    debited: dict[str, LedgerEntry] = {}
    for place, entry in enumerate(chain):
        if entry.sequence != place or entry.previous != previous:
            raise StoreError(f"ledger entry {place}: does not follow its predecessor; the ledger was changed")
        _check_kind(entry, debited)
        if entry.dataset != chain[0].dataset:
            raise StoreError(f"ledger entry {place}: belongs to account {entry.dataset}, not {chain[0].dataset}")
        previous = _digest(entry)
    if head is not None and previous != head:
        raise StoreError(f"ledger ends in {previous}, but {head} is remembered; entries are missing or were changed")


def _check_kind(entry: LedgerEntry, debited: dict[str, LedgerEntry]) -> None:
    match entry.kind:
        case "debit":
            if entry.session in debited:
                raise StoreError(f"ledger entry {entry.sequence}: debits session {entry.session} again")
            debited[entry.session] = entry
        case "refund":
            original = debited.get(entry.session)
            if original is None or original.kind != "debit" or original.rho != entry.rho:
                raise StoreError(f"ledger entry {entry.sequence}: refunds what session {entry.session} was not debited")
            debited[entry.session] = entry
        case _:
            raise StoreError(f"ledger entry {entry.sequence}: unknown kind {entry.kind!r}")


def _digest(entry: LedgerEntry) -> str:
    try:
        return entry.digest
    except FormatError as error:
        raise StoreError(f"ledger entry {entry.sequence}: {error}") from error


def _entry(chain: Sequence[LedgerEntry], dataset: str, charge: Charge, kind: Kind) -> LedgerEntry:
    return LedgerEntry(
        sequence=len(chain),
        previous=chain[-1].digest if chain else GENESIS,
        dataset=dataset,
        session=charge.session,
        spec=charge.spec,
        kind=kind,
        rho=charge.rho,
        sensitivity=charge.sensitivity,
        smallest_cohort=charge.smallest_cohort,
        collusion=charge.collusion,
        nonce=charge.nonce,
    )
