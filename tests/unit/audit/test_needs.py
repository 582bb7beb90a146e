"""Which check builds on which is what the specification says, so that nothing is tried on what was not shown."""

from __future__ import annotations

import re
from pathlib import Path

from vdb_shared.audit.checks import CHECKS

SPECIFICATION = Path(__file__).parents[3] / "protos" / "README.md"
ROW = re.compile(r"^\| (?P<id>V\d\d(?:\.[a-z]+)?) \|.*\|(?P<needs>[^|]*)\|$", re.MULTILINE)
ID = re.compile(r"V\d\d(?:\.[a-z]+)?")


def specified() -> dict[str, set[str]]:
    """Return the ids in the last column of each check's row."""
    text = SPECIFICATION.read_text()
    audit = text[text.index("## 10. The audit") : text.index("### 10.10")]
    return {row["id"]: set(ID.findall(row["needs"])) for row in ROW.finditer(audit)}


def test_every_check_builds_on_what_the_specification_says() -> None:
    implemented = {
        check.id: set(check.needs) | set(getattr(check, "full_needs", ())) for check in CHECKS if check.id[0] == "V"
    }
    assert implemented == specified()


def test_every_check_builds_on_earlier_ones() -> None:
    earlier: set[str] = set()
    for check in CHECKS:
        assert check.id not in earlier
        assert set(check.needs) <= earlier
        earlier.add(check.id)
