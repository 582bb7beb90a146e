"""V50 to V70: who published, who agreed, what the log shows of it (`logged.py`), and what only a participant could show.

Source: protos/README.md §10.9.
"""

from __future__ import annotations

from typing import Final

from vdb_shared import labels
from vdb_shared.audit.checks import logged
from vdb_shared.audit.checks.base import Check, Finding, demand, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status


def _coordinator(evidence: Evidence) -> Finding:
    envelope, coordinator = evidence.result_envelope, evidence.roster.coordinator
    demand(
        "V50",
        len(envelope.signatures) == 1,
        f"{len(envelope.signatures)} signatures, expected the coordinator's alone.",
    )
    envelope.verify(labels.TYPE_STATEMENT, [coordinator.public_key])
    return passed(f"The result is signed by the coordinator that the roster names: {coordinator.institution}.")


def _countersigned(evidence: Evidence) -> Finding:
    if evidence.draft:
        return Finding(Status.SKIPPED, "This is a draft: the institutions are still to verify and countersign it.")
    envelope = evidence.countersign
    demand(
        "V51",
        envelope.payload == evidence.result_envelope.payload,
        "The institutions countersigned another result than the one in the bundle.",
    )
    keys = [evidence.roster.seated(seat).public_key for seat in evidence.survivors]
    envelope.verify(labels.TYPE_STATEMENT, keys)
    count = len(envelope.signatures)
    demand("V51", count >= evidence.quorum, f"{count} countersignatures, but {evidence.quorum} are needed.")
    return passed(
        f"{count} of the {len(keys)} institutions in the sum countersigned this very result, which their software does only "
        f"after an audit of its own; {evidence.quorum} were needed."
    )


def _receipts(_evidence: Evidence) -> Finding:
    return not_proven(
        "That no institution's accepted contribution vanished cannot be shown from the bundle: only the institution itself "
        "holds the evidence, and `vdb-participant journal verify` compares it with this bundle. An institution that dropped "
        "out is listed as such."
    )


CHECKS: Final = (
    Check(
        "V50", "Coordinator's signature", "The result is not signed by the coordinator.", ("V10", "V03"), _coordinator
    ),
    Check(
        "V51",
        "Countersignatures",
        "Too few of the institutions in the sum countersigned this result.",
        ("V32",),
        _countersigned,
    ),
    *logged.CHECKS,
    Check("V70", "Receipts", "An accepted contribution is missing.", (), _receipts),
)
