"""Evidence that says what a golden bundle says but for some parts, for checks that are tried one at a time.

A bundle that lies in one place only takes many accomplices, and its audit computes everything else as well. Here the parts are
put beside each other as no honest session leaves them, and one check is asked.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Final

import pytest

from testkit.golden import golden_file
from vdb_shared.audit.checks import CHECKS
from vdb_shared.audit.checks.base import Finding
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.bundle.statement import Result, Subject
from vdb_shared.errors import VerificationError

_CHECKS: Final = {check.id: check for check in CHECKS}


@cache
def golden_evidence(name: str) -> Evidence:
    """Return what a golden bundle says; its trust root is given from outside."""
    data = golden_file(name).read_bytes()
    root = Evidence(data, None, DEFAULT_POLICY, draft=False).record.roster.root_fingerprint
    return Evidence(data, root, DEFAULT_POLICY, draft=False)


def but_for(evidence: Evidence, **parts: object) -> Evidence:
    """Return the same evidence with other parts.

    Args:
        evidence: all else.
        parts: properties of `Evidence`; what is computed from them is computed anew only if nobody asked for it before.
    """
    changed = copy.copy(evidence)
    for name, part in parts.items():
        if name == "result":
            vars(changed)["_result"] = part, evidence.subjects
        elif name == "subjects":
            vars(changed)["_result"] = evidence.result, part
        elif isinstance(getattr(Evidence, name, None), property):
            raise ValueError(f"{name} has no value of its own")
        else:
            vars(changed)[name] = part
    return changed


def reading(evidence: Evidence, files: Mapping[str, bytes], **parts: object) -> Evidence:
    """Return the same evidence with access to a log of these files."""
    changed = but_for(evidence, fetch=lambda path: files[path], **parts)
    for name in ("log", "monitored", "standing"):
        vars(changed).pop(name, None)
    return changed


def with_result(evidence: Evidence, **fields: object) -> Evidence:
    """Return the same evidence with other fields of the result."""
    result: Result = evidence.result.model_copy(update=fields)
    return but_for(evidence, result=result)


def with_subjects(evidence: Evidence, *subjects: Subject) -> Evidence:
    """Return the same evidence with other members named by the result."""
    return but_for(evidence, subjects=subjects)


def found(check: str, evidence: Evidence) -> Finding:
    """Return what a check finds that does not fail."""
    return _CHECKS[check].attempt(evidence)


def refused(check: str, evidence: Evidence) -> str:
    """Return why a check fails; it must say so in its own name."""
    with pytest.raises(VerificationError) as caught:
        _CHECKS[check].attempt(evidence)
    assert caught.value.check == check
    return caught.value.reason
