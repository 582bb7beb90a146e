"""Lies about a small session, each with the check that is made for it; every edit is signed by whoever may lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from testkit.bundles import DROPOUT, Edits, SmallSession, small_session
from testkit.forged_sums import with_clips, with_half_clips, with_lane, with_manifest
from testkit.small_specs import small_spec
from testkit.statements import COORDINATOR, INSTITUTIONS, root_signed_as_roster, sign
from vdb_shared.audit.checks import CHECKS
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.report import Report
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.record import (
    AGGREGATE,
    COUNTERSIGN,
    RESULT,
    SPEC,
    SURVIVORS,
    TRANSCRIPT,
    encode_transcript,
)
from vdb_shared.bundle.statement import (
    Contribution,
    Join,
    Predicate,
    Result,
    Seal,
    SessionOpen,
    parse_statement,
)
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import VdbError, VerificationError
from vdb_shared.labels import TYPE_STATEMENT
from vdb_shared.layout import count_block
from vdb_shared.secagg.encoding import LANE_OFFSET

Forgery = Callable[[SmallSession], bytes]


def outcome(session: SmallSession, data: bytes) -> Report:
    return verify(data, root=session.root)


def first_failure(session: SmallSession, data: bytes) -> str | None:
    failure = verify(data, root=session.root).first_failure
    return failure.id if failure else None


def check_named(session: SmallSession, data: bytes, check: str) -> str:
    """Return the check that the error itself names, when a check is tried alone; or its own id where its error names none."""
    (made,) = [item for item in CHECKS if item.id == check]
    try:
        made.attempt(Evidence(data, session.root, DEFAULT_POLICY, draft=False))
    except VerificationError as error:
        return error.check
    except VdbError:
        return check
    return "none"


def statement(session: SmallSession, name: str, kind: type[Predicate], **changes: Any) -> Predicate:
    predicate, _ = parse_statement(Envelope.from_json(session.members[name]).payload, kind)
    return predicate.model_copy(update=changes)


def by_coordinator(session: SmallSession, name: str, kind: type[Predicate], **changes: Any) -> Edits:
    return {name: sign(statement(session, name, kind, **changes), session.coordinator).to_json()}


def by_member(session: SmallSession, name: str, kind: type[Predicate], seat: int, **changes: Any) -> Edits:
    return {name: sign(statement(session, name, kind, **changes), session.key(seat)).to_json()}


def document(session: SmallSession, name: str, change: Callable[[Any], object]) -> Edits:
    value = parse_canonical_json(session.members[name])
    change(value)
    return {name: canonical_json(value)}


def contribution(institution: str) -> str:
    return f"contributions/{institution}.dsse.json"


def join(institution: str) -> str:
    return f"joins/{institution}.dsse.json"


DIGEST = "sha256:" + "0" * 64


def other_spec(session: SmallSession) -> SmallSession:
    """A session of the same institutions about another spec."""
    return small_session(session.seed, small_spec(title='"Another benchmark"'))


def unsigned(session: SmallSession, count: int, name: str = SURVIVORS) -> Edits:
    envelope = Envelope.from_json(session.members[name])
    return {name: replace(envelope, signatures=envelope.signatures[:count]).to_json()}


def transcript_without(session: SmallSession, seat: int) -> Edits:
    record = session.record
    masked = {key: value for key, value in record.masked.items() if key != seat}
    return {TRANSCRIPT: encode_transcript(record.advertised, record.shared, masked)}


def transcript_with_repeated_header(session: SmallSession) -> Edits:
    record = session.record
    return {TRANSCRIPT: encode_transcript(record.advertised, {**record.shared, 0: record.shared[1]}, record.masked)}


def transcript_replayed(session: SmallSession) -> Edits:
    return {TRANSCRIPT: other_spec(session).members[TRANSCRIPT]}


def said_to_drop_out_earlier(session: SmallSession) -> bytes:
    result, _ = parse_statement(Envelope.from_json(session.members[RESULT]).payload, Result)
    return session.forged({}, dropped=(result.dropped[0].model_copy(update={"stage": "joined"}),))


def with_unknown_field(session: SmallSession) -> Edits:
    value = parse_canonical_json(session.record.seal.payload)
    value["predicate"]["extra"] = "x"
    return {"seal.dsse.json": sign_envelope(TYPE_STATEMENT, canonical_json(value), session.coordinator).to_json()}


COORDINATOR_ALONE: dict[str, tuple[str, Forgery]] = {
    "document that two readers may read differently": (
        "V02",
        lambda s: s.forged({SPEC: s.members[SPEC].replace(b":", b": ", 1)}),
    ),
    "member too many": ("V03", lambda s: s.forged({"notes.json": b"{}"})),
    "member missing": ("V03", lambda s: s.forged({"accounting.json": None})),
    "join missing": ("V20", lambda s: s.forged({join("film-studio"): None})),
    "unlisted member": ("V03", lambda s: s.edited({"joins/zzz.dsse.json": s.members[join("film-studio")]})),
    "edited member": ("V04", lambda s: s.edited(document(s, "metrics.json", lambda v: v.update(confidence="0.99")))),
    "other bundle version": ("V05", lambda s: s.forged({"vdb-bundle": b"vdb-bundle/0\n"})),
    "unknown field in a statement": (
        "V05",
        lambda s: s.forged(with_unknown_field(s)),
    ),
    "statement of another type": ("V05", lambda s: s.forged({"seal.dsse.json": s.members["open.dsse.json"]})),
    "roster of another consortium": (
        "V10",
        lambda s: s.forged({name: small_session(9).members[name] for name in s.members if name.startswith("roster")}),
    ),
    "roster edited": (
        "V10",
        lambda s: s.forged(document(s, "roster.json", lambda v: v["members"][0].update(spiffe_id="spiffe://a/b"))),
    ),
    "root metadata in the place of the roster's": (
        "V10",
        lambda s: s.forged({"roster/targets.json": root_signed_as_roster(s.seed)}),
    ),
    "roster expired": ("V10", lambda s: s.forged({}, published="2045-01-31T12:00:00Z")),
    "day that does not exist": ("V10", lambda s: s.forged({}, published="2026-02-31T12:00:00Z")),
    "contribution of the dropout by the coordinator": (
        "V11",
        lambda s: s.forged(
            {
                contribution("film-studio"): sign(
                    statement(s, contribution("lab-kyoto"), Contribution, institution="film-studio", seat=DROPOUT),
                    s.coordinator,
                ).to_json()
            }
        ),
    ),
    "join signed by another member": (
        "V11",
        lambda s: s.forged(by_member(s, join("clinic-lyon"), Join, 0)),
    ),
    "seal signed by a member": ("V11", lambda s: s.forged(by_member(s, "seal.dsse.json", Seal, 0))),
    "join of the coordinator": (
        "V11",
        lambda s: s.forged({join(COORDINATOR): sign(statement(s, join("lab-kyoto"), Join), s.coordinator).to_json()}),
    ),
    "survivors signed by the coordinator too": (
        "V11",
        lambda s: s.forged(
            {
                SURVIVORS: s.record.survivors.with_signatures(
                    sign(statement(s, "seal.dsse.json", Seal), s.coordinator).signatures
                ).to_json()
            }
        ),
    ),
    "signature over other bytes": (
        "V12",
        lambda s: s.forged(
            {
                join("clinic-lyon"): replace(
                    s.record.joins["clinic-lyon"],
                    payload=s.record.joins["clinic-lyon"].payload.replace(b'"seat":1', b'"seat":0'),
                ).to_json()
            }
        ),
    ),
    "survivor list of other bytes": (
        "V12",
        lambda s: s.forged(
            {SURVIVORS: replace(s.record.survivors, payload=other_spec(s).record.survivors.payload).to_json()}
        ),
    ),
    "spec changed after the joins": (
        "V20",
        lambda s: s.forged({SPEC: s.members[SPEC].replace(b'"epsilon":"8"', b'"epsilon":"9"')}),
    ),
    "opening names another spec": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "open.dsse.json", SessionOpen, spec=DIGEST)),
    ),
    "opening names another root": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "open.dsse.json", SessionOpen, root=DIGEST)),
    ),
    "opening names another consortium": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "open.dsse.json", SessionOpen, consortium="other")),
    ),
    "opening made anew": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "open.dsse.json", SessionOpen, nonce="0" * 64)),
    ),
    "join replayed from another session": (
        "V20",
        lambda s: s.forged({join("clinic-lyon"): other_spec(s).members[join("clinic-lyon")]}),
    ),
    "contribution replayed from another session": (
        "V20",
        lambda s: s.forged({contribution("lab-kyoto"): other_spec(s).members[contribution("lab-kyoto")]}),
    ),
    "seal with a smaller cohort": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, smallest_cohort=3)),
    ),
    "seal with less noise": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, noise_multiplier="0.1")),
    ),
    "seal with a larger scale": ("V20", lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, scale="90000"))),
    "seal of another layout": ("V20", lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, layout=DIGEST))),
    "seal with other lanes": ("V20", lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, lanes=1))),
    "seal with other private lanes": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, private_lanes=0)),
    ),
    "seal with other public work": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, public_tasks=1)),
    ),
    "seal with other generators": (
        "V20",
        lambda s: s.forged(by_coordinator(s, "seal.dsse.json", Seal, generators=DIGEST)),
    ),
    "seal that leaves out a join": (
        "V20",
        lambda s: s.forged(
            by_coordinator(s, "seal.dsse.json", Seal, joins=statement_joins(s)[:-1]),
        ),
    ),
    "result of another session": ("V20", lambda s: s.forged({}, session=DIGEST)),
    "result of another seal": ("V20", lambda s: s.forged({}, seal=DIGEST)),
    "published before it was sealed": ("V21", lambda s: s.forged({}, published="2026-01-31T12:05:00Z")),
    "result names another T1": ("V30", lambda s: s.forged({}, t1="0" * 64)),
    "result names another T2": ("V30", lambda s: s.forged({}, t2="0" * 64)),
    "result names another T3": ("V30", lambda s: s.forged({}, t3="0" * 64)),
    "transcript of another session": ("V30", lambda s: s.forged(transcript_replayed(s))),
    "one header in two seats": ("V30", lambda s: s.forged(transcript_with_repeated_header(s))),
    "masked input left out": ("V30", lambda s: s.forged(transcript_without(s, 4))),
    "contribution left out": ("V31", lambda s: s.forged({contribution("lab-kyoto"): None})),
    "too few signatures of the survivors": ("V32", lambda s: s.forged(unsigned(s, 3))),
    "survivor that was none": ("V32", lambda s: s.forged({}, survivors=INSTITUTIONS)),
    "survivor kept quiet": ("V32", lambda s: s.forged({}, survivors=("archive-oslo", "clinic-lyon", "lab-kyoto"))),
    "dropout kept quiet": ("V32", lambda s: s.forged({}, dropped=())),
    "dropout said to be earlier": ("V32", said_to_drop_out_earlier),
    "clips of another profile": ("V34", lambda s: with_manifest(s, "profile", "fast")),
    "a profile chosen by the member itself": ("V34", lambda s: with_manifest(s, "profile", "auto")),
    "another profile for one model": (
        "V34",
        lambda s: with_manifest(s, "environment", {"profile of tiny-wan-b": "balanced"}),
    ),
    "aggregate too short": ("V34.commitments", lambda s: s.forged({AGGREGATE: s.members[AGGREGATE][:-8]})),
    "aggregate too long": ("V34.commitments", lambda s: s.forged({AGGREGATE: s.members[AGGREGATE] + bytes(8)})),
    "lane out of reach of any sum": (
        "V34.commitments",
        lambda s: s.forged({AGGREGATE: b"\xff" * 8 + s.members[AGGREGATE][8:]}),
    ),
    "noised lane beyond clips and noise": (
        "V40",
        lambda s: with_lane(s, count_block("reference"), 4 * LANE_OFFSET // 100),
    ),
    "negative count": ("V40", lambda s: with_clips(s, count_block("public", "tiny-wan-a"), -1, lane=1)),
    "fractional count": ("V40", lambda s: with_lane(s, count_block("public", "tiny-wan-a"), 1)),
    "more clips than there were to make": (
        "V40",
        lambda s: with_clips(s, count_block("public", "tiny-wan-a"), 9, lane=1),
    ),
    "histogram that does not add up": (
        "V40",
        lambda s: with_clips(s, "public/tiny-wan-a/temporal-flickering@1/histogram", 1),
    ),
    "half clips in a histogram": ("V40", with_half_clips),
    "mean beyond its range": (
        "V40",
        lambda s: with_clips(s, "public/tiny-wan-a/temporal-flickering@1/moments", 30),
    ),
    "squares below the squared mean": (
        "V40",
        lambda s: with_clips(s, "public/tiny-wan-a/temporal-flickering@1/moments", -2, lane=1),
    ),
    "embedding beyond its norm": (
        "V40",
        lambda s: with_clips(s, "public/tiny-wan-a/mmd-rff@1/embedding", 40),
    ),
    "better score": (
        "V41",
        lambda s: s.forged(document(s, "metrics.json", lambda v: v["results"][0].update(value="0.999"))),
    ),
    "narrower interval": (
        "V41",
        lambda s: s.forged(document(s, "metrics.json", lambda v: v["results"][0].update(low=v["results"][0]["value"]))),
    ),
    "better rank": (
        "V41",
        lambda s: s.forged(document(s, "metrics.json", lambda v: v["results"][0].update(ranks=[1, 1]))),
    ),
    "smaller cost to privacy": (
        "V42",
        lambda s: s.forged(document(s, "accounting.json", lambda v: v.update(epsilon_zcdp="0.1"))),
    ),
    "says not to be private": ("V42", lambda s: s.forged({}, private=False)),
    "result signed by a member": (
        "V50",
        lambda s: s.edited(
            {
                RESULT: replace(
                    Envelope.from_json(s.members[RESULT]),
                    signatures=sign(statement(s, "seal.dsse.json", Seal), s.key(0)).signatures,
                ).to_json()
            }
        ),
    ),
    "result signed by a member too": (
        "V50",
        lambda s: s.edited(
            {
                RESULT: Envelope.from_json(s.members[RESULT])
                .with_signatures(Envelope.from_json(s.members[COUNTERSIGN]).signatures[:1])
                .to_json()
            }
        ),
    ),
    "countersignatures of another result": ("V51", lambda s: s.forged({}, software="another")),
    "too few countersignatures": ("V51", lambda s: s.edited(unsigned(s, 3, COUNTERSIGN))),
    "accomplices fewer than the quorum": ("V51", lambda s: s.forged({}, accomplices=(0, 1, 3), software="another")),
    "accomplice that is not in the sum": ("V51", lambda s: s.forged({}, accomplices=(0, 1, DROPOUT, 3), software="x")),
    "countersignature of the coordinator": (
        "V51",
        lambda s: s.edited(
            {
                COUNTERSIGN: Envelope.from_json(unsigned(s, 3, COUNTERSIGN)[COUNTERSIGN] or b"")
                .with_signatures(Envelope.from_json(s.members[RESULT]).signatures)
                .to_json()
            }
        ),
    ),
}


def statement_joins(session: SmallSession) -> tuple[Any, ...]:
    predicate, _ = parse_statement(session.record.seal.payload, Seal)
    return predicate.joins
