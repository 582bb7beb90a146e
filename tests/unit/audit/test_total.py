"""A total that is not the sum, or rounds that were not restarted as the bundle says: found even if all survivors sign it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from testkit.bundles import DROPOUT, Edits, SmallSession, comparison_of, small_session
from testkit.fates import COMPLAINER, Fate
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS
from vdb_shared import labels
from vdb_shared.audit.figures import metrics_json
from vdb_shared.audit.html import report_page
from vdb_shared.audit.report import Report, Status
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.record import (
    AGGREGATE,
    BLINDERS,
    COUNTERSIGN,
    METRICS,
    RESTARTS,
    RESULT,
    SURVIVORS,
    TRANSCRIPT,
    encode_transcript,
)
from vdb_shared.bundle.restarts import encode_restarts
from vdb_shared.bundle.statement import Result, parse_statement
from vdb_shared.secagg.encoding import decode_totals
from vdb_shared.secagg.field import FIELD_ORDER, SCALAR_BYTES, encode_scalars
from vdb_shared.secagg.masking import commitments_digest
from vdb_shared.secagg.messages import (
    Complaint,
    ConsistencyStatement,
    MaskedInputHeader,
    SharedKeysHeader,
    Signed,
)
from vdb_shared.secagg.parameters import BLOCK_LANES, blocks_of
from vdb_shared.secagg.restarts import Restart
from vdb_shared.secagg.transcript import chain
from vdb_shared.secagg.vectors import COMMITMENT_BYTES
from vdb_shared.spec import parse_spec_json

EVERYBODY = (0, 1, 3, 4)
"""Survivors: together with the coordinator they sign whatever they like."""

TOTAL = "V34.commitments"


@pytest.fixture(scope="module")
def session() -> SmallSession:
    """A session of three blocks of lanes, the last one not full."""
    metrics = """[
  { id = "mmd-rff@1", inputs = "public", extractor = "tiny-videomae", features = 1000, bandwidth = 1.0 },
]"""
    small = small_session(3, small_spec(metrics=metrics))
    assert small.terms.layout.lanes % BLOCK_LANES
    assert blocks_of(small.terms.layout.lanes) == 3
    return small


@pytest.fixture(scope="module")
def restarted(plain: SmallSession) -> SmallSession:
    """A session that was restarted without an institution about which another complained."""
    return small_session(plain.seed, parse_spec_json(plain.record.spec), fate=Fate.ACCUSED)


def outcome(session: SmallSession, data: bytes) -> Report:
    return verify(data, root=session.root)


def failures(session: SmallSession, data: bytes) -> dict[str, str]:
    return {line.id: line.detail for line in outcome(session, data).lines if line.status is Status.FAIL}


def sentence(report: Report, check: str) -> str:
    (line,) = [line for line in report.lines if line.id == check]
    return line.sentence


def altered(session: SmallSession, lane: int) -> NDArray[np.uint64]:
    aggregate = session.record.aggregate.copy()
    aggregate[lane] ^= np.uint64(1 << 30)
    return aggregate


def with_figures(session: SmallSession, aggregate: NDArray[np.uint64]) -> Edits:
    """Return a total and the figures that follow from it."""
    spec, survivors = parse_spec_json(session.record.spec), len(session.record.masked)
    totals = decode_totals(aggregate, survivors)
    figures = metrics_json(spec, session.terms, totals, survivors, comparison_of(session.record))
    return {AGGREGATE: aggregate.astype("<u8").tobytes(), METRICS: figures}


def with_blinder(session: SmallSession, block: int) -> Edits:
    blinders = list(session.record.blinders)
    blinders[block] = (blinders[block] + 1) % FIELD_ORDER
    return {BLINDERS: encode_scalars(blinders)}


def with_swapped_sums(session: SmallSession) -> Edits:
    first, second, *others = session.record.blinders
    return {BLINDERS: encode_scalars([second, first, *others])}


def commitments(session: SmallSession, seat: int) -> bytes:
    return MaskedInputHeader.decode(session.record.masked[seat].body).commitments


def unsigned(session: SmallSession, changed: Mapping[int, bytes]) -> Edits:
    """Put other commitments under the signatures that survivors made."""
    record = session.record
    headers = {seat: MaskedInputHeader.decode(record.masked[seat].body) for seat in changed}
    masked = {
        seat: Signed(replace(headers[seat], commitments=changed[seat]).encode(), record.masked[seat].signature)
        for seat in changed
    }
    return {TRANSCRIPT: encode_transcript(record.advertised, record.shared, {**record.masked, **masked})}


def signed(session: SmallSession, first: Mapping[int, bytes], second: Mapping[int, bytes]) -> bytes:
    """Return a bundle of rounds with other commitments, every signature in them made again.

    Args:
        session: the honest one.
        first: commitments by seat whose digests stand in round 1.
        second: those sent in round 2.
    """
    record = session.record

    def sign(seat: int, kind: str, body: bytes) -> Signed:
        return Signed(body, session.key(seat).sign(kind, body))

    shared = dict(record.shared)
    for seat, points in first.items():
        header = SharedKeysHeader.decode(shared[seat].body)
        body = replace(header, commitments_digest=commitments_digest(header.t1, seat, points)).encode()
        shared[seat] = sign(seat, labels.TYPE_SHARE_KEYS, body)
    t2 = chain(labels.HASH_T2, SharedKeysHeader.decode(shared[0].body).t1, shared)
    masked = {}
    for seat, message in record.masked.items():
        sent = replace(MaskedInputHeader.decode(message.body), t2=t2)
        body = replace(sent, commitments=second.get(seat, sent.commitments)).encode()
        masked[seat] = sign(seat, labels.TYPE_MASKED_INPUT, body)
    t3 = chain(labels.HASH_T3, t2, masked)
    view = replace(ConsistencyStatement.decode(record.survivors.payload), t3=t3).encode()
    envelope = sign_envelope(labels.TYPE_CONSISTENCY, view, *(session.key(seat) for seat in masked))
    edits = {TRANSCRIPT: encode_transcript(record.advertised, shared, masked), SURVIVORS: envelope.to_json()}
    return session.forged(edits, accomplices=EVERYBODY, t2=t2.hex(), t3=t3.hex())


@pytest.mark.parametrize("lane", [0, BLOCK_LANES - 1, BLOCK_LANES, -1])
def test_a_total_with_one_other_lane_is_not_the_sum(session: SmallSession, lane: int) -> None:
    """Figures and countersignatures fit the altered total; the commitments alone give it away."""
    forged = session.forged(with_figures(session, altered(session, lane)), accomplices=EVERYBODY)
    assert list(failures(session, forged)) == [TOTAL]


def test_the_coordinator_alone_cannot_alter_the_total_either(session: SmallSession) -> None:
    forged = session.forged(with_figures(session, altered(session, 5)))
    assert list(failures(session, forged)) == [TOTAL, "V51", "V60"]


@pytest.mark.parametrize("edit", [*(lambda s, b=b: with_blinder(s, b) for b in range(3)), with_swapped_sums])
def test_other_blinders_are_not_the_sum(session: SmallSession, edit: Callable[[SmallSession], Edits]) -> None:
    assert list(failures(session, session.forged(edit(session), accomplices=EVERYBODY))) == [TOTAL]


@pytest.mark.parametrize("change", [-SCALAR_BYTES, SCALAR_BYTES])
def test_there_is_one_blinder_for_each_block(session: SmallSession, change: int) -> None:
    blinders = session.members[BLINDERS]
    edited = blinders[:change] if change < 0 else blinders + bytes(change)
    found = failures(session, session.forged({BLINDERS: edited}, accomplices=EVERYBODY))
    assert list(found) == [TOTAL]
    assert f"have 3 sums of blinders, not {3 + change // SCALAR_BYTES}" in found[TOTAL]


def test_commitments_swapped_between_survivors_are_not_what_they_signed(session: SmallSession) -> None:
    edits = unsigned(session, {0: commitments(session, 1), 1: commitments(session, 0)})
    found = failures(session, session.forged(edits))
    assert "message of seat 0" in found["V30"]


def test_a_commitment_that_is_left_out_was_signed(session: SmallSession) -> None:
    edits = unsigned(session, {0: commitments(session, 0)[:-COMMITMENT_BYTES]})
    assert "message of seat 0" in failures(session, session.forged(edits))["V30"]


def test_nobody_commits_to_too_few_blocks(session: SmallSession) -> None:
    short = {1: commitments(session, 1)[:-COMMITMENT_BYTES]}
    found = failures(session, signed(session, short, short))
    assert "message of seat 1 holds 2 commitments, expected 3" in found["V30"]


def test_nobody_commits_to_something_else_after_round_1(session: SmallSession) -> None:
    found = failures(session, signed(session, {}, {1: commitments(session, 0)}))
    assert "message of seat 1 holds other commitments than those it fixed in round 1" in found["V30"]


@pytest.mark.parametrize("points", [0, 1], ids=["another vector's", "none"])
def test_commitments_to_something_else_do_not_open_to_the_total(session: SmallSession, points: int) -> None:
    """Everybody signs rounds in which seat 1 committed to what seat 0 did, or to what is no point."""
    other = {1: bytes(3 * COMMITMENT_BYTES) if points else commitments(session, 0)}
    assert list(failures(session, signed(session, other, other))) == [TOTAL]


def test_signing_the_rounds_again_is_no_lie_by_itself(session: SmallSession) -> None:
    """The baseline of the tests above: nothing but what they change is found."""
    assert not failures(session, signed(session, {0: commitments(session, 0)}, {}))


def test_an_honest_total_says_so_in_every_report(session: SmallSession) -> None:
    report = outcome(session, session.bundle())
    said = sentence(report, TOTAL)
    assert "is the sum of exactly the 4 vectors" in said
    assert said in report_page(report)
    assert {"id": TOTAL, "status": "PASS"}.items() <= next(
        check for check in report.to_json()["checks"] if check["id"] == TOTAL
    ).items()


def test_a_restart_is_verified_and_says_who_was_left_out(restarted: SmallSession) -> None:
    report = outcome(restarted, restarted.bundle())
    assert not failures(restarted, restarted.bundle())
    said = sentence(report, "V30")
    assert f"anew without {INSTITUTIONS[DROPOUT]}, because {INSTITUTIONS[COMPLAINER]} said under its signature" in said
    assert "at fault is not shown" in said
    assert report.facts is not None
    assert report.facts.dropped == {INSTITUTIONS[DROPOUT]: "left-out"}
    assert "left out" in report_page(report)


def test_without_a_restart_none_is_mentioned(session: SmallSession) -> None:
    assert "anew" not in sentence(outcome(session, session.bundle()), "V30")


def test_a_complaint_that_its_sender_did_not_sign_is_found_even_if_everybody_went_along(plain: SmallSession) -> None:
    framed = small_session(plain.seed, parse_spec_json(plain.record.spec), fate=Fate.FRAMED)
    found = failures(framed, framed.bundle())
    assert list(found) == ["V30"]
    assert found["V30"].startswith(f"{RESTARTS}: message of seat {COMPLAINER}: ")


@pytest.mark.parametrize("accomplices", [(), EVERYBODY], ids=["coordinator", "everybody"])
def test_a_restart_that_never_took_place_is_found(
    plain: SmallSession, restarted: SmallSession, accomplices: tuple[int, ...]
) -> None:
    """The record is of another run of the same seal, and genuine; the rounds in the bundle do not follow from it."""
    forged = plain.forged({RESTARTS: restarted.members[RESTARTS]}, accomplices=accomplices)
    assert "V30" in failures(plain, forged)


@pytest.mark.parametrize("accomplices", [(), EVERYBODY], ids=["coordinator", "everybody"])
def test_a_restart_that_is_kept_quiet_is_found(restarted: SmallSession, accomplices: tuple[int, ...]) -> None:
    forged = restarted.forged({RESTARTS: b"[]"}, accomplices=accomplices)
    assert "V30" in failures(restarted, forged)


def test_a_restart_stands_once(restarted: SmallSession) -> None:
    twice = encode_restarts(restarted.record.restarts * 2)
    found = failures(restarted, restarted.forged({RESTARTS: twice}, accomplices=EVERYBODY))
    assert found["V30"].startswith(f"{RESTARTS}: ")


def test_who_complained_once_restarts_nothing_again(restarted: SmallSession) -> None:
    """Else one member of the coordinator's own could leave out as many as the coordinator likes."""
    record = restarted.record
    t1 = SharedKeysHeader.decode(record.shared[COMPLAINER].body).t1
    body = Complaint(t1, COMPLAINER, 3).encode()
    signed = Signed(body, restarted.key(COMPLAINER).sign(labels.TYPE_COMPLAINT, body))
    restarts = (*record.restarts, Restart(record.advertised, COMPLAINER, signed))
    found = failures(restarted, restarted.forged({RESTARTS: encode_restarts(restarts)}, accomplices=EVERYBODY))
    assert found["V30"].startswith(f"{RESTARTS}: seat {COMPLAINER} complains a second time")


@pytest.mark.parametrize("stage", ["joined", "shared-keys"])
def test_who_was_left_out_is_not_said_to_have_dropped_out(restarted: SmallSession, stage: str) -> None:
    result, _ = parse_statement(Envelope.from_json(restarted.members[RESULT]).payload, Result)
    dropped: tuple[Any, ...] = (result.dropped[0].model_copy(update={"stage": stage}),)
    found = failures(restarted, restarted.forged({}, accomplices=EVERYBODY, dropped=dropped))
    assert list(found) == ["V32"]


@pytest.mark.parametrize(("name", "check"), [(SURVIVORS, "V32"), (COUNTERSIGN, "V51")])
def test_the_quorum_counts_all_who_joined(restarted: SmallSession, name: str, check: str) -> None:
    """Four advertised keys in the last attempt, of whom three would do; of the five who joined four must sign."""
    envelope = Envelope.from_json(restarted.members[name])
    edits = {name: replace(envelope, signatures=envelope.signatures[:3]).to_json()}
    data = restarted.edited(edits) if name == COUNTERSIGN else restarted.forged(edits, accomplices=EVERYBODY)
    found = failures(restarted, data)
    assert "but 4 are needed" in found[check]
