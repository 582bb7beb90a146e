"""V10 to V12 asked by themselves: who must sign what, and whose name is told if somebody else did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from testkit.bundles import SmallSession
from testkit.evidence import but_for, found, golden_evidence, refused
from testkit.golden import golden_session
from testkit.statements import COORDINATOR, INSTITUTIONS
from vdb_shared.audit.checks.identity import participant
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.errors import IdentityError, SignatureError
from vdb_shared.identity import StatementKey

OSLO, _, _, KYOTO, _ = INSTITUTIONS
STRANGER = StatementKey.from_seed(b"\7" * 32)

Put = Callable[[Evidence, Envelope], Evidence]


def with_record(evidence: Evidence, **fields: object) -> Evidence:
    return but_for(evidence, record=replace(evidence.record, **fields))  # type: ignore[arg-type]  # one field or more


def put_opening(evidence: Evidence, envelope: Envelope) -> Evidence:
    return with_record(evidence, open=envelope)


def put_seal(evidence: Evidence, envelope: Envelope) -> Evidence:
    return with_record(evidence, seal=envelope)


def put_join(evidence: Evidence, envelope: Envelope) -> Evidence:
    return with_record(evidence, joins={**evidence.record.joins, KYOTO: envelope})


def put_contribution(evidence: Evidence, envelope: Envelope) -> Evidence:
    return with_record(evidence, contributions={**evidence.record.contributions, KYOTO: envelope})


STATEMENTS: list[tuple[str, str, Put]] = [
    ("opening", COORDINATOR, put_opening),
    ("seal", COORDINATOR, put_seal),
    (f"join of {KYOTO}", KYOTO, put_join),
    (f"contribution of {KYOTO}", KYOTO, put_contribution),
]


@pytest.fixture
def evidence() -> Evidence:
    return golden_evidence("dropout")


@pytest.fixture(scope="module")
def session() -> SmallSession:
    return golden_session("dropout")


def envelope_of(evidence: Evidence, name: str) -> Envelope:
    record = evidence.record
    return {
        "opening": record.open,
        "seal": record.seal,
        f"join of {KYOTO}": record.joins[KYOTO],
        f"contribution of {KYOTO}": record.contributions[KYOTO],
    }[name]


def test_without_a_root_from_outside_nothing_says_that_it_is_the_consortiums(evidence: Evidence) -> None:
    fingerprint = evidence.record.roster.root_fingerprint
    who = "The membership list (5 institutions and one coordinator of consortium testbed) is signed"
    assert found("V10", evidence).sentence == f"{who} as the trust root {fingerprint} demands."
    unknown = found("V10", but_for(evidence, root=None))
    assert unknown.status is Status.NOT_PROVEN
    assert unknown.sentence.startswith(f"{who} under the trust root inside the bundle, but nothing outside")
    assert fingerprint in unknown.sentence


def test_only_participants_take_part(evidence: Evidence) -> None:
    assert participant(evidence.roster, KYOTO).institution == KYOTO
    with pytest.raises(IdentityError, match=f"^{COORDINATOR} is a coordinator of the consortium, not a participant"):
        participant(evidence.roster, COORDINATOR)
    record = evidence.record
    strange = with_record(evidence, contributions={**record.contributions, COORDINATOR: record.open})
    for check in ("V11", "V12"):
        with pytest.raises(IdentityError, match="not a participant"):
            found(check, strange)


def test_statements_and_signatures_are_counted(evidence: Evidence) -> None:
    assert found("V11", evidence).sentence.startswith("12 statements bear signatures of members whose role allows it")
    assert found("V12", evidence).sentence == "15 signatures under the session's statements are genuine."


@pytest.mark.parametrize(("name", "signer", "put"), STATEMENTS)
def test_each_statement_has_its_signer_and_nobody_else(
    evidence: Evidence, session: SmallSession, name: str, signer: str, put: Put
) -> None:
    honest = envelope_of(evidence, name)
    must = f"{name}: must be signed by {signer} alone, but is signed by"
    for keys, who in (
        ((STRANGER,), f"an unknown key {STRANGER.public_key.key_id[:16]}"),
        ((session.key(0),), OSLO),
        ((), ""),
    ):
        wrong = sign_envelope(honest.payload_type, honest.payload, *keys)
        assert refused("V11", put(evidence, wrong)) == f"{must} {who}."
    more = honest.with_signatures(sign_envelope(honest.payload_type, honest.payload, session.key(0)).signatures)
    names = {item.key_id: signer for item in honest.signatures} | {session.key(0).public_key.key_id: OSLO}
    assert refused("V11", put(evidence, more)) == f"{must} {', '.join(names[item.key_id] for item in more.signatures)}."


def test_only_participants_sign_the_list_of_survivors(evidence: Evidence, session: SmallSession) -> None:
    honest = evidence.record.survivors
    strange = sign_envelope(honest.payload_type, honest.payload, session.coordinator).signatures
    changed = with_record(evidence, survivors=honest.with_signatures(strange))
    assert refused("V11", changed) == f"survivors: is signed by {COORDINATOR}, which is not a participant."


@pytest.mark.parametrize("name", [name for name, _, _ in STATEMENTS])
def test_every_signature_is_verified_under_the_name_of_its_statement(evidence: Evidence, name: str) -> None:
    put = {known: put for known, _, put in STATEMENTS}[name]
    honest = envelope_of(evidence, name)
    forged = replace(honest, signatures=tuple(replace(item, signature=bytes(64)) for item in honest.signatures))
    with pytest.raises(SignatureError, match=f"^{name}: "):
        found("V12", put(evidence, forged))
    other = replace(honest, payload_type="application/x")
    with pytest.raises(SignatureError, match=f"^{name}: expected a payload of type .*, found application/x$"):
        found("V12", put(evidence, other))


def test_every_survivors_signature_is_verified(evidence: Evidence) -> None:
    honest = evidence.record.survivors
    first, *others = honest.signatures
    forged = replace(honest, signatures=(*others, replace(first, signature=bytes(64))))
    with pytest.raises(SignatureError, match=r"^survivors: "):
        found("V12", with_record(evidence, survivors=forged))
    with pytest.raises(SignatureError, match=r"^survivors: expected a payload of type "):
        found("V12", with_record(evidence, survivors=replace(honest, payload_type="application/x")))
