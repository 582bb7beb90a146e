"""The figures of a benchmark: rows that are printed as a table and written as JSON.

Promises one form for all scripts: {name, value, unit, bound, holds}; value null where something could not be measured, whose
reason the name then gives; bound and holds null where none is asked. A bound that could not be measured does not hold. Who
imports this may import `testkit`, which simulates sessions, too.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured; and why not, if it was not.
        value: None if it was not measured.
        unit: of value and bound.
        bound: limit of the value, or None.
        at_least: whether the bound is a lower one.
    """

    name: str
    value: float | None
    unit: str
    bound: float | None = None
    at_least: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps its bound; None where none is asked, False where nothing was measured."""
        if self.bound is None:
            return None
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        value = (
            "-" if self.value is None else f"{self.value:.1e}" if 0 < abs(self.value) < 1e-3 else f"{self.value:.3f}"
        )
        verdict = "holds" if self.holds else "BROKEN" if self.value is not None else "NOT MEASURED"
        bound = "" if self.bound is None else f"{'>=' if self.at_least else '<='} {self.bound:g} {verdict}"
        return f"{self.name:<72} {value:>12} {self.unit:<6} {bound}".rstrip()


def report(rows: Sequence[Row], remark: str, path: Path | None) -> int:
    """Print the rows, write them as JSON if a path is given, and return the exit status.

    It is 1 when a bound is broken or was not measured.

    Args:
        rows: in the order of the table.
        remark: what the figures depend on besides the machine.
        path: of the JSON file, or None.
    """
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {remark}")
    for row in rows:
        print(row)
    if path:
        facts = [
            {"name": row.name, "value": row.value, "unit": row.unit, "bound": row.bound, "holds": row.holds}
            for row in rows
        ]
        path.write_text(json.dumps(facts, indent=1) + "\n")
    return 1 if any(row.holds is False for row in rows) else 0
