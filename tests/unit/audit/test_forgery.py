"""Lies that are signed: the coordinator alone, or with too few accomplices, is caught by the check made for the lie."""

from __future__ import annotations

import pytest

from testkit.bundles import Edits, SmallSession
from testkit.forged_sums import with_manifest
from testkit.forgeries import (
    COORDINATOR_ALONE,
    DIGEST,
    by_member,
    check_named,
    contribution,
    first_failure,
    join,
    outcome,
)
from testkit.statements import COORDINATOR
from vdb_shared.audit.report import Status
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.record import (
    RESULT,
    SPEC,
    TRANSCRIPT,
)
from vdb_shared.bundle.statement import Contribution
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.labels import TYPE_STATEMENT
from vdb_shared.seal import MAX_JSON_BYTES
from vdb_shared.spec import parse_spec_json


@pytest.mark.parametrize("name", COORDINATOR_ALONE)
def test_the_check_made_for_a_lie_finds_it(session: SmallSession, name: str) -> None:
    expected, forge = COORDINATOR_ALONE[name]
    forged = forge(session)
    report = outcome(session, forged)
    assert report.first_failure is not None
    assert report.first_failure.id == expected
    assert check_named(session, forged, expected) == expected


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
        (
            "clips of another profile",
            "lab-kyoto declares clips of the profile fast; the spec demands the profile exact",
        ),
        ("a profile chosen by the member itself", "the profile auto; the spec demands the profile exact"),
        ("another profile for one model", "the profile balanced; the spec demands the profile exact"),
    ],
)
def test_the_detail_says_what_was_found(session: SmallSession, name: str, detail: str) -> None:
    failure = outcome(session, COORDINATOR_ALONE[name][1](session)).first_failure
    assert failure is not None
    assert detail in failure.detail


@pytest.mark.parametrize(
    ("grade", "field", "value", "wrong"),
    [
        ("exact", "profile", "auto", ""),  # what every member declares, with what it meant for each model
        ("exact", "profile", "exact", ""),
        ("exact", "profile", "fast", "fast"),
        ("exact", "environment", {"profile of tiny": "low-memory"}, "low-memory"),
        ("exact", "environment", {"profile of tiny": "turbo"}, "turbo"),
        ("exact", "environment", {}, "auto"),
        ("accelerated", "profile", "balanced", ""),
        ("accelerated", "environment", {"profile of tiny": "low-memory"}, ""),
        ("accelerated", "environment", {"profile of tiny": "exact"}, "exact"),
        ("accelerated", "profile", "exact", "exact"),
        ("accelerated", "environment", {}, "auto"),
    ],
)
def test_under_auto_any_profile_of_the_class_is_fine_and_no_other(
    plain: SmallSession, grade: str, field: str, value: object, wrong: str
) -> None:
    forged = with_manifest(plain, field, value, profile="auto", grade=grade)
    failed = {line.id: line.detail for line in outcome(plain, forged).lines if line.status is Status.FAIL}
    assert set(failed) == ({"V34"} if wrong else set())
    if wrong:
        assert f"the profile {wrong}; the spec demands a profile of class {grade}" in failed["V34"]


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
