"""Small result bundles, made the way a real session makes them: signed, masked, summed, published, countersigned.

Only data and noise are made up, and follow from a seed. `SmallSession` keeps every key, so that a test can edit a member
and sign again in the name of whomever its adversary controls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from testkit.checked import checked_clips
from testkit.consortium import signer
from testkit.fates import Fate, Rounds
from testkit.logs import MadeLog
from testkit.made_up import noised_lanes
from testkit.small_specs import small_spec
from testkit.statements import (
    INSTITUTIONS,
    SOFTWARE,
    Twist,
    coordinator_key,
    make_join,
    make_opening,
    make_roster,
    make_seal,
    sign,
    twisted,
)
from vdb_shared import labels
from vdb_shared.audit.figures import accounting_json, metrics_json
from vdb_shared.bundle.archive import write_archive
from vdb_shared.bundle.envelope import Envelope, EnvelopeSignature
from vdb_shared.bundle.logged import opened_entry, published_entry
from vdb_shared.bundle.messages import KeptMessages
from vdb_shared.bundle.record import (
    ACCOUNTING,
    COUNTERSIGN,
    METRICS,
    RESULT,
    RESULT_PROOF,
    SessionRecord,
    read_envelope,
    subjects_of,
)
from vdb_shared.bundle.record import SPEC as SPEC_MEMBER
from vdb_shared.bundle.statement import (
    Contribution,
    Dropped,
    NamedDigest,
    Result,
    RunManifest,
    SessionOpen,
    Statement,
    parse_statement,
)
from vdb_shared.canonical import digest_bytes, digest_string, sha256_digest
from vdb_shared.checked_clips import Comparison, compare_checked
from vdb_shared.errors import FormatError, SpecError
from vdb_shared.identity import StatementKey
from vdb_shared.roster import SignedRoster
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.secagg.messages import MaskedInputHeader
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.tasks import public_tasks, shard
from vdb_shared.transparency.proof import LogProof

DROPOUT: Seat = 2
LIAR: Seat = 3

Edits = Mapping[str, bytes | None]
"""Members to replace, or to remove when None."""

Surplus = tuple[tuple[int, int], ...]
"""Lanes, and what is added to each."""


@dataclass(frozen=True)
class Past:
    """What a session comes after: entries of the log, a session whose result it is to replace, an auditor who was admitted.

    Attributes:
        entries: of the log before its opening.
        meanwhile: between its opening and its seal.
        supersedes: session whose result it is to replace.
        auditor: whether the roster has one.
    """

    entries: tuple[bytes, ...] = ()
    supersedes: str | None = None
    auditor: bool = False
    meanwhile: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class SmallSession:
    """A finished session with all its keys.

    Attributes:
        record: what the session left behind.
        members: of the published bundle.
        seed: from which everything followed.
        terms: of the seal.
        past: what it comes after.
        messages: what the total was made of.
    """

    record: SessionRecord
    members: Mapping[str, bytes]
    seed: object
    terms: SealTerms
    messages: KeptMessages
    past: Past = Past()

    @property
    def coordinator(self) -> StatementKey:
        """The coordinator's statement key."""
        return coordinator_key(self.seed)

    @property
    def log(self) -> MadeLog:
        """The consortium's log as it was before the result."""
        made = log_of(self.record.open, parse_spec_json(self.record.spec), self.seed, self.past.entries)
        return MadeLog(made.consortium, made.signer, [*made.entries, *self.past.meanwhile])

    @property
    def root(self) -> str:
        """Fingerprint of the trust root."""
        return self.record.roster.root_fingerprint

    def key(self, seat: Seat) -> StatementKey:
        """The statement key of a seat."""
        return signer(self.seed, seat)

    def bundle(self) -> bytes:
        """Return the published bundle."""
        return write_archive(self.members)

    def full(self, edits: Edits | None = None) -> bytes:
        """Return the published bundle in the profile `full`, with members replaced or removed, nothing signed again."""
        names = {seat: INSTITUTIONS[seat] for seat in self.record.masked}
        return write_archive(apply_edits({**self.members, **self.messages.members(names)}, edits or {}))

    def edited(self, edits: Edits) -> bytes:
        """Return the bundle with members replaced or removed, nothing signed again."""
        return write_archive(apply_edits(self.members, edits))

    def forged(self, edits: Edits, *, accomplices: Collection[Seat] = (), **result: Any) -> bytes:
        """Return the bundle with members replaced, and the result signed again over them.

        Args:
            edits: members.
            accomplices: seats that countersign the forged result; if none do, the honest countersignatures stay.
            result: fields of the result to replace.
        """
        members = apply_edits(self.members, edits)
        members.pop(RESULT, None)
        predicate = result_of(self.record, self.terms).model_copy(update=result)
        return write_archive(sign_result(members, predicate, self.seed, accomplices, self.log))


def apply_edits(members: Mapping[str, bytes], edits: Edits) -> dict[str, bytes]:
    """Return members with these replaced or removed."""
    return {name: data for name, data in {**members, **edits}.items() if data is not None}


@cache
def small_session(  # noqa: PLR0917 - each is one thing that may be unusual in a session
    seed: object = 0,
    spec: Spec | None = None,
    liar: Seat | None = None,
    twist: Twist | None = None,
    fate: Fate = Fate.DROPS_OUT,
    surplus: Surplus = (),
    witnesses: tuple[Seat, ...] = tuple(range(len(INSTITUTIONS))),
    log_key: StatementKey | None = None,
    past: Past = Past(),
) -> SmallSession:
    """Return a session of five institutions, of whom one is not in the sum, unless its fate is to stay.

    Args:
        seed: of keys, data and noise.
        spec: of the benchmark.
        liar: seat of a member that declares other weights than the spec's and a clip that failed, or None.
        twist: a field of one statement that everybody signs as if it were right, or None.
        fate: of `DROPOUT`.
        surplus: what `LIAR` adds to lanes beyond what it measured.
        witnesses: who saw the opening in the log before the seal.
        log_key: with which the log is signed, if not with the coordinator's.
        past: what it comes after.
    """
    spec = spec or small_spec()
    roster = make_roster(seed, auditor=past.auditor)
    opening = make_opening(spec, roster, seed, twist, past.supersedes)
    joins = {name: make_join(opening, spec, roster, seat, seed, twist) for seat, name in enumerate(INSTITUTIONS)}
    terms = seal_terms(spec, range(len(INSTITUTIONS)))
    made = log_of(opening, spec, seed, past.entries)
    log = MadeLog(made.consortium, made.signer, [*made.entries, *past.meanwhile])
    announced = MadeLog(log.consortium, log_key or log.signer, log.entries)
    seen = announced.proof(len(past.entries), witnesses_of(seed, witnesses))
    seal = sign(twisted(make_seal(opening, spec, roster, joins, terms, seen), twist), coordinator_key(seed))
    record, messages = run_rounds(
        SealedSession(spec, roster, opening, seen, joins, seal, terms, seed, liar, twist, fate, surplus)
    )
    members = record.members()
    members[METRICS] = metrics_json(spec, terms, totals_of(record), len(record.masked), comparison_of(record))
    members[ACCOUNTING] = accounting_json(terms)
    published = sign_result(members, result_of(record, terms), seed, sorted(record.masked), log)
    return SmallSession(record, published, seed, terms, messages, past)


def sample_bundle() -> bytes:
    """Return a small bundle that verifies."""
    return small_session().bundle()


@dataclass(frozen=True)
class SealedSession:
    """A session after its seal, before its rounds."""

    spec: Spec
    roster: SignedRoster
    opening: Envelope
    open_proof: LogProof
    joins: Mapping[str, Envelope]
    seal: Envelope
    terms: SealTerms
    seed: object
    liar: Seat | None = None
    twist: Twist | None = None
    fate: Fate = Fate.DROPS_OUT
    surplus: Surplus = ()

    @property
    def parameters(self) -> Parameters:
        """What the rounds work with."""
        return Parameters(
            session=digest_bytes(self.seal.payload_digest),
            roster={seat: signer(self.seed, seat).public_key for seat in range(len(INSTITUTIONS))},
            collusion=self.spec.cohort.collusion,
            smallest_cohort=self.terms.smallest_cohort,
            lanes=self.terms.layout.lanes,
        )


def run_rounds(sealed: SealedSession) -> tuple[SessionRecord, KeptMessages]:
    """Return the record of a session in which its fate befalls the seat `DROPOUT`, and what its total was made of."""
    inputs = {seat: noised_lanes(sealed.spec, sealed.terms, sealed.seed, seat) for seat in range(len(INSTITUTIONS))}
    for lane, change in sealed.surplus:
        inputs[LIAR][lane] += change
    rounds = Rounds(
        sealed.parameters,
        inputs,
        sealed.seed,
        lambda seat, masked: make_contribution(sealed, seat, masked),
        victim=DROPOUT,
    )
    finished = rounds.play(sealed.fate)
    summed = finished.summed
    transcript = summed.transcript
    signatures = sorted(
        (
            EnvelopeSignature(signer(sealed.seed, seat).public_key.key_id, data)
            for seat, data in summed.signatures.items()
        ),
        key=lambda item: item.key_id,
    )
    record = SessionRecord(
        spec=sealed.spec.canonical(),
        roster=sealed.roster,
        open=sealed.opening,
        open_proof=sealed.open_proof,
        joins=sealed.joins,
        seal=sealed.seal,
        restarts=finished.restarts,
        advertised=transcript.advertised.messages,
        shared=transcript.shared.messages,
        masked=transcript.masked.messages,
        contributions={INSTITUTIONS[seat]: item for seat, item in finished.contributions.items()},
        survivors=Envelope(labels.TYPE_CONSISTENCY, transcript.masked.statement.encode(), tuple(signatures)),
        aggregate=(summed.totals + len(summed.survivors) * LANE_OFFSET).astype(np.uint64),
        blinders=summed.blinders,
    )
    return record, finished.messages


def comparison_of(record: SessionRecord) -> Comparison | None:
    """Return what the contributions in a record say of clips that two institutions made."""
    manifests = {
        name: parse_statement(item.payload, Contribution)[0].manifest for name, item in record.contributions.items()
    }
    return compare_checked(parse_spec_json(record.spec), INSTITUTIONS, manifests)


def totals_of(record: SessionRecord) -> NDArray[np.int64]:
    """Return the sums in a record, offset removed."""
    return record.aggregate.astype(np.int64) - len(record.masked) * LANE_OFFSET


def make_contribution(sealed: SealedSession, seat: Seat, masked: bytes) -> Envelope:
    """Return the contribution statement of a seat."""
    spec = sealed.spec
    agreed = spec.generation
    meant = "exact" if agreed.clip_class == "exact" else "fast"
    auto = {f"profile of {model.id}": meant for model in spec.models} if agreed.profile == "auto" else {}
    manifest = RunManifest(
        environment={"python": "3.11"} | auto,
        models=tuple(
            NamedDigest(id=model.id, manifest=sha256_digest(b"other") if seat == sealed.liar else model.manifest)
            for model in spec.models
        ),
        extractors=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.extractors),
        profile=agreed.profile,
        public_clips_made=len(shard(public_tasks(spec), sealed.terms.position(seat), len(sealed.terms.seats))),
        public_clips_failed=int(seat == sealed.liar),
        sample_root=sha256_digest(b"samples"),
        checked=checked_clips(spec, sealed.terms.position(seat), len(sealed.terms.seats)),
    )
    contribution = Contribution(
        session=sealed.opening.payload_digest,
        seal=sealed.seal.payload_digest,
        institution=INSTITUTIONS[seat],
        seat=seat,
        masked_input=digest_string(masked),
        ledger_entry=sha256_digest(b"ledger"),
        manifest=manifest,
    )
    return sign(twisted(contribution, sealed.twist), signer(sealed.seed, seat))


def result_of(record: SessionRecord, terms: SealTerms) -> Result:
    """Return the result of a record in which nobody but perhaps `DROPOUT` is not in the sum."""
    headers = {seat: MaskedInputHeader.decode(signed.body) for seat, signed in record.masked.items()}
    t3 = record.survivors.payload[8:40]
    return Result(
        session=record.open.payload_digest,
        seal=record.seal.payload_digest,
        survivors=tuple(INSTITUTIONS[seat] for seat in sorted(record.masked)),
        dropped=tuple(
            Dropped(institution=INSTITUTIONS[seat], seat=seat, stage="left-out" if record.restarts else "shared-keys")
            for seat in sorted({DROPOUT} - record.masked.keys())
        ),
        t1=record.shared[0].body[8:40].hex(),
        t2=headers[0].t2.hex(),
        t3=t3.hex(),
        private=terms.calibration.promise.mechanism != "none",
        published="2026-01-31T12:40:00Z",
        software=SOFTWARE,
    )


def log_of(opening: Envelope, spec: Spec, seed: object, before: tuple[bytes, ...] = ()) -> MadeLog:
    """Return the log of a consortium that has just opened this session, after other entries."""
    statement, _ = parse_statement(opening.payload, SessionOpen)
    entry = opened_entry(opening.payload_digest, statement, spec.deadlines)
    return MadeLog("testbed", coordinator_key(seed), [*before, entry])


def logged(session: SmallSession) -> MadeLog:
    """Return the log after a session's result."""
    result = read_envelope(session.members, RESULT)
    delta = parse_spec_json(session.record.spec).privacy.delta
    entry = published_entry(result.payload, session.members[ACCOUNTING], delta)
    return MadeLog(session.log.consortium, session.log.signer, [*session.log.entries, entry])


def witnesses_of(seed: object, seats: Iterable[Seat]) -> dict[str, StatementKey]:
    """Return the keys with which these seats witness the log, by institution."""
    return {INSTITUTIONS[seat]: signer(seed, seat) for seat in seats}


def sign_result(
    members: Mapping[str, bytes], result: Result, seed: object, countersigners: Collection[Seat], log: MadeLog
) -> dict[str, bytes]:
    """Return members with the result, signed by the coordinator.

    If there are countersigners, they sign it too, the coordinator logs it, and they witness the log.
    """
    statement = Statement(subjects_of(members), result)
    signed = {**members, RESULT: statement.sign(coordinator_key(seed)).to_json()}
    if not countersigners:
        return signed
    countersign = statement.sign(*(signer(seed, seat) for seat in countersigners))
    signed[COUNTERSIGN] = countersign.to_json()
    try:
        entry = published_entry(
            countersign.payload, members[ACCOUNTING], parse_spec_json(members[SPEC_MEMBER]).privacy.delta
        )
    except (FormatError, SpecError, KeyError):
        return signed  # what is forged cannot be logged; the proof stays, if there was one
    grown = MadeLog(log.consortium, log.signer, [*log.entries, entry])
    signed[RESULT_PROOF] = grown.proof(len(log.entries), witnesses_of(seed, countersigners)).to_bytes()
    return signed
