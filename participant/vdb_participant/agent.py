"""A whole participation: look, consent, witness, join, generate and measure, aggregate, audit, countersign, witness, keep.

Promises that running again after any crash goes on where the journal ends, that nothing leaves before the ledger is debited,
that a session which ends without our input in it is refunded if the input provably never left, and that all secrets of a
session are erased when it ends. Leaves each step to the module of its name.

Source: protos/README.md §11.3, §12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.link import Link
from vdb_participant.session import records
from vdb_participant.session.attempts import run_rounds
from vdb_participant.session.claim import check_claim
from vdb_participant.session.consent import Plan
from vdb_participant.session.correspondence import ACKNOWLEDGED, Correspondence
from vdb_participant.session.exchange import Exchange
from vdb_participant.session.finishing import RESULT_FILE, Ending, finish
from vdb_participant.session.in_short import joining_ends, session_ends
from vdb_participant.session.keeping_hours import within_hours
from vdb_participant.session.preparation import (
    Prepared,
    Resources,
    Withheld,
    check_going_on,
    consented_data,
    none_withheld,
    prepare,
)
from vdb_participant.session.progress import Progress, Reporter, silent
from vdb_participant.session.records import Consented, Measured, decode_sealed, encode_sealed
from vdb_participant.session.terms import Offered, Opening, SealedTerms, verify_opening, verify_seal
from vdb_participant.session.witnessing import Witness
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.institution import Site
from vdb_participant.site.journal import Journal
from vdb_participant.site.known_roster import accept_roster
from vdb_participant.site.policy import check_cohort
from vdb_participant.site.seen_log import SeenLog
from vdb_participant.site.spending import contribution_maker, settle
from vdb_participant.site.storage import FileStorage
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Abort, Join, Statement, parse_statement
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import (
    IdentityError,
    PrivacyError,
    ProtocolError,
    SessionAbortedError,
    SignatureError,
    StatisticError,
    UnreachableError,
    VdbError,
    VerificationError,
)
from vdb_shared.privacy.accountant import account
from vdb_shared.spec import Spec
from vdb_shared.wire.spoken import doing, ended
from vdb_shared.wire.status import Phase

BREACHES: Final = (ProtocolError, PrivacyError, SignatureError, StatisticError, VerificationError)
"""Errors after which a session is left for good; all others can be mended and the command run again."""

_REASON_LENGTH: Final = 500

Measure = Callable[[Site, SealedTerms, Consented, Resources, Progress], Measured]


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator wants.

    Attributes:
        session: session id, or the beginning of one.
        resources: data, weights, device.
        consent: shown the plan; raises to decline.
        ready: called before anything that takes long; raises where consent could not be asked for.
        licences: given the spec before a model is timed and consent is asked; raises where a licence is not accepted.
        progress: shown the work.
        failpoints: none outside tests.
        measure: from the sealed terms to lanes, instead of `measurement.measured_here`; in tests only.
    """

    session: str
    resources: Resources
    consent: Callable[[Plan], None]
    progress: Progress = silent
    failpoints: Failpoints = field(default_factory=Failpoints)
    ready: Callable[[], None] = lambda: None
    licences: Callable[[Spec], None] = lambda _spec: None
    measure: Measure | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a participation ended: the session, and where its published result is."""

    session: str
    bundle: Path


def participate(
    site: Site, session: str, data: Path, models: Path, *, allow_unnoised: bool = False, progress: Progress = silent
) -> Outcome:
    """Take part in a session from beginning to end, consenting to whatever it is; for programs and tests.

    Args:
        site: the institution.
        session: session id, or the beginning of one.
        data: data directory.
        models: folder of weights.
        allow_unnoised: for tests only: take part although the spec adds no noise.
        progress: told of the work.

    Raises:
        VdbError: see `take_part`.
    """
    resources = Resources(data, models, allow_unnoised=allow_unnoised)
    with Client(Connection(site.config.address, site.tls, site.egress)) as link:
        return take_part(site, link, Request(session, resources, consent=lambda _plan: None, progress=progress))


def look(site: Site, link: Link, session: str, resources: Resources, withheld: Withheld = none_withheld) -> Prepared:
    """Return the plan of a session without any promise; `withheld` as in `prepare`.

    Raises:
        VdbError: why the session cannot be joined.
    """
    opening, _ = _look(site, link, session)
    return prepare(site, opening, resources, withheld)


def take_part(site: Site, link: Link, request: Request) -> Outcome:
    """Take part in a session, from wherever its journal says we are.

    Raises:
        SessionAbortedError: the session ended without a result, or without us.
        UnreachableError: the coordinator; run again to go on.
        VdbError: what must be mended before running again, or why the session was left.
    """
    session = site.folder.find_session(request.session)
    consented: Consented | None = None
    if session is None:
        session, consented = _ask(site, link, request)
    with Journal(FileStorage(site.folder.session(session) / "journal"), digest_bytes(session)) as journal:
        if records.CONSENTED not in journal:
            if consented is None:
                _, consented = _ask(site, link, request)
            journal.record(records.CONSENTED, consented.encode())
        consented = Consented.decode(journal.recall(records.CONSENTED))
        opening = verify_opening(consented.offered, session, site.pins, consented.moment)
        if opening.spec.privacy.mechanism == "none" and not request.resources.allow_unnoised:
            raise PrivacyError("the spec adds no noise (mechanism none); such a session is refused")
        participation = Participation(site, Correspondence(journal, link, session), opening, consented, request)
        return participation.run()


@dataclass(frozen=True, slots=True)
class Participation:
    """One session after consent.

    Attributes:
        site: the institution.
        post: the session's journal and link.
        opening: the session, verified.
        consented: the grounds of our consent.
        request: what the operator wants.
    """

    site: Site
    post: Correspondence
    opening: Opening
    consented: Consented
    request: Request

    def run(self) -> Outcome:
        """Do what is left to do."""
        journal = self.post.journal
        if records.OUTCOME not in journal:
            try:
                self._go_on()
            except SessionAbortedError as error:
                self._end(str(error).encode())
            except BREACHES as error:
                self._object(_reason_told(error))
                self._end(str(error).encode())
                settle(self.site, journal, self.opening.session)
                raise
        return self._conclude()

    def leave(self, reason: str) -> bool:
        """Leave, and return whether the coordinator knows; who has not joined owes nobody a word."""
        journal = self.post.journal
        joined = records.JOIN_SENT in journal
        if joined:
            self._object(reason)
        self._end(f"{records.WE_LEFT}{reason}".encode())
        settle(self.site, journal, self.opening.session)
        return not joined or f"{records.ABORT_SENT}{ACKNOWLEDGED}" in journal

    def _go_on(self) -> None:
        if records.ABORT_SENT in self.post.journal:
            self._stay_away()
        if records.MEASURED not in self.post.journal and self._elsewhere():
            consented_data(
                self.request.resources.data, self.consented, self.opening.spec
            )  # before anybody waits for us
        sealed = self._join()
        if records.COUNTERSIGN_SENT not in self.post.journal:
            self._contribute(sealed)
        site, folder = self.site, self.site.folder.session(self.opening.session)
        root, failpoints = site.config.root_fingerprint, self.request.failpoints
        finish(Ending(self.post, sealed, self.witness, site.signer, root, folder, failpoints))
        self._end(records.PUBLISHED)

    def _elsewhere(self) -> bool:
        """Return whether the data lie in another folder than when we consented."""
        return str(self.request.resources.data.resolve()) != self.consented.folder

    def _contribute(self, sealed: SealedTerms) -> None:
        """Measure, and take part in the rounds."""
        self.request.failpoints.reach("after-join")
        check_going_on(self.site.policy, self.consented, sealed, self.request.resources)
        measured = self._measure(sealed)
        self.request.failpoints.reach("after-measure")
        self.request.resources.say(
            "measured; next, keys and masked numbers are exchanged with the other institutions, as soon as they have measured; "
            f"the session ends by {session_ends(self.opening)}"
        )
        exchange = Exchange(
            self.post, sealed.parameters, self.opening.seat, self.site.signer, failpoints=self.request.failpoints
        )
        maker = contribution_maker(
            self.site, self.post.journal, sealed, self.consented, measured, self.request.failpoints
        )
        try:
            run_rounds(exchange, measured.lanes, maker)
        finally:
            measured.erase()

    @property
    def witness(self) -> Witness:
        """Who sees for us that the log says what we are told."""
        return Witness(
            self.post,
            self.opening,
            SeenLog(self.site.folder.log),
            self.site.signer,
            failpoints=self.request.failpoints,
        )

    def _join(self) -> SealedTerms:
        """Sign our join, wait for the seal and check it."""
        post, opening = self.post, self.opening
        plan = Plan(self.consented.plan)
        join = Join(
            session=opening.session,
            spec=opening.spec.digest,
            roster=opening.roster.digest,
            institution=opening.member.institution,
            seat=opening.seat,
            consent=plan.digest,
        )
        if records.JOIN_SENT not in post.journal:
            self.witness.look()  # nobody joins a session that is not announced to all
        statement = post.journal.once(records.JOIN_SENT, lambda: Statement((), join).sign(self.site.signer).to_json())
        post.deliver(records.JOIN_SENT, lambda: post.link.join(post.session, statement))

        def fetch() -> bytes:
            latest = joining_ends(opening)
            self.request.resources.say(f"joined; waiting for the other institutions, until {latest} at the latest")
            self.witness.wait(Phase.ADVERTISING_KEYS)
            found = post.link.seal(post.session)
            self.witness.recognise(found.open_proof)
            return encode_sealed(found)

        sealed = verify_seal(opening, decode_sealed(post.journal.once(records.SEAL_RECEIVED, fetch)), statement)
        check_cohort(self.site.policy, sealed.terms.smallest_cohort, opening.spec.cohort.collusion)
        if sealed.terms.calibration.noised:
            # The second opinion holds for those who really joined.
            check_claim(opening.spec, sealed.terms, account(sealed.terms.calibration))
        return sealed

    def _measure(self, sealed: SealedTerms) -> Measured:
        """Generate, measure, encode and noise, once in the session's life."""

        def make() -> bytes:
            measure, resources = self.request.measure or _measured_here(), self.request.resources
            found = within_hours(
                self.site.policy.hours,
                lambda progress: measure(self.site, sealed, self.consented, resources, progress),
                lambda: Reporter(self.post.link, self.post.session, self.request.progress),
                resources.say,
            )
            encoded = found.encode()
            found.erase()
            return encoded

        return Measured.decode(self.post.journal.once(records.MEASURED, make, secret=True))

    def _object(self, reason: str) -> None:
        """Tell the coordinator, signed, that we leave and why; if it can be told."""
        journal, opening = self.post.journal, self.opening
        abort = Abort(
            session=opening.session,
            institution=opening.member.institution,
            stage=journal.names[-1],
            reason=reason[:_REASON_LENGTH],
            aborted=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        self._tell(journal.once(records.ABORT_SENT, lambda: Statement((), abort).sign(self.site.signer).to_json()))

    def _stay_away(self) -> NoReturn:
        """Say again what an earlier life said when it left; whatever we would be shown now, we have left."""
        statement = self.post.journal.recall(records.ABORT_SENT)
        self._tell(statement)
        abort, _ = parse_statement(Envelope.from_json(statement).payload, Abort)
        raise SessionAbortedError(f"{records.WE_LEFT}{abort.reason}{records.NEVER_AGAIN}")

    def _tell(self, statement: bytes) -> None:
        try:
            self.post.deliver(records.ABORT_SENT, lambda: self.post.link.abort(self.post.session, statement))
        except (UnreachableError, SessionAbortedError, ProtocolError, IdentityError):
            return  # the deadline will tell it

    def _end(self, outcome: bytes) -> None:
        """Record how the session ended for us; nothing is sent after this."""
        self.post.journal.record(records.OUTCOME, outcome)

    def _conclude(self) -> Outcome:
        """Settle, and say how it ended."""
        settle(self.site, self.post.journal, self.opening.session)
        outcome = self.post.journal.recall(records.OUTCOME)
        if outcome != records.PUBLISHED:
            raise SessionAbortedError(outcome.decode())
        return Outcome(self.opening.session, self.site.folder.session(self.opening.session) / RESULT_FILE)


def _reason_told(error: VdbError) -> str:
    """Return what the coordinator is told: never words about our own sums, which the error may quote, nor places here."""
    if isinstance(error, ProtocolError):
        return error.told
    return str(error) if isinstance(error, VerificationError) else f"left ({type(error).__name__})"


def _measured_here() -> Measure:
    # Only here is torch loaded, so that a wrong address or an empty budget is told within seconds.
    from vdb_participant.session.measurement import measured_here  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    return measured_here


def _look(site: Site, link: Link, session: str) -> tuple[Opening, Offered]:
    details = link.details(session)
    offered = Offered(details.spec, details.open, details.roster)
    opening = verify_opening(offered, session, site.pins, datetime.now(UTC))
    accept_roster(site.folder, offered.roster, opening.opened)
    if details.status.phase is not Phase.ACCEPTING:
        why = ended(details.status.reason, details.status.sites)
        now = f"{doing(details.status.phase)} ({why})" if why else doing(details.status.phase)
        raise SessionAbortedError(f"session {opening.session[7:19]} takes no more institutions: {now}")
    return opening, offered


def _ask(site: Site, link: Link, request: Request) -> tuple[str, Consented]:
    """Show the plan and return what was consented to."""
    opening, offered = _look(site, link, request.session)
    request.ready()

    def licensed(spec: Spec) -> Mapping[str, str]:
        request.licences(spec)  # no model is run, be it for a moment, before its licence is accepted
        return {}

    prepared = prepare(site, opening, request.resources, licensed)
    request.consent(prepared.plan)
    folder, cluster = str(request.resources.data.resolve()), request.resources.cluster
    text, dataset = prepared.plan.text, prepared.dataset
    return opening.session, Consented(offered, datetime.now(UTC), text, dataset, folder, cluster)
