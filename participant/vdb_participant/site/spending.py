"""The moment of paying: the ledger is debited, then the contribution statement is signed, then the input may be masked.

Promises one debit for one session, whatever crashes in between, and none for a session whose journal was lost: a nonce is
drawn and recorded first, and stands in the ledger's entry; a debit with another nonce belongs to another life.

Source: protos/README.md §8.4, §12.3.
"""

from __future__ import annotations

import os
from typing import Final

from vdb_participant.session import records
from vdb_participant.session.contribution import contribution_statement
from vdb_participant.session.exchange import ContributionOf
from vdb_participant.session.records import Consented
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.institution import Site
from vdb_participant.site.journal import Journal
from vdb_participant.site.ledger import Ledger
from vdb_shared.bundle.statement import RunManifest
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.ledger import GENESIS, charge_of

NONCE_BYTES: Final = 32


def contribution_maker(
    site: Site, journal: Journal, sealed: SealedTerms, consented: Consented, manifest: RunManifest
) -> ContributionOf:
    """Return what makes the contribution statement; it debits the ledger on the way."""

    def make(masked_digest: bytes) -> bytes:
        entry = _debit(site, journal, sealed, consented)
        return contribution_statement(sealed, masked_digest, entry, manifest, site.signer)

    return make


def _debit(site: Site, journal: Journal, sealed: SealedTerms, consented: Consented) -> str:
    """Debit the session and return the digest of the entry; a test without noise has none."""
    accounting = account(sealed.terms.calibration)
    if accounting.rho is None:
        return GENESIS
    nonce = journal.once(records.DEBIT_BEGUN, lambda: os.urandom(NONCE_BYTES))
    charge = charge_of(accounting, session=sealed.opening.session, spec=sealed.opening.spec.digest, nonce=nonce)
    with Ledger(site.folder.ledger) as ledger:
        return ledger.debit(site.policy.ledger_account, consented.folder, charge, site.policy.rho_cap).digest
