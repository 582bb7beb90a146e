"""V50, V51 and V70 asked by themselves: who signed the result, and how many of the sum countersigned it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testkit.bundles import SmallSession
from testkit.evidence import but_for, found, golden_evidence, refused
from testkit.golden import golden_session
from vdb_shared import labels
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.errors import SignatureError

SURVIVORS = (0, 1, 3, 4)


@pytest.fixture
def evidence() -> Evidence:
    return golden_evidence("dropout")


@pytest.fixture(scope="module")
def session() -> SmallSession:
    return golden_session("dropout")


def countersigned(
    session: SmallSession, *seats: int, payload: bytes | None = None, kind: str = labels.TYPE_STATEMENT
) -> Envelope:
    """Return the countersignatures of these seats under a payload, or under the result."""
    signed = golden_evidence("dropout").result_envelope.payload if payload is None else payload
    return sign_envelope(kind, signed, *(session.key(seat) for seat in seats))


def test_the_coordinator_signs_the_result_alone(evidence: Evidence, session: SmallSession) -> None:
    payload = evidence.result_envelope.payload
    assert (
        found("V50", evidence).sentence == "The result is signed by the coordinator that the roster names: lead-geneva."
    )
    both = sign_envelope(labels.TYPE_STATEMENT, payload, session.coordinator, session.key(0))
    assert refused("V50", but_for(evidence, result_envelope=both)) == "2 signatures, expected the coordinator's alone."
    nobody = replace(both, signatures=())
    assert (
        refused("V50", but_for(evidence, result_envelope=nobody)) == "0 signatures, expected the coordinator's alone."
    )


def test_nobody_signs_the_result_in_the_coordinators_place(evidence: Evidence, session: SmallSession) -> None:
    other = sign_envelope(labels.TYPE_STATEMENT, evidence.result_envelope.payload, session.key(0))
    with pytest.raises(SignatureError, match="not known here"):
        found("V50", but_for(evidence, result_envelope=other))
    kind = sign_envelope(labels.TYPE_CONSISTENCY, evidence.result_envelope.payload, session.coordinator)
    with pytest.raises(SignatureError, match="expected a payload of type"):
        found("V50", but_for(evidence, result_envelope=kind))


def test_a_draft_awaits_its_countersignatures(evidence: Evidence) -> None:
    assert found("V51", but_for(evidence, draft=True)).status is Status.SKIPPED


def test_a_quorum_of_the_sum_countersigns(evidence: Evidence, session: SmallSession) -> None:
    assert found("V51", evidence).sentence == (
        "4 of the 4 institutions in the sum countersigned this very result, which their software does only after an audit "
        "of its own; 4 were needed."
    )
    few = but_for(evidence, countersign=countersigned(session, 0, 1, 3))
    assert refused("V51", few) == "3 countersignatures, but 4 are needed."
    assert found("V51", but_for(few, quorum=3)).sentence.startswith("3 of the 4 institutions")


def test_another_result_than_the_published_one_was_countersigned(evidence: Evidence, session: SmallSession) -> None:
    other = countersigned(session, *SURVIVORS, payload=evidence.result_envelope.payload + b" ")
    assert refused("V51", but_for(evidence, countersign=other)) == (
        "The institutions countersigned another result than the one in the bundle."
    )


def test_who_is_not_in_the_sum_does_not_countersign(evidence: Evidence, session: SmallSession) -> None:
    with pytest.raises(SignatureError, match="not known here"):
        found("V51", but_for(evidence, countersign=countersigned(session, 0, 1, 2, 3)))
    wrong = countersigned(session, *SURVIVORS, kind=labels.TYPE_CONSISTENCY)
    with pytest.raises(SignatureError, match="expected a payload of type"):
        found("V51", but_for(evidence, countersign=wrong))


def test_receipts_are_proven_by_no_bundle(evidence: Evidence) -> None:
    assert found("V70", evidence).status is Status.NOT_PROVEN
