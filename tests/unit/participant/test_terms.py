"""What the coordinator says is taken only when it is signed, fits together, and follows from the spec."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from testkit.bundles import small_session, witnesses_of
from testkit.logs import SEEN
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS, MADE, make_roster, sign
from vdb_participant.session.terms import Offered, Opening, Pins, SealedTerms, verify_opening, verify_seal
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Join, P, Seal, SessionOpen, parse_statement
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import IdentityError, ProtocolError
from vdb_shared.secagg.parameters import share_threshold, smallest_cohort
from vdb_shared.tasks import checked_work, public_tasks
from vdb_shared.wire.status import SealedSession

SESSION = small_session()
SEAT = 1
PINS = Pins(SESSION.root, "testbed", INSTITUTIONS[SEAT], SESSION.key(SEAT).public_key)
OFFERED = Offered(SESSION.record.spec, SESSION.record.open.to_json(), SESSION.record.roster)
ID = SESSION.record.open.payload_digest
SEALED = SealedSession(
    SESSION.record.seal.to_json(),
    tuple(item.to_json() for item in SESSION.record.joins.values()),
    SESSION.record.open_proof.to_bytes(),
)
OWN_JOIN = SESSION.record.joins[INSTITUTIONS[SEAT]].to_json()


def opening(offered: Offered = OFFERED, wanted: str = ID, **pins: Any) -> Opening:
    return verify_opening(offered, wanted, dataclasses.replace(PINS, **pins), MADE)


def sealed(found: SealedSession = SEALED, own_join: bytes = OWN_JOIN) -> SealedTerms:
    return verify_seal(opening(), found, own_join)


def changed(envelope: Envelope, kind: type[P], **changes: Any) -> bytes:
    """Return a statement with fields changed, signed by the coordinator all the same."""
    predicate, _ = parse_statement(envelope.payload, kind)
    return sign(predicate.model_copy(update=changes), SESSION.coordinator).to_json()


def test_an_honest_session_is_taken() -> None:
    found = sealed()
    assert found.opening.session == ID
    assert found.opening.seat == SEAT
    assert found.seal == SESSION.record.seal.payload_digest
    assert found.terms == SESSION.terms
    assert found.parameters.session.hex() == found.seal.removeprefix("sha256:")
    assert found.parameters.roster == {seat: SESSION.key(seat).public_key for seat in range(5)}
    assert found.shard == public_tasks(opening().spec)[SEAT::5]
    assert found.checked == checked_work(opening().spec, SEAT, 5)
    assert opening(wanted=ID.removeprefix("sha256:")[:8]).session == ID


def test_another_session_than_the_wanted_is_refused() -> None:
    with pytest.raises(ProtocolError, match="we asked for session sha256:000"):
        opening(wanted="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"spec": sha256_digest(b"other")}, "does not fit: spec"),
        ({"roster": sha256_digest(b"other")}, "does not fit: roster"),
        ({"root": sha256_digest(b"other")}, "does not fit: trust root"),
        ({"consortium": "others"}, "does not fit: consortium"),
    ],
)
def test_an_opening_that_contradicts_its_company_is_refused(changes: dict[str, Any], named: str) -> None:
    forged = changed(SESSION.record.open, SessionOpen, **changes)
    offered = dataclasses.replace(OFFERED, open=forged)
    with pytest.raises(ProtocolError, match=named):
        opening(offered, wanted=Envelope.from_json(forged).payload_digest)


def test_an_opening_signed_by_somebody_else_is_refused() -> None:
    forged = SESSION.record.open.payload
    stolen = sign(parse_statement(forged, SessionOpen)[0], SESSION.key(0)).to_json()
    with pytest.raises(ProtocolError, match="not one of lead-geneva"):
        opening(dataclasses.replace(OFFERED, open=stolen))
    with pytest.raises(ProtocolError, match="malformed"):
        opening(dataclasses.replace(OFFERED, open=b"{}"))


def test_another_spec_than_the_signed_one_is_refused() -> None:
    other = small_spec(title='"Another"').canonical()
    with pytest.raises(ProtocolError, match="does not fit: spec"):
        opening(dataclasses.replace(OFFERED, spec=other))


def test_only_the_pinned_root_is_trusted() -> None:
    with pytest.raises(IdentityError, match="is pinned"):
        opening(dataclasses.replace(OFFERED, roster=make_roster("somebody else")))


def test_an_expired_roster_is_refused() -> None:
    with pytest.raises(IdentityError, match="expired"):
        verify_opening(OFFERED, ID, PINS, MADE + timedelta(days=10_000))


def test_a_roster_with_another_key_of_ours_is_refused() -> None:
    with pytest.raises(IdentityError, match="another key for clinic-lyon than ours"):
        opening(statement_key=SESSION.key(0).public_key)
    with pytest.raises(IdentityError, match="does not name nobody: if it was opened before we were approved"):
        opening(institution="nobody")


@pytest.mark.parametrize(
    "changes",
    [
        {"session": sha256_digest(b"other")},
        {"spec": sha256_digest(b"other")},
        {"roster": sha256_digest(b"other")},
        {"smallest_cohort": 3},
        {"layout": sha256_digest(b"other")},
        {"lanes": 7},
        {"private_lanes": 0},
        {"noise_multiplier": "0.1"},
        {"scale": "1"},
        {"public_tasks": 1},
        {"generators": sha256_digest(b"other")},
        {"joins": ()},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_seal_whose_parameter_does_not_follow_is_refused(changes: dict[str, Any]) -> None:
    forged = dataclasses.replace(SEALED, seal=changed(SESSION.record.seal, Seal, **changes))
    with pytest.raises(ProtocolError, match=f"does not follow from the spec and the joins: {next(iter(changes))}"):
        sealed(forged)


def test_cohort_and_threshold_are_those_of_the_signed_spec_whatever_the_seal_says() -> None:
    """A coordinator that signs a smaller cohort is refused; what the rounds work with is computed here."""
    for smallest in range(3, SESSION.terms.smallest_cohort):
        forged = dataclasses.replace(SEALED, seal=changed(SESSION.record.seal, Seal, smallest_cohort=smallest))
        with pytest.raises(ProtocolError, match="smallest_cohort"):
            sealed(forged)
    found, cohort = sealed().parameters, opening().spec.cohort
    assert found.collusion == cohort.collusion
    assert found.smallest_cohort == smallest_cohort(5, cohort.collusion, cohort.dropout)
    assert found.quorum == share_threshold(5, cohort.collusion)


def test_a_seal_that_too_few_saw_announced_is_refused() -> None:
    """The coordinator seals what only three of five were shown in the log; no honest site goes on from there."""
    hidden = small_session(witnesses=(0, 1, 2))
    joins = tuple(item.to_json() for item in hidden.record.joins.values())
    found = SealedSession(hidden.record.seal.to_json(), joins, hidden.record.open_proof.to_bytes())
    with pytest.raises(ProtocolError, match=r"announced in the log: 3 of 5 witnesses cosigned the log, 4 are needed"):
        verify_seal(opening(), found, OWN_JOIN)


@pytest.mark.parametrize("proof", [b"", SESSION.members["result.proof"]])
def test_a_seal_without_the_openings_own_proof_is_refused(proof: bytes) -> None:
    with pytest.raises(ProtocolError, match="does not show that this session was announced in the log"):
        sealed(dataclasses.replace(SEALED, open_proof=proof))


def test_another_proof_than_the_one_that_the_seal_names_is_refused() -> None:
    later = SESSION.log.proof(0, witnesses_of(SESSION.seed, range(5)), SEEN + 1).to_bytes()
    with pytest.raises(ProtocolError, match="does not follow from the spec and the joins: log"):
        sealed(dataclasses.replace(SEALED, open_proof=later))


def test_a_seal_signed_by_somebody_else_is_refused() -> None:
    stolen = sign(parse_statement(SESSION.record.seal.payload, Seal)[0], SESSION.key(0)).to_json()
    with pytest.raises(ProtocolError, match="seal statement is not one of lead-geneva"):
        sealed(dataclasses.replace(SEALED, seal=stolen))


def test_a_seal_without_our_join_is_refused() -> None:
    without = tuple(join for join in SEALED.joins if join != OWN_JOIN)
    with pytest.raises(ProtocolError, match="our own join is not in its seal"):
        sealed(dataclasses.replace(SEALED, joins=without))


def test_our_join_to_other_terms_is_not_ours() -> None:
    predicate, _ = parse_statement(Envelope.from_json(OWN_JOIN).payload, Join)
    other = sign(predicate.model_copy(update={"consent": sha256_digest(b"another plan")}), SESSION.key(SEAT)).to_json()
    with pytest.raises(ProtocolError, match="our own join is not in its seal, or was changed"):
        sealed(own_join=other)


def test_invented_members_are_refused() -> None:
    predicate, _ = parse_statement(Envelope.from_json(SEALED.joins[0]).payload, Join)
    invented = sign(predicate, SESSION.coordinator).to_json()
    with pytest.raises(ProtocolError, match="join statement is not one of archive-oslo"):
        sealed(dataclasses.replace(SEALED, joins=(invented, *SEALED.joins[1:])))
    elsewhere = sign(predicate.model_copy(update={"session": sha256_digest(b"other")}), SESSION.key(0)).to_json()
    with pytest.raises(ProtocolError, match="join of archive-oslo in its seal is for something else"):
        sealed(dataclasses.replace(SEALED, joins=(elsewhere, *SEALED.joins[1:])))
    with pytest.raises(ProtocolError, match="for something else"):
        sealed(dataclasses.replace(SEALED, joins=(*SEALED.joins, SEALED.joins[0])))
