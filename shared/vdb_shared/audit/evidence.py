"""What a bundle says, parsed on demand and only once.

Each property either returns a valid value or raises a VdbError; a check that asks for it fails with that error. Promises
nothing about truth: that is what `checks` are for, in their order.

Source: protos/README.md §10.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vdb_shared.audit.monitor import Monitored, monitor
from vdb_shared.audit.policy import Policy
from vdb_shared.audit.standing import Published, Standing, standing_of
from vdb_shared.audit.unmasked import Replayed, replay_unmasking
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import opened_entry, published_entry
from vdb_shared.bundle.messages import is_message, read_messages
from vdb_shared.bundle.record import (
    ACCOUNTING,
    COUNTERSIGN,
    RESTARTS,
    RESULT,
    RESULT_PROOF,
    SessionRecord,
    of_record,
    read_envelope,
    read_proof,
)
from vdb_shared.bundle.statement import (
    Contribution,
    Join,
    P,
    Result,
    Seal,
    SessionOpen,
    Subject,
    parse_statement,
)
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.canonical import digest_bytes
from vdb_shared.checked_clips import Comparison, compare_checked
from vdb_shared.errors import FormatError, PrivacyError
from vdb_shared.roster import Roster
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.secagg.encoding import decode_totals
from vdb_shared.secagg.messages import ConsistencyStatement
from vdb_shared.secagg.parameters import Parameters, Seat, share_threshold
from vdb_shared.secagg.restarts import verify_restart
from vdb_shared.secagg.transcript import (
    AdvertisedRound,
    MaskedRound,
    SharedRound,
    Transcript,
    check_distinct_keys,
    close_advertised,
    close_masked,
    close_shared,
    open_advertised,
    open_masked,
    open_shared,
    seat_peer,
)
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.transparency.checkpoint import read_checkpoint
from vdb_shared.transparency.proof import LogProof
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, Fetch, TiledLog


@dataclass(frozen=True, slots=True)
class Rounds:
    """Rounds 0, 1 and 2 replayed: every header verified, T1, T2 and T3 recomputed."""

    advertised: AdvertisedRound
    shared: SharedRound
    masked: MaskedRound


@dataclass(frozen=True, slots=True)
class GivenStamp:
    """An authority's answer as received, and the root certificates (PEM) that the auditor trusts for time stamps."""

    answer: bytes
    roots: bytes


@dataclass(frozen=True)
class Evidence:
    """A bundle under audit.

    Attributes:
        data: the whole file.
        root: digest of the trust root given from outside, or None.
        policy: the auditor's demands.
        draft: whether countersignatures are still to come.
        fetch: reads files of the consortium's log, if the auditor has access to it.
        remembered: a checkpoint of the log that the auditor kept, if any.
        statements: files with objections to the result and its withdrawal, by name, as received.
        stamp: a time stamp with the roots that the auditor trusts for it, if any.
    """

    data: bytes
    root: str | None
    policy: Policy
    draft: bool
    fetch: Fetch | None = None
    remembered: bytes | None = None
    statements: Mapping[str, bytes] = field(default_factory=dict)
    stamp: GivenStamp | None = None

    @cached_property
    def members(self) -> dict[str, bytes]:
        """All members, by name."""
        return read_archive(self.data)

    @cached_property
    def result_envelope(self) -> Envelope:
        """The result as signed."""
        return read_envelope(self.members, RESULT)

    @cached_property
    def _result(self) -> tuple[Result, tuple[Subject, ...]]:
        return parse_statement(self.result_envelope.payload, Result)

    @property
    def result(self) -> Result:
        """The result's predicate."""
        return self._result[0]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The members that the result names."""
        return self._result[1]

    @cached_property
    def countersign(self) -> Envelope:
        """The countersignatures.

        Raises:
            FormatError: malformed, or the bundle has none.
        """
        if COUNTERSIGN not in self.members:
            raise FormatError(f"{COUNTERSIGN}: this member is missing; nobody countersigned the result")
        return read_envelope(self.members, COUNTERSIGN)

    @cached_property
    def result_proof(self) -> LogProof:
        """The result's place in the log.

        Raises:
            FormatError: malformed, or the bundle has none.
        """
        return read_proof(self.members, RESULT_PROOF)

    @cached_property
    def opened_entry(self) -> bytes:
        """What the log must hold of the opening."""
        return opened_entry(self.record.open.payload_digest, self.opening, self.spec.deadlines)

    @cached_property
    def published_entry(self) -> bytes:
        """What the log must hold of the result."""
        return published_entry(self.result_envelope.payload, self.members[ACCOUNTING], self.spec.privacy.delta)

    @cached_property
    def log(self) -> TiledLog | None:
        """The consortium's log, its newest checkpoint verified; None if the auditor has no access to it.

        Raises:
            UsageError, UnreachableError: it cannot be read.
            FormatError, SignatureError: it is another log.
        """
        if self.fetch is None:
            return None
        checkpoint, _ = read_checkpoint(self.fetch(CHECKPOINT_PATH), log_key(self.roster))
        return TiledLog(checkpoint, self.fetch)

    @cached_property
    def monitored(self) -> Monitored | None:
        """What all of the log says, as of the stated moment of publication; None if the auditor has no access to it.

        Raises:
            UsageError, UnreachableError, FormatError, SignatureError: as `log`, or an entry is not the one that was signed.
        """
        if self.log is None:
            return None
        return monitor(self.log.checkpoint, self.log.entries(), self.result.published)

    @cached_property
    def standing(self) -> Standing | None:
        """How the result stands since it was published; None where neither log nor statements are at hand.

        Raises:
            UsageError, UnreachableError, FormatError, SignatureError: the log cannot be read, or is another one.
        """
        if self.fetch is None and not self.statements:
            return None
        session, result = self.record.open.payload_digest, self.result_envelope.payload_digest
        about = Published(session, result, self.roster, self.opening.supersedes or "")
        return standing_of(about, self.monitored, self.statements)

    @cached_property
    def record(self) -> SessionRecord:
        """The signed messages of the session."""
        return SessionRecord.from_members(of_record(self.members))

    @cached_property
    def spec(self) -> Spec:
        """The benchmark spec."""
        return parse_spec_json(self.record.spec)

    @cached_property
    def opening(self) -> SessionOpen:
        """The opening of the session."""
        return _predicate_of(self.record.open, SessionOpen, "open")

    @cached_property
    def joins(self) -> Mapping[str, Join]:
        """The joins, by the institution that the member's name gives."""
        return {name: _predicate_of(item, Join, f"join of {name}") for name, item in self.record.joins.items()}

    @cached_property
    def seal(self) -> Seal:
        """The seal."""
        return _predicate_of(self.record.seal, Seal, "seal")

    @cached_property
    def contributions(self) -> Mapping[str, Contribution]:
        """The contributions, by the institution that the member's name gives."""
        return {
            name: _predicate_of(item, Contribution, f"contribution of {name}")
            for name, item in self.record.contributions.items()
        }

    @cached_property
    def checked(self) -> Comparison | None:
        """What the contributions say of the clips that two institutions made; None where the spec wants none."""
        manifests = {name: contribution.manifest for name, contribution in self.contributions.items()}
        return compare_checked(self.spec, [join.institution for join in self.seal.joins], manifests)

    @cached_property
    def consistency(self) -> ConsistencyStatement:
        """What the survivors signed before unmasking."""
        return ConsistencyStatement.decode(self.record.survivors.payload)

    @property
    def published(self) -> datetime:
        """Moment of publication, as the coordinator states it."""
        return moment(self.result.published)

    @cached_property
    def roster(self) -> Roster:
        """The roster that the root in the bundle vouches for at the stated moment of publication."""
        return self.record.roster.verify(self.root, self.published)

    @cached_property
    def terms(self) -> SealTerms:
        """What follows from the spec and the joins, computed here.

        Raises:
            PrivacyError: the spec's promise cannot be kept.
            SpecError: a metric of the spec is not in the catalogue or lacks a setting.
        """
        try:
            return seal_terms(self.spec, sorted(item.seat for item in self.seal.joins))
        except ArithmeticError as error:
            raise PrivacyError("the spec's numbers are out of any sensible range") from error

    @cached_property
    def quorum(self) -> int:
        """q: signatures needed, counted on all who joined."""
        return share_threshold(len(self.seal.joins), self.spec.cohort.collusion)

    @cached_property
    def parameters(self) -> Parameters:
        """What the rounds of the last attempt worked with: the sealed facts, led through every restart.

        Raises:
            ProtocolError: a record of a restart that does not hold.
            SessionAbortedError: restarts that leave too few.
        """
        parameters = Parameters(
            session=digest_bytes(self.record.seal.payload_digest),
            roster={item.seat: self.roster.seated(item.seat).public_key for item in self.seal.joins},
            collusion=self.spec.cohort.collusion,
            smallest_cohort=self.terms.smallest_cohort,
            lanes=self.terms.layout.lanes,
        )
        for restart in self.record.restarts:
            parameters = verify_restart(parameters, restart, RESTARTS)
        return parameters

    @cached_property
    def rounds(self) -> Rounds:
        """Rounds 0, 1 and 2 of the last attempt, replayed.

        Raises:
            ProtocolError, SessionAbortedError: as `parameters`, or a header that no honest run contains; names its seat.
        """
        return replay(self.parameters, self.record)

    @cached_property
    def full(self) -> bool:
        """Whether the bundle has the profile `full`, with which unmasking can be played again; a damaged file has none."""
        try:
            return any(is_message(name) for name in self.members)
        except FormatError:
            return False

    @cached_property
    def replayed(self) -> Replayed:
        """The total that the messages give, unmasked again; only of the profile `full`.

        Raises:
            ProtocolError, FormatError: a message is not the one that its sender signed, or they give no total.
        """
        rounds = self.rounds
        transcript = Transcript(self.parameters, rounds.advertised, rounds.shared, rounds.masked)
        names = {seat: self.roster.seated(seat).institution for seat in rounds.masked.seats}
        return replay_unmasking(transcript, read_messages(self.members, names))

    @cached_property
    def survivors(self) -> tuple[Seat, ...]:
        """Seats of U3, ascending."""
        return tuple(sorted(self.rounds.masked.seats))

    @property
    def aggregate(self) -> NDArray[np.uint64]:
        """Sums of the survivors' lanes with their offsets, shape (lanes,), uint64.

        Raises:
            FormatError: not the lanes of the layout.
        """
        expected, found = self.terms.layout.lanes, self.record.aggregate.size
        if expected != found:
            raise FormatError(f"number of lanes in the aggregate: expected {expected}, found {found}.")
        return self.record.aggregate

    @cached_property
    def totals(self) -> NDArray[np.int64]:
        """Sums of the survivors' lanes, shape (lanes,), int64: the aggregate without offset."""
        return decode_totals(self.aggregate, len(self.survivors))


def _predicate_of(envelope: Envelope, kind: type[P], name: str) -> P:
    try:
        predicate, subjects = parse_statement(envelope.payload, kind)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    if subjects:
        raise FormatError(f"{name}: a {kind.kind} statement names no subjects")
    return predicate


def replay(parameters: Parameters, record: SessionRecord) -> Rounds:
    """Return rounds 0, 1 and 2 after checking every signed header in them.

    Raises:
        ProtocolError: a header that no honest run contains; names its seat.
    """
    keys = {
        seat: open_advertised(parameters, seat, signed, seat_peer(seat)) for seat, signed in record.advertised.items()
    }
    check_distinct_keys(list(keys.values()), "transcript")
    advertised = close_advertised(parameters, record.advertised, keys)
    shared = close_shared(
        advertised.t1,
        record.shared,
        {
            seat: open_shared(parameters, advertised.t1, seat, signed, seat_peer(seat))
            for seat, signed in record.shared.items()
        },
    )
    headers = {
        seat: open_masked(parameters, shared, seat, signed, seat_peer(seat)) for seat, signed in record.masked.items()
    }
    return Rounds(advertised, shared, close_masked(advertised, shared, record.masked, headers))


def moment(time: str) -> datetime:
    """Return the moment of a statement's time.

    Raises:
        FormatError: no such day or hour.
    """
    try:
        return datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError(f"{time} is not a moment of the calendar") from error
