"""`budget` as the operator sees it: what each data set has spent, whether the ledger is sound, and a copy for others to read.

Promises to make no file but the export, which never takes the place of another, and that the digests of single records are in
none of them.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from vdb_participant.commands.screen import console
from vdb_participant.site.config import StateFolder, check_folder
from vdb_participant.site.ledger import Holding, Ledger
from vdb_participant.site.policy import PolicyFile, policy_in
from vdb_participant.site.receipts import bundle_receipt, kept_receipts
from vdb_participant.site.storage import PRIVATE_FILE
from vdb_shared.canonical import canonical_json, check_digest, decimal_string
from vdb_shared.errors import FormatError, StoreError, UsageError
from vdb_shared.privacy.conversion import epsilon_of_rho
from vdb_shared.privacy.ledger import FIELDS, GENESIS, LedgerEntry, check_receipt, verify_chain
from vdb_shared.wording import counted

Format = Literal["json", "csv"]

EXPORT: Final = "vdb-ledger-export/1"

_BLIND: Final = (
    "Not seen: entries that were cut off the end together with their sessions' journals. Give a published result of this "
    "site with --receipt, or the head that you noted elsewhere with --head."
)


@dataclass(frozen=True, slots=True)
class Overview:
    """The ledger under the site's policy.

    Attributes:
        policy: the site's, or the default one.
        holdings: its data sets.
        chain: all entries.
    """

    policy: PolicyFile
    holdings: tuple[Holding, ...] = ()
    chain: tuple[LedgerEntry, ...] = ()

    @property
    def head(self) -> str:
        """Digest of the last entry; GENESIS without any."""
        return self.chain[-1].digest if self.chain else GENESIS

    def epsilon(self, rho: Decimal) -> Decimal:
        """Return what a sum of rho is at the policy's delta."""
        return epsilon_of_rho(rho, self.policy.delta)

    def left(self, holding: Holding) -> Decimal:
        """Return the rho that is left to a data set."""
        return max(self.policy.rho_cap - holding.standing.spent, Decimal(0))


def fitting(found: Overview, holding: Holding) -> int | None:
    """Return how many more sessions of a data set fit that each cost what its last one did; None if that one was taken back."""
    debits = {entry.charge.session: entry.charge.rho for entry in holding.entries if entry.kind == "debit"}
    for entry in holding.entries:
        if entry.kind == "refund":
            debits.pop(entry.charge.session, None)
    last = next(reversed(debits.values()), None)
    return None if last is None else int(found.left(holding) / last)


def show(folder: StateFolder, *, as_json: bool) -> None:
    """Print what each data set has spent and what remains.

    Raises:
        UsageError: no such folder.
        StoreError: the ledger is damaged.
    """
    found = overview(folder)
    cap = found.policy.rho_cap
    if as_json:
        value = {"cap": decimal_string(cap), "charge": found.policy.charge, "datasets": _datasets(found)}
        sys.stdout.write(canonical_json(value).decode() + "\n")
        return
    out = console()
    policy = found.policy
    out.print(f"cap rho {decimal_string(cap)}: epsilon {policy.epsilon_total} at delta {policy.delta} (policy.toml)")
    if not found.holdings:
        out.print("nothing has been debited")
        return
    counting = "with overlapping data" if policy.charge == "overlapping" else "of this site"
    out.print(f"counted against each data set: all sessions {counting}, its own among them\n")
    out.print("\n".join(_table(found)))
    out.print("fit: how many more sessions at the cost of the data set's last one are within the cap\n")
    for entry in found.chain:
        sign, charge = "-" if entry.kind == "refund" else "+", entry.charge
        out.print(
            f"{entry.sequence:>5} {entry.moment} {entry.kind:<6} {sign}{decimal_string(charge.rho):<14} "
            f"session {charge.session[7:19]} data set {charge.dataset[7:19]}"
        )


def verify(folder: StateFolder, receipts: Iterable[Path] = (), head: str = "") -> None:
    """Check chain and lists of records, and that every debit is there that the site has signed a statement about.

    Args:
        folder: the state folder.
        receipts: result bundles that this site is part of.
        head: digest of an entry that was noted elsewhere, or "".

    Raises:
        UsageError: no such folder or bundle, or `head` is no digest.
        StoreError: the ledger is damaged, or entries are missing.
    """
    check_folder(folder)
    bundles = [bundle_receipt(folder, path) for path in receipts]
    known = [*kept_receipts(folder), *bundles]
    if not (known or head):
        _check_site(folder)
    chain: tuple[LedgerEntry, ...] = ()
    if folder.ledger.exists():
        with Ledger(folder.ledger) as ledger:
            chain = ledger.verify()
    for receipt in known:
        check_receipt(chain, receipt.session, receipt.entry)
    if head:
        _check_head(chain, head)
    sets = len({entry.charge.dataset for entry in chain})
    out = console()
    size = f"{counted(len(chain), 'entry', 'entries')} of {counted(sets, 'data set')}"
    out.print(f"{size}; head {chain[-1].digest if chain else GENESIS}")
    out.print(f"{len(known)} of our statements in journals and bundles, and the entries that they name are there")
    out.print("PASS: the chain is unbroken, and every list of records is the one that was debited")
    if not (bundles or head):
        out.print(_BLIND)


def export(folder: StateFolder, form: Format, output: Path | None) -> None:
    """Write the whole ledger, but for the digests of single records, for a data protection officer.

    It is as confidential as the ledger: it names folders, and with the nonces guesses about the site can be tested.

    JSON, canonical (protos/README.md §2.2), reals as decimal strings:

        format      "vdb-ledger-export/1"
        exported    when, UTC
        policy      epsilon_total, delta, charge as in policy.toml; rho_cap, what they allow
        head        digest of the last entry
        data_sets   of each: dataset (content id), folders, records (number), sessions and spent (number and rho of all
                    sessions that count against it and were not refunded), epsilon (of spent, at delta), left (rho)
        entries     protos/README.md §8.4, each with its digest

    CSV: one line for each entry under the names of its fields and "digest", in alphabetical order.

    Args:
        folder: the state folder.
        form: "json" or "csv".
        output: a file that is not there yet; None: standard output.

    Raises:
        UsageError: no such folder, the file is there already or cannot be written.
        StoreError: the ledger is damaged.
    """
    found = overview(folder)
    entries = [entry.to_json() | {"digest": entry.digest} for entry in found.chain]
    text = _json_export(found, entries) if form == "json" else _csv_export(entries)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with os.fdopen(
            os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "w", encoding="utf-8"
        ) as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{output}: is there already; choose another name with --output") from error
    except OSError as error:
        raise UsageError(
            f"{output}: cannot be written ({error.strerror}); choose another place with --output"
        ) from error
    console().print(f"{counted(len(entries), 'entry', 'entries')} written to {output}")


def overview(folder: StateFolder) -> Overview:
    """Return the ledger of a site under its policy."""
    check_folder(folder)
    _check_site(folder)
    policy = policy_in(folder)
    if not folder.ledger.exists():
        return Overview(policy)
    with Ledger(folder.ledger) as ledger:
        return Overview(policy, ledger.holdings(policy.charge), ledger.chain())


def _check_site(folder: StateFolder) -> None:
    """Refuse a folder that is no site's: a mistyped one must not look like a clean ledger."""
    if not any(path.exists() for path in (folder.ledger, folder.policy, folder.config, folder.enrolment)):
        raise UsageError(
            f"{folder.path}: no institution is enrolled here, and there is no ledger; choose it with --dir"
        )


def _check_head(chain: Sequence[LedgerEntry], head: str) -> None:
    try:
        check_digest(head)
    except FormatError as error:
        raise UsageError(f"--head: {error}") from error
    verify_chain(chain)
    if head not in (GENESIS, *(entry.digest for entry in chain)):
        raise StoreError(
            f"the ledger holds no entry {head}; entries were cut off, or an older copy was put back: restore the newest one"
        )


def _table(found: Overview) -> list[str]:
    heads = ("data set", "records", "sessions", "rho spent", "epsilon", "rho left", "fit", "lay in")
    rows = [
        (
            holding.dataset[7:19],
            str(holding.records),
            str(holding.standing.sessions),
            decimal_string(holding.standing.spent),
            decimal_string(found.epsilon(holding.standing.spent)),
            decimal_string(found.left(holding)),
            "" if (more := fitting(found, holding)) is None else str(more),
            ", ".join(holding.folders),
        )
        for holding in found.holdings
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows)]


def _datasets(found: Overview) -> list[dict[str, object]]:
    return [
        {
            "dataset": holding.dataset,
            "folders": list(holding.folders),
            "records": holding.records,
            "sessions": holding.standing.sessions,
            "spent": decimal_string(holding.standing.spent),
            "epsilon": decimal_string(found.epsilon(holding.standing.spent)),
            "left": decimal_string(found.left(holding)),
            "fit": fitting(found, holding),
            "entries": [entry.to_json() | {"digest": entry.digest} for entry in holding.entries],
        }
        for holding in found.holdings
    ]


def _json_export(found: Overview, entries: list[dict[str, object]]) -> str:
    policy = found.policy
    value = {
        "format": EXPORT,
        "exported": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "policy": {
            "epsilon_total": decimal_string(policy.epsilon_total),
            "delta": decimal_string(policy.delta),
            "charge": policy.charge,
            "rho_cap": decimal_string(policy.rho_cap),
        },
        "head": found.head,
        "data_sets": [{name: item for name, item in one.items() if name != "entries"} for one in _datasets(found)],
        "entries": entries,
    }
    return canonical_json(value).decode() + "\n"


def _csv_export(entries: list[dict[str, object]]) -> str:
    text = io.StringIO()
    names = sorted({*FIELDS, "digest"})
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue()
