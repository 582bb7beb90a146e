"""A promise that is nonsense is refused by all three sides, each by itself and with the reason.

The coordinator refuses it in `spec lint`. For the participant and the auditor the lead and all other institutions are
dishonest: every statement over the nonsense is signed, and the terms are those of a sensible spec.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit import bundles, small_specs
from testkit.bundles import SmallSession, small_session
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS, MADE, make_opening, make_roster
from vdb_coordinator.commands.spec_checks import checked
from vdb_participant.session.terms import Offered, Opening, Pins, verify_opening, verify_seal
from vdb_shared.audit.report import Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.record import SPEC
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.errors import PrivacyError, SpecError
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.wire.status import SealedSession

SEAT = 1
JOINED = len(INSTITUTIONS)


@dataclass(frozen=True)
class Nonsense:
    """A change of one section of a sensible spec, and the words that refuse it."""

    section: str
    changes: Mapping[str, object]
    words: str


MALFORMED = {
    "epsilon of 0": Nonsense("privacy", {"epsilon": "0"}, "privacy.epsilon: .*must be above 0"),
    "epsilon below 0": Nonsense("privacy", {"epsilon": "-1"}, "privacy.epsilon: .*must be above 0"),
    "epsilon that is no number": Nonsense("privacy", {"epsilon": "NaN"}, "privacy.epsilon: |not a finite number"),
    "epsilon beyond any sense": Nonsense("privacy", {"epsilon": "65"}, "privacy.epsilon: .*must be at most 64"),
    "delta of 0": Nonsense("privacy", {"delta": "0"}, "privacy.delta: .*must be above 0"),
    "delta of one in a hundred": Nonsense("privacy", {"delta": "0.01"}, "privacy.delta: .*must be below 0.01"),
    "no records": Nonsense("privacy", {"maximum_records": 0}, "privacy.maximum_records: .*must be at least 1"),
    "nobody colludes": Nonsense("cohort", {"collusion": 0}, "cohort.collusion: .*must be at least 1"),
    "more collude than noise can outweigh": Nonsense(
        "cohort", {"collusion": 3}, "cohort.minimum: 4 is too small for collusion 3; at least 5 institutions are needed"
    ),
    "everybody may drop out": Nonsense("cohort", {"dropout": "1"}, "cohort.dropout: .*must be below 0.5"),
}
"""What no spec can say: it is refused as soon as it is read."""

UNKEEPABLE = {
    "delta too large for the data": Nonsense(
        "privacy", {"delta": "0.0001"}, r"privacy\.delta: 0\.0001 is above 0\.1 / \d+ records .*; lower it"
    ),
    "more records than delta allows": Nonsense(
        "privacy", {"maximum_records": 30_000}, r"privacy\.delta: 0\.000001 is above 0\.1 / \d+ records"
    ),
    "less privacy loss than can be accounted for": Nonsense(
        "privacy",
        {"epsilon": "0.0001"},
        r"privacy\.epsilon: 0\.0001 at delta 0\.000001 needs more noise than is supported",
    ),
}
"""What a spec can say, but nobody can keep."""


def written(nonsense: Nonsense | None = None) -> bytes:
    """Return the bytes of a spec, sensible but for the nonsense."""
    values = parse_canonical_json(small_spec().canonical())
    if nonsense is not None:
        values[nonsense.section] |= nonsense.changes
    return canonical_json(values)


def offered_opening(spec: bytes) -> Opening:
    """Return what a participant makes of an opening that is signed over these bytes."""

    class Written:
        """Only the digest of a spec that cannot be read is needed to sign for it."""

        digest = sha256_digest(spec)

    roster = make_roster(0)
    opening = make_opening(Written, roster, 0)  # type: ignore[arg-type]  # no Spec can hold nonsense
    session = small_session()
    pins = Pins(session.root, "testbed", INSTITUTIONS[SEAT], session.key(SEAT).public_key)
    return verify_opening(Offered(spec, opening.to_json(), roster), opening.payload_digest, pins, MADE)


def signed_by_all(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> SmallSession:
    """Return a session over a spec that nobody can keep, with the terms of one that can be kept."""
    sensible: SealTerms = seal_terms(small_spec(), range(JOINED))
    monkeypatch.setattr(bundles, "seal_terms", lambda _spec, _seats: sensible)
    return small_session.__wrapped__(seed=0, spec=spec)


@pytest.mark.parametrize("kind", [*MALFORMED, *UNKEEPABLE])
def test_the_coordinators_lint_refuses_it(kind: str, tmp_path: Path) -> None:
    nonsense = (MALFORMED | UNKEEPABLE)[kind]
    text, path = small_specs.SPEC, tmp_path / "spec.toml"
    for name in ("MODEL_A", "MODEL_B", "MODEL_C", "CLIP", "VIDEOMAE"):
        text = text.replace(f"sha256:{name}", sha256_digest(name.encode()))
    path.write_text(text)
    assert checked(path)
    line = next(line for line in text.splitlines() if line.startswith(f"{nonsense.section} = "))
    changed = line
    for field, value in nonsense.changes.items():
        changed = re.sub(rf"{field} = [\w.-]+", f"{field} = {str(value).lower()}", changed)
    assert changed != line
    path.write_text(text.replace(line, changed))
    with pytest.raises((SpecError, PrivacyError), match=nonsense.words):
        checked(path)


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_participant_refuses_to_read_it_whoever_signed(kind: str) -> None:
    with pytest.raises(SpecError, match=MALFORMED[kind].words):
        offered_opening(written(MALFORMED[kind]))


@pytest.mark.parametrize("kind", UNKEEPABLE)
def test_a_participant_refuses_to_seal_it_whoever_signed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_spec_json(written(UNKEEPABLE[kind]))
    session = signed_by_all(spec, monkeypatch)
    record = session.record
    pins = Pins(session.root, "testbed", INSTITUTIONS[SEAT], session.key(SEAT).public_key)
    offered = Offered(record.spec, record.open.to_json(), record.roster)
    opening = verify_opening(offered, record.open.payload_digest, pins, MADE)
    joins = tuple(item.to_json() for item in record.joins.values())
    with pytest.raises(PrivacyError, match=UNKEEPABLE[kind].words):
        verify_seal(
            opening,
            SealedSession(record.seal.to_json(), joins, record.open_proof.to_bytes()),
            record.joins[INSTITUTIONS[SEAT]].to_json(),
        )


def reasons(data: bytes) -> str:
    """Return what an audit of a bundle that it fails says went wrong."""
    report = verify(data)
    assert report.verdict is not Verdict.PASS
    return "\n".join(f"{line.sentence} {line.detail}" for line in report.lines if line.status == "FAIL")


@pytest.mark.parametrize("kind", UNKEEPABLE)
def test_an_auditor_refuses_it_whoever_signed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = signed_by_all(parse_spec_json(written(UNKEEPABLE[kind])), monkeypatch)
    assert re.search(UNKEEPABLE[kind].words, reasons(session.bundle()))


@pytest.mark.parametrize("kind", MALFORMED)
def test_an_auditor_refuses_to_read_it(kind: str) -> None:
    found = reasons(small_session().forged({SPEC: written(MALFORMED[kind])}, accomplices=range(JOINED)))
    assert re.search(MALFORMED[kind].words, found)


def test_a_sensible_promise_passes_on_all_sides() -> None:
    assert offered_opening(written()).spec == small_spec()
    assert verify(small_session().bundle()).verdict is Verdict.PASS
