"""What tests of the commands of `vdb-audit` compare with: golden bundles, their trust root, and what a function prints."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from testkit.audit_cli import Done
from testkit.golden import FOLDER, golden_file
from testkit.published import golden_told
from testkit.shown_ways import plain
from vdb_shared.audit.report import Report
from vdb_shared.audit.verify import verify
from vdb_shared.canonical import canonical_json

NARROW = 40
"""Columns into which no sentence fits: those that are meant to stay on one line do."""

DISPUTED = FOLDER / "disputed"
ROOT = golden_told("full").facts.root  # type: ignore[union-attr]  # a golden bundle has facts
OTHER = "sha256:" + "4" * 64


def shown(done: Done, show: Callable[[Console], object]) -> None:
    """Check that a command printed just this and succeeded."""
    assert done.stdout == plain(show, width=NARROW)
    assert (done.returncode, done.stderr) == (0, "")


def printed_json(value: object) -> str:
    return canonical_json(value).decode() + "\n"


def audited(name: str, **given: object) -> Report:
    return verify(golden_file(name).read_bytes(), **given)  # type: ignore[arg-type]  # as `verify` takes them
