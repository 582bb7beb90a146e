"""From a finished session to its bundle: the record, the figures, the coordinator's signed result.

Promises that the same session, time and key give the same bytes, and that every figure comes from the functions an auditor
runs. Leaves durability to the conductor and countersigning to the survivors.

Source: protos/README.md §9.4, §9.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from vdb_coordinator.rounds import Summed
from vdb_coordinator.states import Aggregating
from vdb_shared import labels
from vdb_shared.audit.figures import accounting_json, metrics_json
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.envelope import Envelope, EnvelopeSignature
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
from vdb_shared.bundle.statement import (
    Contribution,
    Dropped,
    DroppedStage,
    Result,
    Seal,
    Statement,
    Time,
    parse_statement,
)
from vdb_shared.checked_clips import compare_checked
from vdb_shared.identity import Signer
from vdb_shared.roster import Roster, parse_roster
from vdb_shared.seal import seal_terms
from vdb_shared.secagg.encoding import LANE_OFFSET, decode_totals
from vdb_shared.secagg.messages import ConsistencyStatement, MaskedInputHeader, SharedKeysHeader
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.transparency.proof import LogProof


def record_of(state: Aggregating, summed: Summed) -> SessionRecord:
    """Return what a session leaves behind once its sum is known."""
    opening, known = state.opening, summed.transcript
    survivors = sorted(known.survivors)
    offset = len(survivors) * LANE_OFFSET
    return SessionRecord(
        spec=opening.spec_bytes,
        roster=opening.signed_roster,
        open=opening.open,
        open_proof=state.sealed.open_proof,
        joins=_by_institution(opening.roster, state.sealed.joins),
        seal=state.sealed.seal,
        restarts=state.restarts,
        advertised=known.advertised.messages,
        shared=known.shared.messages,
        masked=known.masked.messages,
        contributions=_by_institution(opening.roster, {seat: state.contributions[seat] for seat in survivors}),
        survivors=_survivors(opening.roster, known.masked.statement, summed.signatures),
        aggregate=summed.totals.view(np.uint64) + np.uint64(offset),
        blinders=summed.blinders,
    )


def build_result(record: SessionRecord, published: Time, signer: Signer, software: str) -> dict[str, bytes]:
    """Return the members of a draft: the record, the figures that follow from it, and the signed result over all of them.

    Raises:
        SpecError, PrivacyError, StatisticError: the record does not keep what its spec promises.
    """
    spec = parse_spec_json(record.spec)
    seal, _ = parse_statement(record.seal.payload, Seal)
    terms = seal_terms(spec, [join.seat for join in seal.joins])
    survivors = sorted(record.masked)
    totals = decode_totals(record.aggregate, len(survivors))
    manifests = {
        name: parse_statement(envelope.payload, Contribution)[0].manifest
        for name, envelope in record.contributions.items()
    }
    checked = compare_checked(spec, [join.institution for join in seal.joins], manifests)
    members = {
        **record.members(),
        METRICS: metrics_json(spec, terms, totals, len(survivors), checked),
        ACCOUNTING: accounting_json(terms),
    }
    result = _result(record, spec, seal, published, software)
    envelope = Statement(subjects_of(members), result).sign(signer)
    return {**members, RESULT: envelope.to_json()}


def draft_archive(record: SessionRecord, published: Time, signer: Signer, software: str) -> bytes:
    """Return the bundle that survivors verify and countersign; raises as `build_result`."""
    return write_archive(build_result(record, published, signer, software))


def final_archive(draft: bytes, countersignatures: Iterable[Envelope], proof: LogProof) -> bytes:
    """Return the published bundle: the draft with all countersignatures, and the proof that its result stands in the log."""
    members = read_archive(draft)
    result = read_envelope(members, RESULT)
    signatures = sorted((item.signatures[0] for item in countersignatures), key=lambda signature: signature.key_id)
    countersign = Envelope(result.payload_type, result.payload, tuple(signatures))
    return write_archive({**members, COUNTERSIGN: countersign.to_json(), RESULT_PROOF: proof.to_bytes()})


def full_archive(published: bytes, names: Mapping[Seat, str], messages: KeptMessages) -> bytes:
    """Return a published bundle in the profile `full`: with the messages that its total was made of.

    The result does not name them, since each is bound by its sender's signature.

    Raises:
        FormatError: together they are more than a bundle may hold.
    """
    return write_archive({**read_archive(published), **messages.members(names)})


def _result(record: SessionRecord, spec: Spec, seal: Seal, published: Time, software: str) -> Result:
    roster = parse_roster(record.roster.roster)
    statement = ConsistencyStatement.decode(record.survivors.payload)
    survivors = sorted(statement.masked)
    left_out = frozenset(restart.dealer for restart in record.restarts)
    return Result(
        session=seal.session,
        seal=record.seal.payload_digest,
        survivors=tuple(roster.seated(seat).institution for seat in survivors),
        dropped=tuple(
            Dropped(institution=join.institution, seat=join.seat, stage=_stage(statement, left_out, join.seat))
            for join in seal.joins
            if join.seat not in statement.masked
        ),
        t1=SharedKeysHeader.decode(record.shared[survivors[0]].body).t1.hex(),
        t2=MaskedInputHeader.decode(record.masked[survivors[0]].body).t2.hex(),
        t3=statement.t3.hex(),
        private=spec.privacy.mechanism != "none",
        published=published,
        software=software,
    )


def _stage(statement: ConsistencyStatement, left_out: frozenset[Seat], seat: Seat) -> DroppedStage:
    """Return why a seat is not in the sum: left out by a restart, or the last message it sent in the last attempt."""
    if seat in left_out:
        return "left-out"
    if seat in statement.shared:
        return "shared-keys"
    return "advertised-keys" if seat in statement.advertised else "joined"


def _survivors(roster: Roster, statement: ConsistencyStatement, signatures: Mapping[Seat, bytes]) -> Envelope:
    """Return the consistency statement with the signatures that survivors made over it."""
    entries = (EnvelopeSignature(roster.seated(seat).public_key.key_id, sig) for seat, sig in signatures.items())
    ordered = tuple(sorted(entries, key=lambda entry: entry.key_id))
    return Envelope(labels.TYPE_CONSISTENCY, statement.encode(), ordered)


def _by_institution(roster: Roster, envelopes: Mapping[Seat, Envelope]) -> dict[str, Envelope]:
    return {roster.seated(seat).institution: envelope for seat, envelope in envelopes.items()}
