"""Our figures in VBench's terms: its dimensions, their published ranges and weights, and its two groups of scores.

Promises VBench's arithmetic and nothing beyond it: a dimension that was not measured is named as missing, never counted as
0, and every figure whose definition is not VBench's says so. Leaves where figures come from to its callers.

Source: Huang et al., VBench, CVPR 2024; ranges and weights as its repository states them (scripts/constant.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from vdb_shared.errors import StatisticError

Group = Literal["quality", "semantic"]

QUALITY_WEIGHT: Final = 4.0
SEMANTIC_WEIGHT: Final = 1.0
"""Of the groups in the total."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of VBench.

    Attributes:
        name: VBench's.
        group: of which score it is a part.
        low, high: raw scores that are normalised to 0 and 1; scores outside them are not cut off.
        weight: in the mean of its group.
    """

    name: str
    group: Group
    low: float = 0.0
    high: float = 1.0
    weight: float = 1.0

    def normalised(self, raw: float) -> float:
        """Return (raw - low) / (high - low)."""
        return (raw - self.low) / (self.high - self.low)


DIMENSIONS: Final = (
    Dimension("subject consistency", "quality", low=0.1462),
    Dimension("background consistency", "quality", low=0.2615),
    Dimension("temporal flickering", "quality", low=0.6293),
    Dimension("motion smoothness", "quality", low=0.706, high=0.9975),
    Dimension("dynamic degree", "quality", weight=0.5),
    Dimension("aesthetic quality", "quality"),
    Dimension("imaging quality", "quality"),
    Dimension("object class", "semantic"),
    Dimension("multiple objects", "semantic"),
    Dimension("human action", "semantic"),
    Dimension("color", "semantic"),
    Dimension("spatial relationship", "semantic"),
    Dimension("scene", "semantic", high=0.8222),
    Dimension("appearance style", "semantic", low=0.0009, high=0.2855),
    Dimension("temporal style", "semantic", high=0.364),
    Dimension("overall consistency", "semantic", high=0.364),
)
"""All of them, in VBench's order."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which of our metrics stands for a dimension.

    Attributes:
        metric: its id; its values are on VBench's raw scale.
        differs: whether our definition is another one, so that no figure can be compared with the published table.
        remark: in what it differs, or which weights it must be measured with.
    """

    metric: str
    differs: bool
    remark: str


SOURCES: Final[Mapping[str, Source]] = {
    "subject consistency": Source("subject-consistency@1", False, "the extractor is DINO ViT-B/16"),
    "background consistency": Source("background-consistency@1", False, "the extractor is CLIP ViT-B/32"),
    "temporal flickering": Source(
        "temporal-flickering@1", True, "all clips, instead of those that a filter finds static"
    ),
    "motion smoothness": Source(
        "motion-smoothness-dis@1", True, "frames interpolated along DIS flow instead of by AMT"
    ),
    "dynamic degree": Source("dynamic-degree-dis@1", True, "flow by DIS instead of RAFT"),
    "aesthetic quality": Source("aesthetic@1", False, "the extractor is CLIP ViT-L/14 with the LAION head"),
    "imaging quality": Source("imaging-quality@1", True, "another no-reference model instead of MUSIQ"),
    "overall consistency": Source("video-text@1", True, "X-CLIP instead of ViCLIP"),
}
"""By dimension."""


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Scores over dimensions.

    Attributes:
        quality, semantic: weighted means over those dimensions of the group that are there; None when none is.
        total: (4 quality + semantic) / 5; None unless all sixteen are there, for it means nothing else.
    """

    quality: float | None
    semantic: float | None
    total: float | None


@dataclass(frozen=True, slots=True)
class DimensionScore:
    """One dimension as it was measured: the raw score, and the normalised one before its weight."""

    dimension: Dimension
    source: Source
    raw: float
    normalised: float

    @property
    def words(self) -> str:
        """How far it can be compared with the published table."""
        if self.source.differs:
            return f"not comparable with the published table: {self.source.remark}"
        return f"comparable with the published table where {self.source.remark}"


@dataclass(frozen=True, slots=True)
class VBenchReport:
    """One model's figures in VBench's terms.

    Attributes:
        scores: what was measured, in VBench's order.
        missing: names of the other dimensions.
        groups: scores over what was measured.
    """

    scores: tuple[DimensionScore, ...]
    missing: tuple[str, ...]
    groups: GroupScores

    @property
    def words(self) -> str:
        """What the scores are, in words that belong beside them."""
        partial = ", partial" if self.missing else ""
        return f"VBench formula{partial}: {len(self.scores)} of {len(DIMENSIONS)} dimensions"


def vbench_report(values: Mapping[str, float]) -> VBenchReport:
    """Return figures in VBench's terms.

    Args:
        values: by metric id; metrics that stand for no dimension are left aside.

    Raises:
        StatisticError: a value is not on VBench's scale, [-1, 1].
    """
    scores: list[DimensionScore] = []
    for dimension in DIMENSIONS:
        source = SOURCES.get(dimension.name)
        if source is not None and source.metric in values:
            raw = values[source.metric]
            if not -1 <= raw <= 1:
                raise StatisticError(f"{source.metric}: expected a value in [-1, 1], found {raw:g}")
            scores.append(DimensionScore(dimension, source, raw, dimension.normalised(raw)))
    measured = {score.dimension.name: score.raw for score in scores}
    missing = tuple(dimension.name for dimension in DIMENSIONS if dimension.name not in measured)
    return VBenchReport(tuple(scores), missing, group_scores(measured))


def group_scores(raw: Mapping[str, float]) -> GroupScores:
    """Return the scores of both groups, and the total, from raw scores by dimension.

    Raises:
        StatisticError: a name that is no dimension.
    """
    known = {dimension.name: dimension for dimension in DIMENSIONS}
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise StatisticError(f"{unknown[0]!r} is no dimension of VBench; there are {', '.join(known)}")
    quality = _mean((known[name], value) for name, value in raw.items() if known[name].group == "quality")
    semantic = _mean((known[name], value) for name, value in raw.items() if known[name].group == "semantic")
    if quality is None or semantic is None or len(raw) < len(DIMENSIONS):
        return GroupScores(quality, semantic, None)
    total = (QUALITY_WEIGHT * quality + SEMANTIC_WEIGHT * semantic) / (QUALITY_WEIGHT + SEMANTIC_WEIGHT)
    return GroupScores(quality, semantic, total)


def _mean(scores: Iterable[tuple[Dimension, float]]) -> float | None:
    """Return the weighted mean of normalised scores, or None over nothing."""
    found = [(dimension.weight, dimension.normalised(raw)) for dimension, raw in scores]
    weights = math.fsum(weight for weight, _ in found)
    return math.fsum(weight * score for weight, score in found) / weights if found else None
