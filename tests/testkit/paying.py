"""A site that pays and sends, as near to the agent as it can be without a network: what one life of it does.

The rounds run between the site's process and one that lives on, over a pipe. Ways to break the site's promise are part of it,
so that a test can see that they are found.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from testkit.consortium import signer
from testkit.crashes import RoundsOnly
from testkit.lives import SEALED, SEAT, lanes_of
from testkit.small_specs import small_spec
from vdb_participant.network.link import Upload
from vdb_participant.session import records
from vdb_participant.session.attempts import run_rounds
from vdb_participant.session.contribution import contribution_statement
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.exchange import ContributionOf, Exchange
from vdb_participant.session.records import Consented, Measured
from vdb_participant.session.terms import Offered, Opening, SealedTerms
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.institution import Site
from vdb_participant.site.journal import Journal
from vdb_participant.site.keys import TlsIdentity
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.policy import DEFAULT_POLICY, parse_policy
from vdb_participant.site.spending import contribution_maker, settle
from vdb_participant.site.storage import FileStorage
from vdb_shared.bundle.statement import NamedDigest, RunManifest
from vdb_shared.canonical import digest_bytes, sha256_digest
from vdb_shared.errors import BudgetError, SessionAbortedError
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.record_list import RecordList
from vdb_shared.roster import Member, Roster, SignedRoster
from vdb_shared.seal import seal_terms
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire.status import Phase, SessionStatus, Shares

Breach = Literal["none", "late", "refund"]

SPEC = small_spec()
TERMS = seal_terms(SPEC, sorted(SEALED.roster))
COST = account(TERMS.calibration).rho or Decimal(0)
POLICY = parse_policy(DEFAULT_POLICY).model_copy(update={"epsilon_total": Decimal("12.5")})
"""Allows two sessions."""

NOTHING = bytes(32)


def site_in(folder: Path) -> Site:
    """Return a site with nothing but a state folder, a policy and a key."""
    config = ConfigFile(
        consortium="t",
        institution="site-1",
        address="127.0.0.1:1",
        root_fingerprint=sha256_digest(b""),
        ca_certificate="",
        spiffe_id="spiffe://t/participant/site-1",
    )
    return Site(StateFolder(folder), config, POLICY, signer(0, SEAT), TlsIdentity(b"", b"", b""))


def sealed_terms(session: str) -> SealedTerms:
    """Return a sealed session; the rounds run on a smaller vector than its spec's."""
    member = Member(
        institution="site-1",
        role="participant",
        seat=SEAT,
        statement_key=signer(0, SEAT).public_key.raw.hex(),
        spiffe_id="spiffe://t/participant/site-1",
    )
    head = Member(
        institution="vdb", role="coordinator", seat=None, statement_key="0" * 64, spiffe_id="spiffe://t/coordinator/vdb"
    )
    roster = Roster(version="vdb-roster/1", consortium="t", members=(member, head))
    return SealedTerms(
        Opening(session, SPEC, roster, member, b"entry", "2026-11-22T22:50:00Z"),
        sha256_digest(b"seal"),
        TERMS,
        {SEAT: "site-1"},
    )


def manifest() -> RunManifest:
    """Return the manifest of a run that never was."""
    models = tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in SPEC.models)
    return RunManifest(
        environment={"python": "3.11"},
        models=models,
        extractors=(),
        profile="exact",
        public_clips_made=0,
        public_clips_failed=0,
        sample_root=sha256_digest(b""),
    )


@dataclass
class Pipeline(RoundsOnly):
    """The link of a life: every call goes through a pipe to the process that lives on; implements Link."""

    pipe: Connection

    def _ask(self, method: str, *arguments: object) -> Any:
        self.pipe.send((method, arguments))
        answer = self.pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def wait(self, session: str, phase: Phase, attempt: int = 0) -> SessionStatus:
        found: SessionStatus = self._ask("wait", session, phase, attempt)
        return found

    def advertise_keys(self, session: str, seat: Seat, attempt: int, keys: Signed) -> None:
        self._ask("advertise_keys", session, seat, attempt, keys)

    def advertised_keys(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        found: Mapping[Seat, Signed] = self._ask("advertised_keys", session, attempt)
        return found

    def share_keys(self, session: str, seat: Seat, attempt: int, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        self._ask("share_keys", session, seat, attempt, header, sealed)

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        found: Shares = self._ask("shared_keys", session, seat, attempt)
        return found

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        self._ask("upload", session, seat, attempt, upload)

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        self._ask("complain", session, seat, attempt, complaint)

    def restarts(self, session: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self._ask("restarts", session)
        return found

    def masked_inputs(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        found: Mapping[Seat, Signed] = self._ask("masked_inputs", session, attempt)
        return found

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        self._ask("sign_consistency", session, seat, attempt, statement)

    def consistency(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        found: Mapping[Seat, Signed] = self._ask("consistency", session, attempt)
        return found

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        self._ask("reveal_shares", session, seat, attempt, shares)


class LatePipeline(Pipeline):
    """Pays when the input has been sent."""

    pay: ContributionOf

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        super().upload(session, seat, attempt, upload)
        self.pay(NOTHING)


def live(folder: Path, session: str, data: RecordList, pipe: Connection, breach: Breach) -> None:
    """Do what is left of a session, as `agent.py` does."""
    site, sealed = site_in(folder), sealed_terms(session)
    consented = Consented(
        Offered(b"", b"", SignedRoster((), b"", b"")), datetime.now(UTC), "plan", data.dataset, "/data"
    )

    def measure() -> bytes:
        lanes = lanes_of(os.urandom(8 * SEALED.lanes))
        return Measured(lanes, manifest(), data).encode()

    with Journal(FileStorage(site.folder.session(session) / "journal"), digest_bytes(session)) as journal:
        if records.OUTCOME not in journal:
            measured = Measured.decode(journal.once(records.MEASURED, measure, secret=True))
            pay = contribution_maker(site, journal, sealed, consented, measured)
            link = Pipeline(pipe)
            if breach == "late":
                link, maker = LatePipeline(pipe), unpaid(sealed, measured, site)
                link.pay = pay
            else:
                maker = pay
            try:
                run_rounds(
                    Exchange(Correspondence(journal, link, session), SEALED, SEAT, site.signer), measured.lanes, maker
                )
                outcome = records.PUBLISHED
            except (SessionAbortedError, BudgetError) as error:
                outcome = str(error).encode()
            journal.record(records.OUTCOME, outcome)
        if breach == "refund" and journal.recall(records.OUTCOME) != records.PUBLISHED:
            refund(site, journal, session)
        settle(site, journal, session)


def unpaid(sealed: SealedTerms, measured: Measured, site: Site) -> ContributionOf:
    """Return what states a contribution that was not paid for."""
    return lambda masked: contribution_statement(sealed, masked, sha256_digest(b"owed"), measured.manifest, site.signer)


def refund(site: Site, journal: Journal, session: str) -> None:
    """Take a debit back because the session has no result, whatever left."""
    if records.DEBIT_BEGUN in journal:
        with Ledger(site.folder.ledger) as ledger:
            ledger.refund(session, journal.recall(records.DEBIT_BEGUN), "now")
