"""What became of sessions under faults, one line each, and the table and the JSON of many of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

RECOVERY_SECONDS: Final = 5.0
"""What a coordinator may take from its death until it serves again, its program's start included."""


@dataclass
class Outcome:
    """What became of one session, or of one disk.

    Attributes:
        part: of the campaign.
        fault: its name, with the seed or place that makes it this one.
        ended: how, in words: "published", "refused", "comes up".
        deaths: of processes.
        recovery: seconds from a coordinator's death until it served again, the longest.
        trials: of what this line counts together; 1 for a session.
        broken: promises, in words.
    """

    part: str
    fault: str
    ended: str = ""
    deaths: int = 0
    recovery: float = 0.0
    trials: int = 1
    broken: list[str] = field(default_factory=list)

    def judge(self, *, busy: bool) -> None:
        """Add the promise that no single step sees broken: that whoever died serves again soon.

        Args:
            busy: whether others used the machine too, so that seconds say nothing of the program; they are reported only.
        """
        if self.recovery > RECOVERY_SECONDS and not busy:
            self.broken.append(f"served again only after {self.recovery:.1f} s")

    @property
    def line(self) -> str:
        """The outcome for whoever watches."""
        words = "; ".join(self.broken) or self.ended
        return f"{self.part:<14} {self.fault:<44} {self.deaths:>3} deaths {self.recovery:5.2f} s  {words}"


def to_json(outcomes: Sequence[Outcome], seed: int) -> str:
    """Return the report for programs."""
    found = {"version": "vdb-faults/1", "seed": seed, "outcomes": [asdict(one) for one in outcomes]}
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def from_json(text: str) -> list[Outcome]:
    """Return the outcomes of a report for programs."""
    return [Outcome(**one) for one in json.loads(text)["outcomes"]]


def to_table(outcomes: Iterable[Outcome]) -> str:
    """Return the report for readers, in Markdown; faults of a part that differ in their seed alone are counted together."""
    lines = [
        "| part | fault | trials | deaths | longest recovery (s) | outcome |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for (part, fault), some in _together(outcomes).items():
        broken = [words for one in some for words in one.broken]
        ends = "; ".join(_counted([one.ended for one in some if one.ended]))
        recovery = max(one.recovery for one in some)
        cells = (
            part,
            fault,
            str(sum(one.trials for one in some)),
            str(sum(one.deaths for one in some)),
            f"{recovery:.2f}" if recovery else "",
            f"BROKEN: {'; '.join(broken)}" if broken else ends,
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _together(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    found: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        found.setdefault((one.part, one.fault.partition(" seed ")[0]), []).append(one)
    return found


def _counted(words: Sequence[str]) -> list[str]:
    kinds = sorted(set(words), key=lambda word: (-words.count(word), word))
    return [word if len(words) == 1 else f"{words.count(word)} {word}" for word in kinds]
