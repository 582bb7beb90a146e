"""Golden results as readers hold them, told from their files: nothing is verified again, so a test has them in milliseconds.

What an audit of a golden bundle reports lies beside it; `tests/golden` shows that it is what an audit reports now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from testkit.golden import golden_file
from vdb_shared.audit.report import Facts, Line, Report, Status
from vdb_shared.audit.standing import Objected, Standing, Successor, Withdrawn
from vdb_shared.audit.verified import VerifiedBundle
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import ACCOUNTING, METRICS, ROSTER, SPEC
from vdb_shared.spec import parse_spec_json


@cache
def golden_told(name: str) -> Report:
    """Return what an audit reports of a golden bundle, read back from its report.json."""
    told = json.loads(golden_file(name).with_suffix(".report.json").read_bytes())
    lines = tuple(_line(line) for line in told["checks"])
    return Report(
        bundle=told["bundle"],
        size=told["size"],
        lines=lines,
        facts=_facts(told["facts"]),
        pinned=told["root_pinned"],
        standing=None if told["standing"] is None else _standing(told["standing"]),
    )


def _line(told: Mapping[str, Any]) -> Line:
    return Line(**{**told, "status": Status(told["status"]), "said": tuple(told.get("said", ()))})


def _facts(told: Mapping[str, Any]) -> Facts:
    dropped = {item["institution"]: item["stage"] for item in told["dropped"]}
    joined, survivors = tuple(told["joined"]), tuple(told["survivors"])
    return Facts(**{**told, "dropped": dropped, "joined": joined, "survivors": survivors})


def _standing(told: Mapping[str, Any]) -> Standing:
    return Standing(
        read=told["log_read"],
        objections=tuple(Objected(**item) for item in told["objections"]),
        withdrawn=None if told["withdrawn"] is None else Withdrawn(**told["withdrawn"]),
        further=tuple(Withdrawn(**item) for item in told["further_withdrawals"]),
        successors=tuple(Successor(**item) for item in told["successors"]),
        supersedes=told["supersedes"],
        refused=told["refused"],
        faults=tuple(told["faults"]),
        unreadable=tuple(told["unreadable_entries"]),
    )


def golden_published(name: str) -> VerifiedBundle:
    """Return a golden bundle as it is after its audit; what follows from it is computed anew for each caller."""
    return replace(_published(name))


@cache
def _published(name: str) -> VerifiedBundle:
    members, report = read_archive(golden_file(name).read_bytes()), golden_told(name)
    if report.facts is None:
        raise ValueError(f"{name} has no facts")
    roster = json.loads(members[ROSTER])["members"]
    return VerifiedBundle(
        name=f"{name}.vdbb",
        report=report,
        facts=report.facts,
        spec=parse_spec_json(members[SPEC]),
        metrics=json.loads(members[METRICS]),
        accounting=json.loads(members[ACCOUNTING]),
        keys={
            item["institution"]: item["statement_key"]
            for item in roster
            if item["institution"] in report.facts.survivors
        },
    )


def with_metrics(bundle: VerifiedBundle, change: Callable[[dict[str, Any]], object]) -> VerifiedBundle:
    """Return a result that publishes other figures."""
    metrics = json.loads(json.dumps(bundle.metrics))
    change(metrics)
    return replace(bundle, metrics=metrics)
