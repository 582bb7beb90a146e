"""What a bundle or a statement about one says, believed for the moment.

Source: protos/README.md §10.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.report import Facts
from vdb_shared.audit.verify import facts_of
from vdb_shared.bundle.objections import Objection, Withdrawal, names_withdrawal, parse_envelope
from vdb_shared.bundle.statement import parse_statement


@dataclass(frozen=True, slots=True)
class Description:
    """The facts that a bundle states, and the sizes of its members by name."""

    facts: Facts
    members: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, as `vdb-audit inspect --json` prints it."""
        return {**self.facts.to_json(), "members": dict(self.members)}


def describe(data: bytes) -> Description:
    """Return what a bundle says about itself.

    Raises:
        FormatError: it is not a bundle.
        SpecError: its spec is not one.
    """
    evidence = Evidence(data, None, DEFAULT_POLICY, draft=True)
    sizes = {name: len(content) for name, content in sorted(evidence.members.items())}
    return Description(facts_of(evidence), sizes)


def is_statement(data: bytes) -> bool:
    """Return whether a file begins as an envelope does, which no bundle does."""
    return data[:1] == b"{"


def describe_statement(data: bytes) -> dict[str, str]:
    """Return what an objection or a withdrawal says, and whose keys are said to have signed it.

    Raises:
        FormatError: it is neither.
    """
    envelope = parse_envelope(data)
    kind = Withdrawal if names_withdrawal(envelope) else Objection
    predicate, _ = parse_statement(envelope.payload, kind)
    signers = ", ".join(item.key_id for item in envelope.signatures)
    said: dict[str, str] = predicate.model_dump(mode="json")
    return {"statement": kind.kind, "digest": envelope.payload_digest, **said, "signed_by": signers}
