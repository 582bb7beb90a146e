"""What the site has signed about its debits: the entries that its contribution statements name, in journals and in bundles.

Promises that each receipt is one that this site made: from its own journal, or signed by its key in the bundle's roster under
the pinned root. With them it is seen that entries were cut off the ledger's end, or an older copy was put back.

Source: protos/README.md §8.4, §12.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vdb_participant.session.exchange import MASK_CONTRIBUTION
from vdb_participant.site.config import StateFolder, read_config
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.ledger import Ledger
from vdb_shared import labels
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.record import SessionRecord, of_record
from vdb_shared.bundle.statement import Contribution, parse_statement
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import FormatError, StoreError, UsageError
from vdb_shared.privacy.ledger import GENESIS, check_receipt


@dataclass(frozen=True, slots=True)
class Receipt:
    """A session that was debited, and the digest of the entry."""

    session: str
    entry: str


def kept_receipts(folder: StateFolder) -> Iterator[Receipt]:
    """Return the receipts in the journals of a site's sessions.

    Raises:
        StoreError: a journal is damaged or cannot be read.
    """
    place = folder.path / "sessions"
    for name in sorted(item.name for item in place.iterdir()) if place.is_dir() else ():
        session = f"sha256:{name}"
        journal = folder.session(session) / "journal"
        try:
            found = read_journal(journal.read_bytes(), digest_bytes(session)).records
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{journal}: cannot be read ({error.strerror})") from error
        for record in found:
            if record.name.endswith(MASK_CONTRIBUTION):
                yield from _receipt(Envelope.from_json(record.value).payload)


def check_kept(folder: StateFolder) -> None:
    """Check that the ledger has every debit that this site's own journals tell of: a lost or older ledger is no fresh budget.

    Raises:
        StoreError: one is missing, or a journal is damaged.
    """
    known = list(kept_receipts(folder))
    if not known:
        return
    with Ledger(folder.ledger) as ledger:
        chain = ledger.chain()
    for receipt in known:
        check_receipt(chain, receipt.session, receipt.entry)


def bundle_receipt(folder: StateFolder, bundle: Path) -> Receipt:
    """Return the receipt of this site in a result bundle.

    Raises:
        UsageError: the bundle cannot be read, or is none; or no institution is enrolled in the folder.
        IdentityError, SignatureError: the roster or our statement in it is not signed as it must be.
        StoreError: nothing was debited for it.
    """
    record = _record(bundle)
    if not folder.enrolment.exists() and not folder.config.exists():
        raise UsageError(
            f"{folder.path}: no institution is enrolled here, so nothing in {bundle} is known to be ours; choose the site's "
            "folder with --dir"
        )
    config = read_config(folder)
    statement = record.contributions.get(config.institution)
    if statement is None:
        raise UsageError(
            f"{bundle}: holds no contribution of {config.institution}; choose a result that we are part of"
        )
    key = record.roster.verify(config.root_fingerprint, None).member(config.institution).public_key
    for receipt in _receipt(statement.verify(labels.TYPE_STATEMENT, [key])):
        return receipt
    raise StoreError(f"{bundle}: is of a session without noise, which is not debited; choose another")


def _record(bundle: Path) -> SessionRecord:
    try:
        members = read_archive(bundle.read_bytes())
        return SessionRecord.from_members(of_record(members))
    except OSError as error:
        raise UsageError(f"{bundle}: expected a result bundle, cannot read it ({error.strerror})") from error
    except FormatError as error:
        raise UsageError(f"{bundle}: {error}; give a published result (.vdbb) of this site") from error


def _receipt(payload: bytes) -> Iterator[Receipt]:
    contribution, _ = parse_statement(payload, Contribution)
    if contribution.ledger_entry != GENESIS:
        yield Receipt(contribution.session, contribution.ledger_entry)
