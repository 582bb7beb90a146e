"""`policy lint` as the operator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vdb_participant.commands.screen import console
from vdb_participant.commands.spec_file import read_spec
from vdb_participant.site.config import StateFolder
from vdb_participant.site.policy import check_models, check_policy, parse_policy
from vdb_participant.site.policy_lint import Remark, lint
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import BudgetError, UsageError
from vdb_shared.metrics.catalogue import CATALOGUE
from vdb_shared.registry.rows import load_registry
from vdb_shared.text_files import utf8_problem


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Attributes:
        file: the policy.
        remarks: on it.
        refusal: why it does not allow the spec that was named; "" if it does, or none was.
        spec: the spec's file, or None.
    """

    file: Path
    remarks: tuple[Remark, ...]
    refusal: str
    spec: Path | None

    @property
    def refused(self) -> bool:
        """Whether the policy, or the spec under it, is refused."""
        return bool(self.refusal) or any(remark.error for remark in self.remarks)


def examine(folder: StateFolder, file: Path, spec: Path | None) -> Found:
    """Return what is to be said of a policy, and whether it allows a spec.

    Raises:
        UsageError: a file cannot be read, or the spec is wrong.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{file}: is not there; name the policy's file, or the agent's folder with --dir") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: {utf8_problem(error)}") from error
    except OSError as error:
        raise UsageError(f"{file}: expected a policy, cannot read it ({error.strerror})") from error
    remarks = lint(
        text, CATALOGUE, {name: row.licence.name for name, row in load_registry(folder.registry).rows.items()}
    )
    refusal = ""
    if spec is not None and not any(remark.error for remark in remarks):
        try:
            policy, wanted = parse_policy(text, file=str(file)), read_spec(spec)
            check_policy(policy, wanted)
            check_models(policy, wanted, load_registry(folder.registry))
        except BudgetError as error:
            refusal = str(error)
    return Found(file, remarks, refusal, spec)


def tell(found: Found) -> None:
    """Print it."""
    out = console()
    for remark in found.remarks:
        place = ":".join(str(part) for part in (found.file, remark.line) if part is not None)
        kind = "error" if remark.error else "warning"
        out.print(": ".join(part for part in (place, kind, remark.field, remark.words) if part))
    if found.refusal:
        out.print(f"{found.spec}: refused by {found.refusal}")
    elif found.spec is not None and not found.refused:
        out.print(f"{found.spec}: allowed")
    if not found.remarks:
        out.print(f"{found.file}: no mistakes")


def encoded(found: Found) -> str:
    """Return it as a line of JSON."""
    remarks = [
        {"line": item.line, "field": item.field, "words": item.words, "error": item.error} for item in found.remarks
    ]
    return canonical_json({"refusal": found.refusal, "remarks": remarks}).decode() + "\n"
