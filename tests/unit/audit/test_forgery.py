"""Lies that are signed: the coordinator alone, or with too few accomplices, is caught by the check made for the lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testkit.bundles import (
    COORDINATOR,
    DROPOUT,
    INSTITUTIONS,
    Edits,
    SmallSession,
    Surplus,
    root_signed_as_roster,
    sign,
    small_session,
    small_spec,
)
from vdb_shared.audit.report import Report, Status
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
from vdb_shared.bundle.statement import Contribution, Join, Predicate, Result, Seal, SessionOpen, parse_statement
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.labels import TYPE_STATEMENT
from vdb_shared.layout import count_block
from vdb_shared.seal import MAX_JSON_BYTES
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.spec import parse_spec_json

Forgery = Callable[[SmallSession], bytes]


def outcome(session: SmallSession, data: bytes) -> Report:
    return verify(data, root=session.root)


def first_failure(session: SmallSession, data: bytes) -> str | None:
    failure = verify(data, root=session.root).first_failure
    return failure.id if failure else None


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


def with_clips(session: SmallSession, block: str, change: float, lane: int = 0) -> bytes:
    """Let a member add so many clips to a lane of an exact block."""
    return with_lane(session, block, round(change * 2**session.terms.calibration.public_exponent), lane)


def with_half_clips(session: SmallSession) -> bytes:
    """Let a member move half a clip from one full bin of a histogram to another."""
    block = session.terms.layout.slice_of("public/tiny-wan-a/temporal-flickering@1/histogram")
    half = 2 ** (session.terms.calibration.public_exponent - 1)
    first, second = block.start + np.argsort(session.record.aggregate[block].astype(np.int64))[-2:]
    return with_surplus(session, ((int(first), half), (int(second), -half)))


def with_lane(session: SmallSession, block: str, change: int, lane: int = 0) -> bytes:
    """Let a member add to a lane of a block."""
    return with_surplus(session, ((session.terms.layout.slice_of(block).start + lane, change),))


def with_surplus(session: SmallSession, surplus: Surplus) -> bytes:
    """Return the bundle of a session in which a member adds to its lanes; everything else follows from that."""
    spec = parse_spec_json(session.members[SPEC])
    return small_session.__wrapped__(session.seed, spec, surplus=surplus).bundle()


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


@pytest.mark.parametrize("name", COORDINATOR_ALONE)
def test_the_check_made_for_a_lie_finds_it(session: SmallSession, name: str) -> None:
    expected, forge = COORDINATOR_ALONE[name]
    report = outcome(session, forge(session))
    assert report.first_failure is not None
    assert report.first_failure.id == expected


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("aggregate too short", "number of lanes in the aggregate"),
        ("aggregate too long", "number of lanes in the aggregate"),
        ("noised lane beyond clips and noise", "beyond the"),
        ("negative count", "a count is negative"),
        ("fractional count", "not a whole number"),
        ("more clips than there were to make", "the survivors' share is 32"),
        ("histogram that does not add up", "sum of public/tiny-wan-a/temporal-flickering@1/histogram"),
        ("half clips in a histogram", "histogram: a count is not a whole number"),
        ("mean beyond its range", "has norm"),
        ("squares below the squared mean", "sum of squares"),
        ("embedding beyond its norm", "has norm"),
        ("better score", "near byte"),
        ("smaller cost to privacy", '"epsilon_zcdp":"'),
        ("opening names another spec", "spec of the opening"),
        ("opening names another root", "trust root of the opening"),
        ("opening names another consortium", "consortium of the opening"),
        ("join replayed from another session", "session of the join of clinic-lyon"),
        ("contribution replayed from another session", "session of the contribution of lab-kyoto"),
        ("roster expired", "expired"),
        ("survivors signed by the coordinator too", COORDINATOR),
        ("seal signed by a member", "archive-oslo"),
        ("seal that leaves out a join", "exactly the joins"),
        ("result signed by a member too", "2 signatures"),
        ("accomplices fewer than the quorum", "3 countersignatures, but 4 are needed"),
        ("countersignatures of another result", "another result"),
        ("too few signatures of the survivors", "3 signatures, but 4 are needed"),
    ],
)
def test_the_detail_says_what_was_found(session: SmallSession, name: str, detail: str) -> None:
    failure = outcome(session, COORDINATOR_ALONE[name][1](session)).first_failure
    assert failure is not None
    assert detail in failure.detail


def test_an_impossible_lane_fails_its_own_check_too(session: SmallSession) -> None:
    forged = COORDINATOR_ALONE["lane out of reach of any sum"][1](session)
    (line,) = [line for line in outcome(session, forged).lines if line.id == "V40"]
    assert "exceeds what 4 participants can add up to" in line.detail


def test_a_member_named_twice_is_found(session: SmallSession) -> None:
    payload = parse_canonical_json(Envelope.from_json(session.members[RESULT]).payload)
    payload["subject"].append(payload["subject"][-1])
    envelope = sign_envelope(TYPE_STATEMENT, canonical_json(payload), session.coordinator)
    assert first_failure(session, session.edited({RESULT: envelope.to_json()})) == "V03"


@pytest.mark.parametrize("name", [TRANSCRIPT, "metrics.json", "roster/root.1.json", join("film-studio")])
def test_a_huge_document_is_refused_before_any_is_parsed(session: SmallSession, name: str) -> None:
    """The broken document comes first by name; that only the huge one is reported shows that nothing was parsed."""
    huge = b"[" + b"[]," * (MAX_JSON_BYTES // 3) + b"[]]"
    failure = outcome(session, session.edited({"accounting.json": b"not JSON", name: huge})).first_failure
    assert failure is not None
    assert failure.id == "V02"
    assert failure.detail == f"{name} has {len(huge)} bytes, more than any reader accepts."


def test_an_unknown_member_is_refused_before_any_is_parsed(session: SmallSession) -> None:
    report = outcome(session, session.edited({"accounting.json": b"not JSON", "notes.json": b"[[],[]]"}))
    assert report.first_failure is not None
    assert report.first_failure.id == "V03"
    assert report.first_failure.detail == "notes.json: a bundle has no such member"
    assert {line.status for line in report.lines if line.id == "V02"} == {Status.SKIPPED}


@pytest.mark.parametrize("edits", [{"metrics.json": b"{}"}, {"accounting.json": b"{}"}, {}])
def test_honest_countersignatures_never_cover_a_lie(session: SmallSession, edits: Edits) -> None:
    """Whatever else finds a result that was made anew, V51 does too: nobody honest countersigned it."""
    report = outcome(session, session.forged(edits, software="another"))
    assert "V51" in {line.id for line in report.lines if line.status is Status.FAIL}


def test_the_baseline_of_all_these_verifies(session: SmallSession) -> None:
    assert first_failure(session, session.forged({}, accomplices=(0, 1, 3, 4))) is None


def test_a_masked_input_without_its_own_contribution_is_found(session: SmallSession) -> None:
    """A member that signs a second contribution cannot slip it under the masked input it sent."""
    edit = by_member(session, contribution("lab-kyoto"), Contribution, 3, ledger_entry=DIGEST)
    assert first_failure(session, session.forged(edit, accomplices=(0, 1, 3, 4))) == "V31"


def test_the_spec_digest_is_what_is_compared(session: SmallSession) -> None:
    assert parse_spec_json(session.members[SPEC]).digest == sha256_digest(session.members[SPEC])
