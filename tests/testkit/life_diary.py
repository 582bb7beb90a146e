"""What two lives of one agent generated, by the diaries that they kept, and what of it was generated twice."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from testkit.life_spec import EVERY


@dataclass
class Trial:
    """What became of one life and the next.

    Attributes:
        stage: in which it was killed; "" if it had ended before.
        steps: denoising steps that were computed, in all clips.
        steps_again: denoising steps that were computed twice, the most of one clip.
        clips_again: clips that were kept and made again.
        broken: promises, in words.
    """

    stage: str = ""
    steps: int = 0
    steps_again: int = 0
    clips_again: int = 0
    broken: list[str] = field(default_factory=list)


Diary = Mapping[str, tuple[Set[str], bool]]
"""What a life computed, by the seed of the clip: numbers of steps, and whether the clip was kept."""


def compare(found: Trial, first: Diary, second: Diary) -> None:
    """Count what two lives computed, and what of it twice."""
    both = first.keys() & second.keys()
    found.steps = sum(len(steps) for life in (first, second) for steps, _ in life.values())
    found.steps_again = max((len(first[clip][0] & second[clip][0]) for clip in both), default=0)
    found.clips_again = sum(first[clip][1] and bool(second[clip][0]) for clip in both)
    if found.steps_again > EVERY:
        found.broken.append(f"{found.steps_again} steps of a clip were computed twice; at most {EVERY} may be")
    if found.clips_again:
        found.broken.append(f"{found.clips_again} clips were made again")


def diary(path: Path) -> Diary:
    """Return what a life wrote down."""
    found: dict[str, tuple[set[str], bool]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        what, clip, step = line.split()
        steps, kept = found.get(clip, (set(), False))
        found[clip] = (steps | {step}, kept) if what == "step" else (steps, True)
    return found
