"""What a bundle says is either a valid value or refused in words: times, keys, proofs, terms and figures out of all sense."""

from __future__ import annotations

import warnings
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from testkit.evidence import but_for, golden_evidence
from testkit.golden import golden_session
from testkit.statements import INSTITUTIONS
from vdb_shared import labels
from vdb_shared.audit.evidence import Evidence, moment, replay
from vdb_shared.audit.figures import accounting_json, metrics_json
from vdb_shared.bundle.record import COUNTERSIGN, RESULT_PROOF
from vdb_shared.bundle.witnessed import check_logged
from vdb_shared.errors import FormatError, PrivacyError, ProtocolError, StatisticError
from vdb_shared.secagg.messages import AdvertisedKeys, Signed

BEYOND_SENSE = Decimal("1E-999999")


@pytest.fixture
def evidence() -> Evidence:
    return golden_evidence("dropout")


def test_a_moment_is_one_of_the_calendar() -> None:
    assert moment("2026-02-28T23:59:59Z").isoformat() == "2026-02-28T23:59:59+00:00"
    for time in ("2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z"):
        with pytest.raises(FormatError, match=f"^{time} is not a moment of the calendar$"):
            moment(time)


@pytest.mark.parametrize(
    ("name", "part", "so"),
    [(COUNTERSIGN, "countersign", "; nobody countersigned the result"), (RESULT_PROOF, "result_proof", "")],
)
def test_what_a_draft_lacks_is_named(evidence: Evidence, name: str, part: str, so: str) -> None:
    members = {key: data for key, data in evidence.members.items() if key != name}
    draft = but_for(Evidence(evidence.data, None, evidence.policy, draft=True), members=members)
    with pytest.raises(FormatError, match=f"^{name}: this member is missing{so}$"):
        getattr(draft, part)


def test_an_aggregate_has_the_lanes_of_the_layout(evidence: Evidence) -> None:
    short = replace(evidence.record, aggregate=evidence.record.aggregate[:-1])
    with pytest.raises(FormatError, match=r"^number of lanes in the aggregate: expected 153, found 152\.$"):
        _ = but_for(evidence, record=short).aggregate


def test_totals_are_the_aggregate_without_the_offset_of_each_survivor(evidence: Evidence) -> None:
    fresh = Evidence(evidence.data, evidence.root, evidence.policy, draft=False)
    expected = [int(lane) - 4 * 2**47 for lane in fresh.record.aggregate]
    assert fresh.totals.dtype == np.int64
    assert fresh.totals.tolist() == expected
    assert fresh.survivors == (0, 1, 3, 4)


def test_a_promise_out_of_all_sense_is_refused_in_words(evidence: Evidence) -> None:
    privacy = evidence.spec.privacy.model_copy(update={"delta": BEYOND_SENSE})
    fresh = Evidence(evidence.data, None, evidence.policy, draft=False)
    with pytest.raises(PrivacyError, match=r"^the spec's numbers are out of any sensible range$"):
        _ = but_for(fresh, spec=evidence.spec.model_copy(update={"privacy": privacy})).terms
    calibration = evidence.terms.calibration
    promise = replace(calibration.promise, delta=BEYOND_SENSE)
    terms = replace(evidence.terms, calibration=replace(calibration, promise=promise))
    with pytest.raises(PrivacyError, match=r"^privacy\.delta: 1E-999999 is too small to account for"):
        accounting_json(terms)


def test_figures_out_of_all_sense_are_refused_in_words_and_without_warnings(evidence: Evidence) -> None:
    calibration = replace(evidence.terms.calibration, public_exponent=-900)
    terms = replace(evidence.terms, calibration=calibration)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StatisticError, match=r"^no figures can be computed from these"):
            metrics_json(evidence.spec, terms, evidence.totals, 4, evidence.checked)


def test_no_two_seats_advertise_one_key(evidence: Evidence) -> None:
    """Else one secret unmasks two institutions. The transcript is at fault: which of the two copied, nobody can say."""
    session, advertised = golden_session("dropout"), evidence.record.advertised
    copied = replace(AdvertisedKeys.decode(advertised[0].body), seat=1).encode()
    message = Signed(copied, session.key(1).sign(labels.TYPE_ADVERTISE_KEYS, copied))
    with pytest.raises(ProtocolError, match="seat 1 advertises a key that seat 0 advertises") as caught:
        replay(evidence.parameters, replace(evidence.record, advertised={**advertised, 1: message}))
    assert caught.value.peer == "transcript"


def test_witnesses_are_told_by_the_names_of_their_institutions(evidence: Evidence) -> None:
    proof, entry = evidence.record.open_proof, evidence.opened_entry
    seen = check_logged(proof, entry, evidence.roster, INSTITUTIONS, 4)
    assert list(seen.times) == list(INSTITUTIONS)
    assert seen.index == 0
