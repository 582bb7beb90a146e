"""What became of mutants: a record that is written as outcomes become known, and the table that is read off it.

Promises that an outcome counts only for the very source and operators that it was found with. Leaves finding outcomes to
`mutation_testing.py`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testkit import mutations
from testkit.mutations import Mutant

_OPERATORS: Final = Path(mutations.__file__)
_ROOTS: Final = (Path("shared"), Path("coordinator"), Path("participant"))


@dataclass(frozen=True, slots=True)
class Module:
    """A module under test: its file, name and source."""

    file: Path
    name: str
    source: str

    @property
    def digest(self) -> str:
        """SHA-256 of the source and of what makes mutants of it."""
        return hashlib.sha256(_OPERATORS.read_bytes() + self.source.encode()).hexdigest()


def modules_of(paths: Sequence[Path]) -> list[Module]:
    """Return the modules in files and folders of shared/, coordinator/ and participant/."""
    files = [
        file.resolve() for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("[!_]*.py")))
    ]
    return [Module(file, _name(file), file.read_text()) for file in files]


def _name(file: Path) -> str:
    root = next(root for root in map(Path.resolve, _ROOTS) if file.is_relative_to(root))
    return ".".join(file.relative_to(root).with_suffix("").parts)


@dataclass(frozen=True)
class Record:
    """Outcomes in a file, one a line, each written as soon as it is known."""

    file: Path

    def outcomes(self) -> dict[tuple[str, str, int], bool]:
        """Return whether a mutant was killed, by its module, that module's digest, and its number."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        rows = [json.loads(line) for line in lines]
        return {(row["module"], row["source"], row["number"]): row["killed"] for row in rows}

    def add(self, module: Module, mutant: Mutant, killer: str | None) -> None:
        """Write down which test killed a mutant, or None if none did; several processes may."""
        row = {
            "module": module.name,
            "source": module.digest,
            "number": mutant.number,
            "line": mutant.line,
            "what": mutant.what,
            "killed": killer is not None,
            "by": killer,
        }
        with self.file.open("a") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        _tell(module, mutant, killer is not None)


def _tell(module: Module, mutant: Mutant, killed: bool) -> None:
    if not killed:
        sys.stderr.write(f"survives: {module.file.name}:{mutant.line} {mutant.what} [{mutant.number}]\n")
    elif mutant.number % 20 == 0:
        sys.stderr.write(f"{module.file.name} [{mutant.number}]\n")
    sys.stderr.flush()


def text_of(module: Module, mutant: Mutant) -> str:
    """Return the line of the source in which a mutant changes something."""
    return module.source.splitlines()[mutant.line - 1].strip() if mutant.line else ""


def report(
    modules: Sequence[Module],
    every: Sequence[tuple[Module, Mutant]],
    record: Record,
    path: Path | None,
) -> None:
    """Print how many mutants of each module were killed; write every mutant and what became of it, if a file is named."""
    found = record.outcomes()
    rows = [
        {
            "module": module.name,
            "line": mutant.line,
            "text": text_of(module, mutant),
            "what": mutant.what,
            "function": mutant.function,
            "killed": found[module.name, module.digest, mutant.number],
        }
        for module, mutant in every
    ]
    for module in modules:
        of = [row for row in rows if row["module"] == module.name]
        killed = sum(bool(row["killed"]) for row in of)
        sys.stdout.write(
            f"{module.name:<48} {len(of):>5} mutants {killed:>5} killed {100 * killed / max(len(of), 1):6.1f} %" + "\n"
        )
    killed = sum(bool(row["killed"]) for row in rows)
    sys.stdout.write(
        f"{'all':<48} {len(rows):>5} mutants {killed:>5} killed {100 * killed / max(len(rows), 1):6.1f} %" + "\n"
    )
    if path:
        path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
