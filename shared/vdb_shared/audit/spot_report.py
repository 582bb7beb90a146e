"""What a spot check says: a line for each question, a verdict, and how likely it was to miss what is wrong.

Promises that a question which could not be tried never counts as answered. Leaves the questions to `spot_check.py`.

Source: protos/README.md §10.14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vdb_shared.audit.checks.base import counted
from vdb_shared.audit.report import Line, Status

REPORT_VERSION: Final = "vdb-samples-report/1"

_SUPPOSED: Final = 10
"""One line in so many is supposed to be wrong where the report says how likely it is to have been missed."""


@dataclass(frozen=True, slots=True)
class SampleReport:
    """A finished spot check.

    Attributes:
        bundle, file: digests of both files.
        lines: in the order of the questions.
        opened, total: how many lines, of how many; 0 where the file cannot be read.
    """

    bundle: str
    file: str
    lines: tuple[Line, ...]
    opened: int
    total: int

    @property
    def failure(self) -> Line | None:
        """The first question that was answered against the file, or could not be tried."""
        return next((line for line in self.lines if line.status in (Status.FAIL, Status.NOT_REACHED)), None)

    @property
    def exit_code(self) -> int:
        """0 if nothing failed, else 1."""
        return 0 if self.failure is None else 1

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.failure is not None:
            return f"FAIL: do not rely on these records. {self.failure.id}: {self.failure.sentence}"
        return (
            f"PASS: {counted(self.opened, 'record')} of {self.total} stood in the list before anybody knew that they would be "
            f"asked for. Were one line in {_SUPPOSED} false, a choice of as many would have met none with a chance of "
            f"{missed(self.opened, self.total):.2g}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "bundle": self.bundle,
            "checks": [line.to_json() for line in self.lines],
            "file": self.file,
            "opened": self.opened,
            "total": self.total,
            "verdict": "PASS" if self.failure is None else "FAIL",
            "version": REPORT_VERSION,
        }


def missed(opened: int, total: int) -> float:
    """Return the chance that lines drawn without putting back meet none of the false ones, if one in ten is false."""
    false = -(-total // _SUPPOSED)
    chance = 1.0
    for drawn in range(opened):
        chance *= max(total - false - drawn, 0) / (total - drawn)
    return chance
