"""Nothing is countersigned that fails the audit or lacks our own part."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from testkit.bundles import DROPOUT, small_session
from testkit.small_specs import small_spec
from testkit.specs import without_noise
from testkit.statements import INSTITUTIONS, MADE
from vdb_participant.session.countersigning import OwnPart, audit_draft, audit_published, countersignature
from vdb_participant.session.terms import Offered, Pins, SealedTerms, verify_opening, verify_seal
from vdb_shared import labels
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.record import AGGREGATE, COUNTERSIGN, METRICS, RESULT, read_envelope
from vdb_shared.errors import FormatError, IdentityError, VerificationError
from vdb_shared.wire.status import SealedSession

SESSION = small_session()
SEAT = 1
NAME = INSTITUTIONS[SEAT]
DRAFT = SESSION.edited({COUNTERSIGN: None})
NOW = datetime(2026, 1, 31, 12, 41, tzinfo=UTC)
"""A minute after the time that the session's result states."""


def sealed_terms(session: Any = SESSION) -> SealedTerms:
    record = session.record
    pins = Pins(session.root, "testbed", NAME, session.key(SEAT).public_key)
    opening = verify_opening(
        Offered(record.spec, record.open.to_json(), record.roster), record.open.payload_digest, pins, MADE
    )
    joins = tuple(item.to_json() for item in record.joins.values())
    found = SealedSession(record.seal.to_json(), joins, record.open_proof.to_bytes())
    return verify_seal(opening, found, record.joins[NAME].to_json())


def own_part(session: Any = SESSION) -> OwnPart:
    record = session.record
    return OwnPart(
        institution=NAME,
        seat=SEAT,
        session=record.open.payload_digest,
        seal=record.seal.payload_digest,
        spec=record.spec,
        join=record.joins[NAME].to_json(),
        contribution=record.contributions[NAME].to_json(),
        header=record.masked[SEAT],
        survivors=record.survivors.payload,
    )


def audit(data: bytes = DRAFT, **changes: Any) -> None:
    audit_draft(data, dataclasses.replace(own_part(), **changes), sealed_terms(), SESSION.root, NOW)


def publish(data: bytes, draft: bytes = DRAFT) -> None:
    audit_published(data, countersignature(draft, SESSION.key(SEAT)), sealed_terms(), SESSION.root)


def test_an_honest_draft_and_its_publication_pass() -> None:
    audit()
    publish(SESSION.bundle())
    audit(survivors=None)


def test_the_countersignature_is_ours_over_the_result() -> None:
    envelope = Envelope.from_json(countersignature(DRAFT, SESSION.key(SEAT)))
    assert (
        envelope.verify(labels.TYPE_STATEMENT, [SESSION.key(SEAT).public_key])
        == read_envelope(SESSION.members, RESULT).payload
    )
    assert len(envelope.signatures) == 1


def test_a_published_result_needs_its_countersignatures() -> None:
    with pytest.raises(VerificationError):
        publish(DRAFT)


def test_another_result_than_the_one_we_countersigned_is_refused() -> None:
    other = small_session(seed="another")
    with pytest.raises(VerificationError, match="not the one that we countersigned"):
        publish(SESSION.bundle(), other.edited({COUNTERSIGN: None}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"spec": b"{}"}, "spec"),
        ({"session": "sha256:" + "0" * 64}, "session"),
        ({"seal": "sha256:" + "0" * 64}, "seal"),
        ({"join": SESSION.record.joins[INSTITUTIONS[0]].to_json()}, "join of ours"),
        ({"header": SESSION.record.masked[0]}, "masked input of ours"),
        ({"contribution": SESSION.record.contributions[INSTITUTIONS[0]].to_json()}, "contribution of ours"),
        ({"survivors": b"another view"}, "survivor set"),
    ],
)
def test_each_own_part_must_be_in_it(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(VerificationError, match=f"has not the {named} that we know"):
        audit(**changes)


def test_a_result_without_us_is_refused() -> None:
    dropped = INSTITUTIONS[DROPOUT]
    with pytest.raises(VerificationError, match="has not the"):
        audit(institution=dropped, seat=DROPOUT)


def test_a_changed_total_is_refused_also_when_signed_again() -> None:
    aggregate = bytearray(SESSION.members[AGGREGATE])
    aggregate[0] ^= 1  # far below the published digits
    with pytest.raises(VerificationError, match=r"V34\.commitments"):
        audit(SESSION.forged({AGGREGATE: bytes(aggregate), COUNTERSIGN: None}))


def test_misreported_figures_are_refused() -> None:
    metrics = SESSION.members[METRICS].replace(b"tiny-wan-b", b"tiny-wan-x")
    with pytest.raises(VerificationError):
        audit(SESSION.forged({METRICS: metrics, COUNTERSIGN: None}))


def test_garbage_is_refused_without_a_traceback() -> None:
    with pytest.raises((VerificationError, FormatError)):
        audit(b"PK garbage")
    with pytest.raises((VerificationError, FormatError)):
        audit(SESSION.edited({RESULT: None, COUNTERSIGN: None}))


def test_by_our_own_clock_too_the_membership_has_not_expired_whatever_time_the_result_states() -> None:
    late = NOW.replace(year=NOW.year + 30)
    assert verify(SESSION.bundle(), root=SESSION.root).exit_code == 0, "to a reader it is a result of that time"
    with pytest.raises(IdentityError, match="metadata expired on"):
        audit_draft(DRAFT, own_part(), sealed_terms(), SESSION.root, late)


def test_a_test_without_noise_may_be_countersigned_by_whoever_allowed_it() -> None:
    unnoised = small_session(spec=without_noise(small_spec()))
    draft = unnoised.edited({COUNTERSIGN: None})
    audit_draft(draft, own_part(unnoised), sealed_terms(unnoised), unnoised.root, NOW)
    forged = unnoised.forged({METRICS: b"{}", COUNTERSIGN: None})
    with pytest.raises(VerificationError):
        audit_draft(forged, own_part(unnoised), sealed_terms(unnoised), unnoised.root, NOW)
