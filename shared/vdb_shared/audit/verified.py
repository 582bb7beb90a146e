"""A bundle that was verified, and what it publishes: what comparisons and leaderboards over several bundles start from.

Promises that no bundle in which a check failed gets this far, and that a refusal names the file and the check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from vdb_shared.audit.policy import Policy
from vdb_shared.audit.report import Facts, Report
from vdb_shared.audit.standing_words import words_of
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import ACCOUNTING, METRICS, ROSTER, SPEC
from vdb_shared.canonical import parse_canonical_json
from vdb_shared.errors import UsageError, VerificationError
from vdb_shared.spec import Metric, Spec, parse_spec_json
from vdb_shared.transparency.tiles import Fetch


@dataclass(frozen=True)
class VerifiedBundle:
    """One bundle of which no check failed.

    Attributes:
        name: of the file, as the reader knows it.
        report: of its audit.
        facts: what it is about.
        spec: that all agreed on.
        metrics: metrics.json.
        accounting: accounting.json.
        keys: statement key of each institution in the sum, by name.
    """

    name: str
    report: Report
    facts: Facts
    spec: Spec
    metrics: Mapping[str, Any]
    accounting: Mapping[str, Any]
    keys: Mapping[str, str]

    @cached_property
    def results(self) -> Mapping[tuple[str, str, str], Mapping[str, Any]]:
        """The figures, by metric, kind of inputs and model."""
        return {(item["metric"], item["inputs"], item["model"]): item for item in self.metrics["results"]}

    @cached_property
    def asked(self) -> Mapping[tuple[str, str], Metric]:
        """The spec's metrics, by id and kind of inputs."""
        return {(metric.id, metric.inputs): metric for metric in self.spec.metrics}

    @cached_property
    def reference_clips(self) -> Decimal | None:
        """Number of reference clips, noised; None where no metric compares with them."""
        found = (item["succeeded"] for item in self.metrics["counts"] if item["side"] == "reference")
        return next((Decimal(count) for count in found), None)

    @property
    def rho(self) -> Decimal | None:
        """What the result costs a record, in zero-concentrated privacy; None where no noise was added."""
        rho = self.accounting["rho"]
        return None if rho is None else Decimal(rho)


def open_verified(
    name: str, data: bytes, *, root: str | None, policy: Policy, fetch: Fetch | None = None
) -> VerifiedBundle:
    """Return a bundle after its audit.

    Args:
        name: of the file.
        data: the whole file.
        root: digest of the trust root known from elsewhere, or None.
        policy: the auditor's demands.
        fetch: reads files of the consortium's log; None without access to it.

    Raises:
        VerificationError: a check failed or could not be tried; names the file and the check.
        UsageError: `root` and the policy name different trust roots.
    """
    report = verify(data, root=root, policy=policy, fetch=fetch)
    failure = report.first_failure
    if failure is not None:
        raise VerificationError(f"{name}: {failure.sentence} {failure.detail}".strip(), check=failure.id)
    if report.exit_code or report.facts is None:
        undecided = next(line for line in report.lines if line.status.value in {"SKIPPED", "NOT REACHED"})
        raise VerificationError(
            f"{name}: this required check was not carried out. {undecided.sentence}", check=undecided.id
        )
    members = read_archive(data)
    return VerifiedBundle(
        name=name,
        report=report,
        facts=report.facts,
        spec=parse_spec_json(members[SPEC]),
        metrics=parse_canonical_json(members[METRICS]),
        accounting=parse_canonical_json(members[ACCOUNTING]),
        keys=_keys(members[ROSTER], report.facts.survivors),
    )


def _keys(roster: bytes, institutions: Sequence[str]) -> dict[str, str]:
    members = parse_canonical_json(roster)["members"]
    return {item["institution"]: item["statement_key"] for item in members if item["institution"] in institutions}


def check_distinct(bundles: Sequence[VerifiedBundle]) -> None:
    """Check that no bundle is given twice.

    Raises:
        UsageError: two have the same bytes; names both.
    """
    seen: dict[str, str] = {}
    for bundle in bundles:
        if bundle.report.bundle in seen:
            raise UsageError(f"{seen[bundle.report.bundle]} and {bundle.name} are the same bundle; give each one once")
        seen[bundle.report.bundle] = bundle.name


def labels_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return short names that differ: the files' own, with their place in the list where two would be the same."""
    shown = [name.rpartition("/")[2].removesuffix(".vdbb") for name in names]
    placed = [f"{name} ({place})" for place, name in enumerate(shown, start=1)]
    few = [own if shown.count(own) == 1 else other for own, other in zip(shown, placed, strict=True)]
    return tuple(few if len(set(few)) == len(few) else placed)


def briefly_named(bundles: Sequence[VerifiedBundle]) -> tuple[VerifiedBundle, ...]:
    """Return bundles under their files' own names, or `labels_of` where two would be the same.

    For sentences about them, which are passed on and must name no folder.
    """
    names = [bundle.name.rpartition("/")[2] for bundle in bundles]
    brief = names if len(set(names)) == len(names) else labels_of(names)
    return tuple(replace(bundle, name=name) for name, bundle in zip(brief, bundles, strict=True))


def said_of(bundles: Sequence[VerifiedBundle]) -> tuple[str, ...]:
    """Return all that was said of results since they were published, each sentence with the name of the result."""
    known = ((bundle.name, bundle.report.standing) for bundle in bundles)
    return tuple(f"{name}: {words}" for name, found in known if found is not None for words in words_of(found))


def same_session(bundles: Sequence[VerifiedBundle]) -> tuple[str, ...]:
    """Return a sentence for each session of which two different results are given."""
    by_session: dict[str, list[str]] = {}
    for bundle in bundles:
        by_session.setdefault(bundle.facts.session, []).append(bundle.name)
    return tuple(
        f"{' and '.join(names)} are results of one and the same session, {session}, which has only one: read the log with "
        "`vdb-audit monitor`, and ask the lead."
        for session, names in by_session.items()
        if len(names) > 1
    )
