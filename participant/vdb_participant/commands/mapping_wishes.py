"""What `vdb-participant metrics fit-map` is asked for, and whether it can be had.

Promises that whatever can be refused without computing is refused here, before a machine learning framework is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from vdb_participant.measure.extractors.public_folders import (
    RawExtractor,
    Shape,
    check_new,
    public_clips,
    raw_extractor,
)
from vdb_shared.errors import UsageError
from vdb_shared.metrics.dimension import DIMENSIONS

AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of the session that the map is for.

    Attributes:
        noise: tau as `recommended_dimension` takes it, or None to compute it from the rest.
        records: reference clips of all institutions together.
        epsilon: of the session.
        private_models: models whose clips are private too; 0 with public prompts.
    """

    noise: float | None = None
    records: int | None = None
    epsilon: Decimal | None = None
    private_models: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is planned."""
        return self.noise is None and self.records is None and self.epsilon is None

    def check(self) -> None:
        """Check that the plan is whole.

        Raises:
            UsageError: half of a plan.
        """
        if self.noise is not None and (self.records is not None or self.epsilon is not None):
            raise UsageError("--noise: excludes --records and --epsilon; give either")
        if (self.records is None) != (self.epsilon is None):
            raise UsageError("--records and --epsilon: go together; give both, or --noise")
        if self.epsilon is not None and not (self.epsilon.is_finite() and self.epsilon > 0):
            raise UsageError(f"--epsilon {self.epsilon}: expected a number above 0")


@dataclass(frozen=True, slots=True)
class Wish:
    """Which map of which extractor is wanted, and where.

    Attributes:
        source: folder of the raw extractor.
        clips: folder of public clips.
        output: new folder.
        dimension: 16, 32, 64, 128 or auto.
        shape: of the clips, as the spec's `video` says.
        architecture: as specs write it, or "" to take it from the folder.
        device: to compute on.
    """

    source: Path
    clips: Path
    output: Path
    dimension: str
    shape: Shape = field(default_factory=Shape)
    architecture: str = ""
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Granted:
    """A wish that can be tried.

    Attributes:
        wish: the wish.
        plan: of the session.
        dimension: that is wanted, or None for the recommended one.
        raw: the extractor.
        clips: the public clips.
    """

    wish: Wish
    plan: Plan
    dimension: int | None
    raw: RawExtractor
    clips: list[Path]


def granted(wish: Wish, plan: Plan) -> Granted:
    """Return a wish with what its folders hold.

    Raises:
        UsageError, DatasetError, ModelError: what cannot be used, in one line.
    """
    dimension = _wanted(wish.dimension)
    plan.check()
    if dimension is None and plan.empty:
        raise UsageError("--dimension auto: needs --records and --epsilon of the planned session, or --noise")
    check_new(wish.output)
    raw = raw_extractor(wish.source, wish.architecture)
    return Granted(wish, plan, dimension, raw, public_clips(wish.clips, dimension or DIMENSIONS[0]))


def _wanted(dimension: str) -> int | None:
    if dimension == AUTO:
        return None
    if dimension not in {str(known) for known in DIMENSIONS}:
        names = ", ".join(map(str, DIMENSIONS))
        raise UsageError(f"--dimension {dimension}: expected {names} or {AUTO}")
    return int(dimension)
