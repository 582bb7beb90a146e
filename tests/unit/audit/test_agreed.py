"""V20 to V22 asked by themselves: every field that names the session, its terms, its times, and the auditor's demands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from testkit.evidence import but_for, found, golden_evidence, refused, with_result
from testkit.statements import INSTITUTIONS
from vdb_shared.audit.checks import agreement
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.report import Status
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import VerificationError

NONE = "sha256:" + "0" * 64
KYOTO = "lab-kyoto"


@pytest.fixture
def evidence() -> Evidence:
    return golden_evidence("dropout")


def opening(evidence: Evidence, field: str, value: object) -> Evidence:
    return but_for(evidence, opening=evidence.opening.model_copy(update={field: value}))


def seal(evidence: Evidence, field: str, value: object) -> Evidence:
    return but_for(evidence, seal=evidence.seal.model_copy(update={field: value}))


def of_kyoto(statements: Mapping[str, Any], field: str, value: object) -> dict[str, Any]:
    """Return the statements of all institutions, lab-kyoto's with another field."""
    return {**statements, KYOTO: statements[KYOTO].model_copy(update={field: value})}


def join(evidence: Evidence, field: str, value: object) -> Evidence:
    return but_for(evidence, joins=of_kyoto(evidence.joins, field, value))


def contribution(evidence: Evidence, field: str, value: object) -> Evidence:
    return but_for(evidence, contributions=of_kyoto(evidence.contributions, field, value))


def result(evidence: Evidence, field: str, value: object) -> Evidence:
    return with_result(evidence, **{field: value})


def test_an_honest_session_is_one(evidence: Evidence) -> None:
    assert found("V20", evidence).sentence == (
        "The opening, 5 joins, the seal, 4 contributions and the result all name the same session, spec and membership "
        "list, and the seal says exactly what follows from the spec and from who joined."
    )


@pytest.mark.parametrize(
    ("change", "field", "value", "what"),
    [
        (opening, "spec", NONE, "spec of the opening"),
        (opening, "roster", NONE, "roster of the opening"),
        (opening, "root", NONE, "trust root of the opening"),
        (opening, "consortium", "other", "consortium of the opening"),
        (join, "session", NONE, f"session of the join of {KYOTO}"),
        (join, "spec", NONE, f"spec of the join of {KYOTO}"),
        (join, "roster", NONE, f"roster of the join of {KYOTO}"),
        (join, "institution", "museum-lima", f"institution of the join of {KYOTO}"),
        (join, "seat", 4, f"seat of the join of {KYOTO}"),
        (seal, "session", NONE, "session of the seal"),
        (seal, "spec", NONE, "spec of the seal"),
        (seal, "roster", NONE, "roster of the seal"),
        (seal, "smallest_cohort", 3, "smallest cohort of the seal"),
        (seal, "layout", NONE, "layout of the seal"),
        (seal, "lanes", 154, "lanes of the seal"),
        (seal, "private_lanes", 32, "private lanes of the seal"),
        (seal, "noise_multiplier", "1", "noise multiplier of the seal"),
        (seal, "scale", "1", "scale of the seal"),
        (seal, "public_tasks", 19, "number of public clips of the seal"),
        (seal, "generators", NONE, "generators of the seal"),
        (contribution, "session", NONE, f"session of the contribution of {KYOTO}"),
        (contribution, "seal", NONE, f"seal of the contribution of {KYOTO}"),
        (contribution, "institution", "museum-lima", f"institution of the contribution of {KYOTO}"),
        (contribution, "seat", 4, f"seat of the contribution of {KYOTO}"),
        (result, "session", NONE, "session of the result"),
        (result, "seal", NONE, "seal of the result"),
    ],
)
def test_one_field_that_names_something_else_is_found(
    evidence: Evidence, change: Callable[[Evidence, str, object], Evidence], field: str, value: object, what: str
) -> None:
    stated = {
        "opening": evidence.opening,
        "join": evidence.joins[KYOTO],
        "seal": evidence.seal,
        "contribution": evidence.contributions[KYOTO],
        "result": evidence.result,
    }[change.__name__]
    reason = refused("V20", change(evidence, field, value))
    assert reason == f"{what}: expected {getattr(stated, field)}, found {value}."


def test_a_spec_or_roster_that_the_opening_does_not_name_is_found(evidence: Evidence) -> None:
    changed = but_for(evidence, record=replace(evidence.record, spec=b"{}"))
    assert refused("V20", changed) == (
        f"spec of the opening: expected {sha256_digest(b'{}')}, found {evidence.opening.spec}."
    )


def test_the_seal_lists_the_joins_in_the_order_of_seats(evidence: Evidence) -> None:
    joins = evidence.seal.joins
    wrong = "The seal does not list exactly the joins in the bundle, in the order of seats."
    other = joins[0].model_copy(update={"join": NONE})
    for listed in (joins[:-1], joins[::-1], (*joins, joins[0]), (other, *joins[1:])):
        assert refused("V20", seal(evidence, "joins", listed)) == wrong
    backwards = but_for(evidence, joins={name: evidence.joins[name] for name in reversed(INSTITUTIONS)})
    assert found("V20", backwards).status is Status.PASS


def test_seats_order_the_seal_even_where_names_would_not(evidence: Evidence) -> None:
    first, second, *others = INSTITUTIONS
    seats = {first: 1, second: 0}
    joins = {
        name: item.model_copy(update={"seat": seats.get(name, item.seat)}) for name, item in evidence.joins.items()
    }
    listed = {item.institution: item for item in evidence.seal.joins}
    sealed = tuple(listed[name].model_copy(update={"seat": joins[name].seat}) for name in (second, first, *others))
    agreement._check_seal(but_for(seal(evidence, "joins", sealed), joins=joins))
    with pytest.raises(VerificationError, match="in the order of seats"):
        agreement._check_seal(but_for(evidence, joins=joins))


# V21.


def at(evidence: Evidence, opened: str, sealed: str, published: str) -> Evidence:
    """Return evidence that states these hours of one day."""
    times = [f"2026-01-31T{hour}:00Z" for hour in (opened, sealed, published)]
    return with_result(opening(seal(evidence, "sealed", times[1]), "opened", times[0]), published=times[2])


@pytest.mark.parametrize(
    "times", [("12:00", "12:00", "12:00"), ("12:00", "12:01", "12:01"), ("11:59", "12:00", "12:01")]
)
def test_times_in_order_pass(evidence: Evidence, times: tuple[str, str, str]) -> None:
    assert found("V21", at(evidence, *times)).status is Status.PASS


@pytest.mark.parametrize(
    "times", [("12:01", "12:00", "12:02"), ("12:00", "12:02", "12:01"), ("12:02", "12:03", "12:01")]
)
def test_times_out_of_order_fail(evidence: Evidence, times: tuple[str, str, str]) -> None:
    opened, sealed, published = (f"2026-01-31T{hour}:00Z" for hour in times)
    assert refused("V21", at(evidence, *times)) == f"opened {opened}, sealed {sealed}, published {published}."


# V22.


def demanding(evidence: Evidence, **policy: object) -> Evidence:
    return but_for(evidence, policy=DEFAULT_POLICY.model_copy(update=policy))


def test_parameters_at_the_limits_of_a_policy_meet_it(evidence: Evidence) -> None:
    strict = demanding(
        evidence,
        maximum_epsilon=Decimal(8),
        maximum_delta=Decimal("0.000001"),
        minimum_cohort=4,
        minimum_collusion=1,
        root=evidence.record.roster.root_fingerprint,
    )
    assert found("V22", strict).sentence == (
        "The parameters meet the policy: ε 8 (at most 8), δ 0.000001 (at most 0.000001), at least 4 institutions in the sum "
        "(at least 4), 1 of them possibly dishonest (at least 1)."
    )
    assert found("V22", evidence).status is Status.PASS


def test_every_parameter_beyond_a_policy_is_named(evidence: Evidence) -> None:
    root = evidence.record.roster.root_fingerprint
    problems: dict[str, tuple[object, str]] = {
        "maximum_epsilon": (Decimal("7.9"), "ε is 8, above 7.9"),
        "maximum_delta": (Decimal("0.0000009"), "δ is 0.000001, above 9E-7"),
        "minimum_cohort": (5, "as few as 4 institutions may be in the sum, below 5"),
        "minimum_collusion": (2, "withstands 1 dishonest institutions, below 2"),
        "root": (NONE, f"trust root is {root}, not {NONE}"),
    }
    for field, (value, problem) in problems.items():
        assert refused("V22", demanding(evidence, **{field: value})) == f"{problem}."
    everything = demanding(evidence, **{field: value for field, (value, _) in problems.items()})
    assert refused("V22", everything) == "; ".join(problem for _, problem in problems.values()) + "."
