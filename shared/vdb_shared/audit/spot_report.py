"""What a spot check says: a line for each question, a verdict, and how likely it was to miss what is wrong.

Promises that a question which could not be tried never counts as answered, and that what nobody can check counts for nothing in
that chance. Leaves the questions to `spot_check.py`.

Source: protos/README.md §10.14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vdb_shared.audit.report import EXIT_CODES, Line, Status, Verdict
from vdb_shared.audit.standing import Standing
from vdb_shared.audit.text import MARKED
from vdb_shared.wording import counted

REPORT_VERSION: Final = "vdb-samples-report/1"

_SUPPOSED: Final = 10
"""One line in so many is supposed to be wrong where the report says how likely it is to have been missed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """How much of a list was opened.

    Attributes:
        opened, total: how many lines, of how many; 0 where the file cannot be read.
        without: how many of the opened lines have no clip, since they failed; nobody can check what they say.
        clips: how many different clips the others have.
    """

    opened: int
    total: int
    without: int
    clips: int


@dataclass(frozen=True, slots=True)
class SampleReport:
    """A finished spot check.

    Attributes:
        bundle, file: digests of both files.
        lines: in the order of the questions.
        extent: how much was opened.
        standing: what was said of the result since it was published; None where that was not looked at.
    """

    bundle: str
    file: str
    lines: tuple[Line, ...]
    extent: Opened
    standing: Standing | None = None

    @property
    def failure(self) -> Line | None:
        """The first question that was answered against the file."""
        return next((line for line in self.lines if line.status is Status.FAIL), None)

    @property
    def outcome(self) -> Verdict:
        """FAIL if a question was answered against the file, INCOMPLETE if one could not be tried, else PASS."""
        if self.failure is not None:
            return Verdict.FAIL
        return Verdict.INCOMPLETE if self._untried() else Verdict.PASS

    @property
    def exit_code(self) -> int:
        """Exit status of the command."""
        return EXIT_CODES[self.outcome]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.failure is not None:
            return f"FAIL: do not rely on these records. {self.failure.id}: {self.failure.sentence}"
        if self._untried():
            return f"INCOMPLETE: nothing failed, but {', '.join(self._untried())} could not be tried."
        mark = "" if self.standing is None else self.standing.mark
        but = f", BUT {MARKED[mark]}" if mark in MARKED else ""
        return (
            f"PASS{but}: {counted(self.extent.opened, 'record')} of {self.extent.total} stood in the list before anybody knew "
            f"that they would be asked for. {_chance(self.extent)}{_disputed(self.standing)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "bundle": self.bundle,
            "checks": [line.to_json() for line in self.lines],
            "clips": self.extent.clips,
            "file": self.file,
            "opened": self.extent.opened,
            "standing": None if self.standing is None else self.standing.to_json(),
            "total": self.extent.total,
            "without_clip": self.extent.without,
            "verdict": self.outcome.value,
            "version": REPORT_VERSION,
        }

    def _untried(self) -> list[str]:
        return [line.id for line in self.lines if line.status in (Status.SKIPPED, Status.NOT_REACHED)]


def missed(extent: Opened) -> float:
    """Return the highest chance that the opened lines meet no false clip, if one in ten of all clips in the list is false.

    How many clips the list has is not known: lines that were not opened may lack one. The more there are, the higher is the
    chance, so it is taken for the most: as if only those lines lacked one, or repeated one, that were opened so.
    """
    if extent.clips == 0:
        return 1.0
    if extent.opened == extent.total:
        return 0.0
    most = extent.total - (extent.opened - extent.clips)
    chance = 1.0
    for drawn in range(extent.clips):
        chance *= max(most * (1 - 1 / _SUPPOSED) - drawn, 0.0) / (most - drawn)
    return chance


def _disputed(standing: Standing | None) -> str:
    number = 0 if standing is None else len(standing.counted)
    return (
        f" To the result there {'is 1 objection' if number == 1 else f'are {number} objections'}: see S01."
        if number
        else ""
    )


def _chance(extent: Opened) -> str:
    if extent.clips == 0:
        return "None of them has a clip, so nobody can check what they say."
    return (
        f"They have {counted(extent.clips, 'different clip')}. Were one in {_SUPPOSED} of all clips in the list false, these "
        f"would have met none with a chance of at most {missed(extent):.2g}."
    )
