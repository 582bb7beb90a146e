"""The moment of paying: the ledger is debited, then the contribution statement is signed, then the input may be masked.

Promises one debit for one session, whatever crashes in between, and none for a session whose journal was lost: a nonce is
drawn and recorded first, and stands in the ledger's entry; a debit with another nonce belongs to another life. A debit is
taken back only if the journal shows that the masked input never left, in any attempt.

Source: protos/README.md §8.4, §12.3.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from vdb_participant.session import records
from vdb_participant.session.attempts import left
from vdb_participant.session.contribution import contribution_statement
from vdb_participant.session.exchange import ContributionOf
from vdb_participant.session.records import Consented, Measured
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.institution import Site
from vdb_participant.site.journal import Journal
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.receipts import check_kept
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.ledger import GENESIS, charge_of

NONCE_BYTES: Final = 32


def contribution_maker(
    site: Site,
    journal: Journal,
    sealed: SealedTerms,
    consented: Consented,
    measured: Measured,
    failpoints: Failpoints | None = None,
) -> ContributionOf:
    """Return what makes the contribution statement; it debits the ledger on the way."""
    private, manifest = measured.private, measured.manifest
    failpoints = failpoints or Failpoints()

    def make(masked_digest: bytes) -> bytes:
        accounting = account(sealed.terms.calibration)
        if accounting.rho is None:  # a test without noise, which no budget pays for
            return contribution_statement(sealed, masked_digest, GENESIS, manifest, site.signer)
        charge = charge_of(
            accounting,
            session=sealed.opening.session,
            spec=sealed.opening.spec.digest,
            records=private,
            folder=consented.folder,
            nonce=journal.once(records.DEBIT_BEGUN, lambda: os.urandom(NONCE_BYTES)),
        )
        policy = site.policy
        check_kept(site.folder)
        failpoints.reach("before-debit")
        with Ledger(site.folder.ledger) as ledger:
            entry = ledger.debit(private, charge, policy.rho_cap, policy.charge, _now())
        failpoints.reach("after-debit")
        return contribution_statement(sealed, masked_digest, entry.digest, manifest, site.signer)

    return make


def settle(site: Site, journal: Journal, session: str) -> None:
    """Refund a session that has ended if its input never left, and erase its secrets; may be repeated.

    Raises:
        StoreError: the ledger or the journal cannot be written.
    """
    if not left(journal) and records.DEBIT_BEGUN in journal:
        with Ledger(site.folder.ledger) as ledger:
            ledger.refund(session, journal.recall(records.DEBIT_BEGUN), _now())
    journal.erase_secrets()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
