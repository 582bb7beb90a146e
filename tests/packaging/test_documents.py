"""Documents name only what is there: files, tests, checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vdb_shared.audit.checks import CHECKS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_tests_are_there(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#:]+)", text):
        assert (document.parent / target).exists(), target
    for named in re.findall(r"`(tests/[A-Za-z0-9_/]+\.py)`", text):
        assert (ROOT / named).is_file(), named


@pytest.mark.parametrize("name", ["threat-model.md", "audit-guide.md"])
def test_check_ids_are_those_of_the_audit(name: str) -> None:
    known = {check.id for check in CHECKS}
    found = set(re.findall(r"\b([VN][0-9]{2}(?:\.[a-z]+)?)\b", (ROOT / "docs" / name).read_text()))
    assert not found - known
    assert not {check for check in known if check.startswith("N")} - found


def test_every_attack_names_the_test_that_shows_it() -> None:
    """Each row of a table of attacks has a test beside what stops it."""
    text = (ROOT / "docs" / "threat-model.md").read_text()
    tables = [part for part in text.split("\n## ") if "| test |" in part]
    assert len(tables) == 8
    for table in tables:
        rows = [line for line in table.splitlines() if line.startswith("| ") and "| --- |" not in line][1:]
        assert rows
        for row in rows:
            assert "`tests/" in row, row
