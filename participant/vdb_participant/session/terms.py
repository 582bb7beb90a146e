"""What the coordinator says about a session, verified before anything is done on its strength.

Promises that an `Opening` was signed by the coordinator of the pinned roster over exactly this spec and roster, that our own
key has a seat in it, and that a `SealedTerms` follows from the spec and from joins signed by the institutions themselves,
ours among them. Pure. Leaves consent to `consent.py` and rounds to `exchange.py`.

Source: protos/README.md §6, §9.2, §12.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import opened_entry
from vdb_shared.bundle.statement import Join, P, Seal, SealedJoin, SessionOpen, parse_statement
from vdb_shared.bundle.witnessed import check_logged
from vdb_shared.canonical import digest_bytes, sha256_digest
from vdb_shared.errors import FormatError, IdentityError, ProtocolError, SignatureError, VdbError
from vdb_shared.identity import StatementPublicKey
from vdb_shared.roster import Member, Roster, SignedRoster
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.secagg.parameters import Parameters, Seat, share_threshold
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.tasks import CheckedWork, ClipTask, checked_work, public_tasks, shard
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.wire.status import SealedSession

COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Pins:
    """What we know without asking the coordinator.

    Attributes:
        root_fingerprint: the trust root we enrolled under.
        consortium, institution: our names.
        statement_key: ours.
    """

    root_fingerprint: str
    consortium: str
    institution: str
    statement_key: StatementPublicKey


@dataclass(frozen=True, slots=True)
class Offered:
    """What a coordinator says about a session, as received.

    Attributes:
        spec: canonical bytes of the spec.
        open: envelope of the session-open statement.
        roster: the roster with its root chain.
    """

    spec: bytes = field(repr=False)
    open: bytes = field(repr=False)
    roster: SignedRoster = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """A session as opened.

    Attributes:
        session: session id.
        spec: what is agreed on.
        roster: who may take part.
        member: our own line in it.
        entry: what the consortium's log must hold of it.
        opened: when, by the coordinator's clock, as its statement has it.
        supersedes: an earlier session, whose result it is to replace, or None.
    """

    session: str
    spec: Spec
    roster: Roster = field(repr=False)
    member: Member
    entry: bytes = field(repr=False)
    opened: str
    supersedes: str | None = None

    @property
    def seat(self) -> Seat:
        """Our seat."""
        if self.member.seat is None:
            raise ValueError("an opening is verified for a seated member only")
        return self.member.seat

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Seats of all that may join."""
        return tuple(member.seat for member in self.roster.participants if member.seat is not None)


@dataclass(frozen=True, slots=True)
class SealedTerms:
    """A session as sealed.

    Attributes:
        opening: the session.
        seal: digest of the seal statement.
        terms: what follows from spec and joins, recomputed here.
        institutions: those that joined, by seat.
    """

    opening: Opening
    seal: str
    terms: SealTerms
    institutions: Mapping[Seat, str]

    @property
    def parameters(self) -> Parameters:
        """What the rounds work with."""
        roster = self.opening.roster
        return Parameters(
            session=digest_bytes(self.seal),
            roster={seat: roster.seated(seat).public_key for seat in self.terms.seats},
            collusion=self.opening.spec.cohort.collusion,
            smallest_cohort=self.terms.smallest_cohort,
            lanes=self.terms.layout.lanes,
        )

    @property
    def shard(self) -> tuple[ClipTask, ...]:
        """Our share of the public clips."""
        position = self.terms.position(self.opening.seat)
        return shard(public_tasks(self.opening.spec), position, len(self.terms.seats))

    @property
    def checked(self) -> tuple[CheckedWork, ...]:
        """Public clips that we make and another site too."""
        return checked_work(self.opening.spec, self.terms.position(self.opening.seat), len(self.terms.seats))


def verify_opening(offered: Offered, wanted: str, pins: Pins, now: datetime) -> Opening:
    """Return the session that a coordinator describes, if it is the wanted one and all of it is signed.

    Args:
        offered: the coordinator's words.
        wanted: session id, or the beginning of its hex digits.
        pins: what we know.
        now: UTC, for the expiry of root and roster.

    Raises:
        ProtocolError: another session, or a statement that contradicts what it came with.
        IdentityError: the roster is not vouched for, or we are not in it.
        SpecError: the spec is malformed.
    """
    roster = offered.roster.verify(pins.root_fingerprint, now)
    envelope = _envelope(offered.open, "session-open")
    opened = _statement(envelope, roster.coordinator, SessionOpen)
    if not envelope.payload_digest.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:")):
        raise ProtocolError(f"we asked for session {wanted}, it sent {envelope.payload_digest}", peer=COORDINATOR)
    spec = parse_spec_json(offered.spec)
    for name, expected, found in (
        ("consortium", pins.consortium, roster.consortium),
        ("consortium", pins.consortium, opened.consortium),
        ("trust root", pins.root_fingerprint, opened.root),
        ("roster", roster.digest, opened.roster),
        ("spec", spec.digest, opened.spec),
    ):
        if expected != found:
            raise ProtocolError(
                f"its opening statement does not fit: {name} is {found}, not {expected}", peer=COORDINATOR
            )
    if all(member.institution != pins.institution for member in roster.members):
        raise IdentityError(
            f"the roster of this session does not name {pins.institution}: if it was opened before we were approved, the lead "
            "has to open it anew; if not, ask the lead to approve us"
        )
    member = roster.member(pins.institution)
    if member.public_key != pins.statement_key or member.seat is None:
        raise IdentityError(
            f"the roster of this session names another key for {pins.institution} than ours: if it was opened before our key "
            "was approved, the lead has to open it anew; if not, somebody has our name, so tell the lead by telephone"
        )
    try:
        entry = opened_entry(envelope.payload_digest, opened, spec.deadlines)
    except FormatError as error:
        raise ProtocolError(f"its opening statement cannot be logged: {error}", peer=COORDINATOR) from error
    return Opening(envelope.payload_digest, spec, roster, member, entry, opened.opened, opened.supersedes)


def verify_seal(opening: Opening, sealed: SealedSession, own_join: bytes) -> SealedTerms:
    """Return the sealed terms of a session, if they follow from its spec and from genuine joins with ours among them.

    Args:
        opening: the session.
        sealed: the coordinator's words.
        own_join: the envelope of our join statement.

    Raises:
        ProtocolError: a join is missing, forged or for something else, a parameter does not follow from the spec, or too few
            of those who joined saw the opening in the log.
        PrivacyError: the spec's promise cannot be kept with those who joined.
    """
    envelope = _envelope(sealed.seal, "seal")
    seal = _statement(envelope, opening.roster.coordinator, Seal)
    joins = _verify_joins(opening, sealed.joins)
    ours = joins.get(opening.seat)
    if ours is None or ours.payload_digest != Envelope.from_json(own_join).payload_digest:
        raise ProtocolError("our own join is not in its seal, or was changed", peer=COORDINATOR)
    terms = seal_terms(opening.spec, sorted(joins))
    institutions = {seat: opening.roster.seated(seat).institution for seat in terms.seats}
    _verify_logged(opening, sealed.open_proof, institutions.values())
    follows = Seal(
        session=opening.session,
        spec=opening.spec.digest,
        roster=opening.roster.digest,
        joins=tuple(
            SealedJoin(institution=institutions[seat], seat=seat, join=joins[seat].payload_digest)
            for seat in terms.seats
        ),
        smallest_cohort=terms.smallest_cohort,
        layout=terms.layout.digest,
        lanes=terms.layout.lanes,
        private_lanes=terms.layout.private_lanes,
        noise_multiplier=terms.noise_multiplier,
        scale=terms.scale,
        public_tasks=terms.public_tasks,
        generators=terms.generators,
        log=sha256_digest(sealed.open_proof),
        sealed=seal.sealed,
    )
    for name in Seal.model_fields:
        expected, found = getattr(follows, name), getattr(seal, name)
        if expected != found:
            raise ProtocolError(f"its seal does not follow from the spec and the joins: {name}", peer=COORDINATOR)
    return SealedTerms(opening, envelope.payload_digest, terms, institutions)


def _verify_logged(opening: Opening, proof: bytes, institutions: Collection[str]) -> None:
    """Check that enough of those who joined saw in the log, before the seal, that this session is open."""
    quorum = share_threshold(len(institutions), opening.spec.cohort.collusion)
    try:
        check_logged(parse_proof(proof), opening.entry, opening.roster, institutions, quorum)
    except (FormatError, SignatureError) as error:
        raise ProtocolError(
            f"its seal does not show that this session was announced in the log: {error}", peer=COORDINATOR
        ) from error


def _verify_joins(opening: Opening, joins: tuple[bytes, ...]) -> dict[Seat, Envelope]:
    found: dict[Seat, Envelope] = {}
    for data in joins:
        envelope = _envelope(data, "join")
        try:
            claimed, _ = parse_statement(envelope.payload, Join)
        except FormatError as error:
            raise ProtocolError(f"a join in its seal is malformed: {error}", peer=COORDINATOR) from error
        member = opening.roster.member(claimed.institution)
        join = _statement(envelope, member, Join)
        agreed = (opening.session, opening.spec.digest, opening.roster.digest, member.seat)
        if (join.session, join.spec, join.roster, join.seat) != agreed or join.seat in found:
            raise ProtocolError(f"the join of {member.institution} in its seal is for something else", peer=COORDINATOR)
        found[join.seat] = envelope
    return found


def _envelope(data: bytes, what: str) -> Envelope:
    try:
        return Envelope.from_json(data)
    except FormatError as error:
        raise ProtocolError(f"its {what} is malformed: {error}", peer=COORDINATOR) from error


def _statement(envelope: Envelope, signer: Member, kind: type[P]) -> P:
    """Return the predicate of a statement that must be signed by this member, and name no subjects."""
    try:
        payload = envelope.verify(labels.TYPE_STATEMENT, [signer.public_key])
        predicate, subjects = parse_statement(payload, kind)
    except (FormatError, SignatureError) as error:
        raise _not_signed(kind, signer, error) from error
    if subjects:
        raise ProtocolError(f"its {kind.kind} statement names subjects; it must have none", peer=COORDINATOR)
    return predicate


def _not_signed(kind: type[P], signer: Member, error: VdbError) -> ProtocolError:
    return ProtocolError(f"its {kind.kind} statement is not one of {signer.institution}: {error}", peer=COORDINATOR)
