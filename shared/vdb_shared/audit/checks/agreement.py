"""V20 to V22: all statements belong to one session, in one order, under parameters that follow from what was agreed.

Source: protos/README.md §10.6.
"""

from __future__ import annotations

from typing import Final

from vdb_shared.audit.checks.base import Check, Finding, demand, demand_equal, passed
from vdb_shared.audit.checks.logged import ANNOUNCED
from vdb_shared.audit.evidence import Evidence, moment
from vdb_shared.audit.policy import too_weak
from vdb_shared.bundle.statement import SealedJoin
from vdb_shared.canonical import sha256_digest
from vdb_shared.seal import SealTerms
from vdb_shared.wording import counted

_V20: Final = "V20"


def _one_session(evidence: Evidence) -> Finding:
    _check_opening(evidence)
    _check_joins(evidence)
    _check_seal(evidence)
    _check_contributions(evidence)
    demand_equal(_V20, "session of the result", evidence.record.open.payload_digest, evidence.result.session)
    demand_equal(_V20, "seal of the result", evidence.record.seal.payload_digest, evidence.result.seal)
    return passed(
        f"The opening, {counted(len(evidence.joins), 'join')}, the seal, "
        f"{counted(len(evidence.contributions), 'contribution')} and the result all name the same session, spec and membership "
        "list, and the seal says exactly what follows from "
        "the spec and from who joined."
    )


def _check_opening(evidence: Evidence) -> None:
    opening, record = evidence.opening, evidence.record
    for what, expected, found in (
        ("spec of the opening", sha256_digest(record.spec), opening.spec),
        ("roster of the opening", sha256_digest(record.roster.roster), opening.roster),
        ("trust root of the opening", record.roster.root_fingerprint, opening.root),
        ("consortium of the opening", evidence.roster.consortium, opening.consortium),
    ):
        demand_equal(_V20, what, expected, found)


def _check_joins(evidence: Evidence) -> None:
    opening, session = evidence.opening, evidence.record.open.payload_digest
    for name, join in evidence.joins.items():
        for what, expected, found in (
            ("session", session, join.session),
            ("spec", opening.spec, join.spec),
            ("roster", opening.roster, join.roster),
            ("institution", name, join.institution),
            ("seat", evidence.roster.member(name).seat, join.seat),
        ):
            demand_equal(_V20, f"{what} of the join of {name}", expected, found)


def _check_seal(evidence: Evidence) -> None:
    seal, record = evidence.seal, evidence.record
    joins = tuple(
        SealedJoin(institution=name, seat=join.seat, join=record.joins[name].payload_digest)
        for name, join in sorted(evidence.joins.items(), key=lambda item: item[1].seat)
    )
    demand(_V20, seal.joins == joins, "The seal does not list exactly the joins in the bundle, in the order of seats.")
    for what, expected, found in (
        ("session of the seal", record.open.payload_digest, seal.session),
        ("spec of the seal", evidence.opening.spec, seal.spec),
        ("roster of the seal", evidence.opening.roster, seal.roster),
        *_terms(evidence.terms, evidence),
    ):
        demand_equal(_V20, what, expected, found)


def _terms(terms: SealTerms, evidence: Evidence) -> tuple[tuple[str, object, object], ...]:
    seal = evidence.seal
    return (
        ("smallest cohort of the seal", terms.smallest_cohort, seal.smallest_cohort),
        ("layout of the seal", terms.layout.digest, seal.layout),
        ("lanes of the seal", terms.layout.lanes, seal.lanes),
        ("private lanes of the seal", terms.layout.private_lanes, seal.private_lanes),
        ("noise multiplier of the seal", terms.noise_multiplier, seal.noise_multiplier),
        ("scale of the seal", terms.scale, seal.scale),
        ("number of public clips of the seal", terms.public_tasks, seal.public_tasks),
        ("generators of the seal", terms.generators, seal.generators),
    )


def _check_contributions(evidence: Evidence) -> None:
    for name, contribution in evidence.contributions.items():
        for what, expected, found in (
            ("session", evidence.record.open.payload_digest, contribution.session),
            ("seal", evidence.record.seal.payload_digest, contribution.seal),
            ("institution", name, contribution.institution),
            ("seat", evidence.roster.member(name).seat, contribution.seat),
        ):
            demand_equal(_V20, f"{what} of the contribution of {name}", expected, found)


def _order(evidence: Evidence) -> Finding:
    opened, sealed = moment(evidence.opening.opened), moment(evidence.seal.sealed)
    demand(
        "V21",
        opened <= sealed <= evidence.published,
        f"opened {evidence.opening.opened}, sealed {evidence.seal.sealed}, published {evidence.result.published}.",
    )
    return passed(
        "Each join names the opening, the seal names the joins, each contribution names the seal, and the result names the "
        "contributions: none of them can have been made before what it names. The coordinator's own times agree."
    )


def _policy(evidence: Evidence) -> Finding:
    spec, policy = evidence.spec, evidence.policy
    problems = too_weak(spec.privacy.epsilon, spec.privacy.delta, policy) + [
        problem
        for broken, problem in (
            (
                evidence.seal.smallest_cohort < policy.minimum_cohort,
                f"as few as {evidence.seal.smallest_cohort} institutions may be in the sum, below {policy.minimum_cohort}",
            ),
            (
                spec.cohort.collusion < policy.minimum_collusion,
                f"withstands {spec.cohort.collusion} dishonest institutions, below {policy.minimum_collusion}",
            ),
            (
                policy.root not in (None, *evidence.record.roster.root_fingerprints),
                f"trust root is {evidence.record.roster.root_fingerprint}, not {policy.root}",
            ),
        )
        if broken
    ]
    demand("V22", not problems, "; ".join(problems) + ".")
    return passed(
        f"The parameters meet the policy: ε {spec.privacy.epsilon} (at most {policy.maximum_epsilon}), δ {spec.privacy.delta} "
        f"(at most {policy.maximum_delta}), at least {evidence.seal.smallest_cohort} institutions in the sum (at least "
        f"{policy.minimum_cohort}), {spec.cohort.collusion} of them possibly dishonest (at least {policy.minimum_collusion})."
    )


CHECKS: Final = (
    Check(
        _V20,
        "One session",
        "The statements do not all belong to one session, or the seal says something that does not follow from the spec "
        "and the joins.",
        ("V10",),
        _one_session,
    ),
    Check("V21", "Order of events", "The stated times contradict the order of a session.", ("V20",), _order),
    ANNOUNCED,
    Check("V22", "Parameters", "The session's parameters are weaker than the policy allows.", ("V20",), _policy),
)
