"""An audit from start to end: every check in order, each on the evidence of one bundle.

Promises that whatever bytes come in, a report comes out: each VdbError is a failure of the check that met it. Needs no
network, no account and no clock; reads the consortium's log only where it is given a way to.

Source: protos/README.md §10.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from vdb_shared.audit.checks import CHECKS
from vdb_shared.audit.checks.base import Check, answered
from vdb_shared.audit.evidence import Evidence, GivenStamp
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Facts, Line, Report, Status
from vdb_shared.audit.standing import Standing
from vdb_shared.canonical import decimal_string, sha256_digest
from vdb_shared.errors import UsageError, VdbError
from vdb_shared.transparency.tiles import Fetch


def verify(  # noqa: PLR0913 - each is something else that an auditor may have
    data: bytes,
    *,
    root: str | None = None,
    policy: Policy = DEFAULT_POLICY,
    draft: bool = False,
    fetch: Fetch | None = None,
    remembered: bytes | None = None,
    statements: Mapping[str, bytes] | None = None,
    stamp: GivenStamp | None = None,
) -> Report:
    """Return the report of an audit of a bundle.

    Args:
        data: the whole file.
        root: digest of the trust root known from elsewhere, or None; then the policy's root is pinned, if it has one.
        policy: the auditor's demands.
        draft: whether countersignatures are still to come, as when an institution decides whether to give its own.
        fetch: reads files of the consortium's log; None without access to it.
        remembered: note of a checkpoint of the log that the auditor kept.
        statements: files with objections to the result and its withdrawal, by name; they fail no bundle.
        stamp: a time stamp, with the roots that the auditor trusts for it.

    Raises:
        UsageError: `root` and the policy name different trust roots.
    """
    if root is not None and policy.root is not None and root != policy.root:
        raise UsageError(f"the policy demands the trust root {policy.root}, but {root} was given; use one of them")
    evidence = Evidence(data, root or policy.root, policy, draft, fetch, remembered, statements or {}, stamp)
    lines: list[Line] = []
    out_of_reach: set[str] = set()
    for check in CHECKS:
        line = _line(check, evidence, out_of_reach)
        lines.append(line)
        if line.status in (Status.FAIL, Status.NOT_REACHED):
            out_of_reach.add(check.id)
    # Facts come from members that are small enough (V02, on which V03 builds) and belong here; others are not parsed.
    facts = None if "V03" in out_of_reach else _facts_or_none(evidence)
    standing = None if "V62" in out_of_reach else _standing_or_none(evidence)
    return Report(sha256_digest(data), len(data), tuple(lines), facts, evidence.root is not None, standing)


def _line(check: Check, evidence: Evidence, out_of_reach: set[str]) -> Line:
    needs = check.needs + (check.full_needs if evidence.full else ())
    missing = [needed for needed in needs if needed in out_of_reach]
    if missing:
        sentence = f"Not tried: it builds on {' and '.join(missing)}, which did not pass."
        return Line(check.id, check.title, Status.NOT_REACHED, sentence)
    return answered(check.id, check.title, check.broken, lambda: check.attempt(evidence))


def facts_of(evidence: Evidence) -> Facts:
    """Return what a bundle says about itself.

    Raises:
        FormatError: a statement cannot be read.
        SpecError: the spec cannot be read.
    """
    spec, result, record = evidence.spec, evidence.result, evidence.record
    return Facts(
        session=record.open.payload_digest,
        seal=record.seal.payload_digest,
        consortium=evidence.opening.consortium,
        title=spec.title,
        joined=tuple(join.institution for join in evidence.seal.joins),
        survivors=result.survivors,
        dropped={item.institution: item.stage for item in result.dropped},
        private=result.private,
        epsilon=decimal_string(spec.privacy.epsilon),
        delta=decimal_string(spec.privacy.delta),
        root=record.roster.root_fingerprint,
        published=result.published,
        supersedes=evidence.opening.supersedes or "",
    )


def _standing_or_none(evidence: Evidence) -> Standing | None:
    try:
        return None if evidence.draft else evidence.standing
    except VdbError:
        return None


def _facts_or_none(evidence: Evidence) -> Facts | None:
    try:
        return facts_of(evidence)
    except VdbError:
        return None
