"""The catalogue of metrics: each a value with one exact definition, its direction, unit, range and source.

Promises that an id with its version names one definition for ever: a changed definition gets a new version. Adding a
metric is one row here and, where its finish is new, one module. Leaves frames and extractors to the participant, and
the finish to frechet.py, kernel.py and scores.py.

Source: protos/README.md §7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.features import HISTOGRAM_BINS

Finish = Literal["mean", "frechet", "kernel"]
"""How sums become a value: scores.py, frechet.py or kernel.py."""

Direction = Literal["higher", "lower"]
"""Which way is better."""

Source = Literal["frames", "frames and prompt", "timing"]
"""What a score is computed from."""


@dataclass(frozen=True, slots=True)
class Part:
    """One block of a metric, but for its side and model.

    Attributes:
        name: last component of the block's name.
        dims: number of lanes.
        bound_squared: square of the L2 norm that one clip's share never exceeds.
    """

    name: str
    dims: int
    bound_squared: int


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """One metric and version.

    Attributes:
        id: "<name>@<version>".
        title: for people.
        definition: one sentence that fixes what is computed from a clip.
        direction: which way is better.
        unit: of the value; "" when it has none.
        low, high: range of a score before rescaling; high is None where the spec's `limit` sets it.
        architecture: extractor class it needs, or None.
        finish: how sums become a value.
        source: what one clip's share is computed from.
        citation: where the definition comes from.
    """

    id: str
    title: str
    definition: str
    direction: Direction
    unit: str
    low: Decimal
    high: Decimal | None
    architecture: Literal["CLIPModel", "VideoMAEModel"] | None
    finish: Finish
    source: Source
    citation: str

    @property
    def compares_with_reference(self) -> bool:
        """Whether the metric is a distance to the private reference clips, and so has a block on their side."""
        return self.finish != "mean"

    @property
    def needs_limit(self) -> bool:
        """Whether the spec must give `limit`: scores without a natural upper end."""
        return self.finish == "mean" and self.high is None

    def parts(self, *, private: bool, dimension: int = 0, features: int = 0) -> tuple[Part, ...]:
        """Return the metric's blocks on one side.

        Args:
            private: whether the side's clips are private; a histogram would then cost privacy budget and is left out.
            dimension: of the extractor's features (frechet).
            features: number of random features (kernel).
        """
        match self.finish:
            case "mean":
                moments = Part("moments", 2, 2)
                return (moments,) if private else (moments, Part("histogram", HISTOGRAM_BINS, 1))
            case "frechet":
                return (Part("moments", dimension + dimension * (dimension + 1) // 2, 2),)
            case "kernel":
                return (Part("embedding", features, 1),)


COUNT: Final = "count"
"""Third component of count blocks, where others have the metric's id."""

REFERENCE_COUNT: Final = Part("clips", 1, 1)
"""Number of reference clips that could be decoded."""

OUTCOME_COUNT: Final = Part("outcomes", 2, 1)
"""[succeeded, failed] of generated clips."""

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)

_DEFINITIONS: Final = (
    MetricDefinition(
        id="temporal-flickering@1",
        title="Temporal flickering",
        definition="(255 - mean |x[t+1] - x[t]|) / 255 over pixels, channels and consecutive pairs of uint8 frames",
        direction="higher",
        unit="",
        low=_ZERO,
        high=_ONE,
        architecture=None,
        finish="mean",
        source="frames",
        citation="Huang et al., VBench, CVPR 2024, temporal flickering; without its static-clip filter",
    ),
    MetricDefinition(
        id="clip-score@1",
        title="CLIP score",
        definition="mean over frames of max(100 cos(image, text), 0)",
        direction="higher",
        unit="",
        low=_ZERO,
        high=Decimal(100),
        architecture="CLIPModel",
        finish="mean",
        source="frames and prompt",
        citation="Hessel et al., CLIPScore, EMNLP 2021, with weight 100 and per frame",
    ),
    MetricDefinition(
        id="clip-temp@1",
        title="CLIP temporal consistency",
        definition="mean over consecutive frames of cos(image[t], image[t+1]), not clamped",
        direction="higher",
        unit="",
        low=Decimal(-1),
        high=_ONE,
        architecture="CLIPModel",
        finish="mean",
        source="frames",
        citation="Esser et al., Structure and content-guided video synthesis (Gen-1), ICCV 2023, frame consistency",
    ),
    MetricDefinition(
        id="latency@1",
        title="Latency",
        definition="wall-clock seconds from prompt to decoded frames of one clip, after a warm-up; at most the spec's limit",
        direction="lower",
        unit="s",
        low=_ZERO,
        high=None,
        architecture=None,
        finish="mean",
        source="timing",
        citation="protos/README.md §7.2",
    ),
    MetricDefinition(
        id="frames-per-second@1",
        title="Frames per second",
        definition="frames of a clip divided by its latency; at most the spec's limit",
        direction="higher",
        unit="1/s",
        low=_ZERO,
        high=None,
        architecture=None,
        finish="mean",
        source="timing",
        citation="protos/README.md §7.2",
    ),
    MetricDefinition(
        id="frechet-videomae@1",
        title="Fréchet distance of VideoMAE features",
        definition="|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of features clipped to the norm `limit` (1 if the spec "
        "gives none), covariances normalised by 1/n, in squared feature units",
        direction="lower",
        unit="",
        low=_ZERO,
        high=None,
        architecture="VideoMAEModel",
        finish="frechet",
        source="frames",
        citation="Unterthiner et al. 2018 (FVD); Ge et al., CVPR 2024 (content-debiased FVD: VideoMAE features)",
    ),
    MetricDefinition(
        id="mmd-rff@1",
        title="Kernel distance, random Fourier features",
        definition="unbiased squared maximum mean discrepancy, Gaussian kernel approximated by random Fourier features",
        direction="lower",
        unit="",
        low=_ZERO,
        high=None,
        architecture="VideoMAEModel",
        finish="kernel",
        source="frames",
        citation="Gretton et al., JMLR 2012, eq. 3; Rahimi & Recht, NeurIPS 2007",
    ),
)

CATALOGUE: Final = {definition.id: definition for definition in _DEFINITIONS}
"""Every metric by id."""


def definition_of(metric_id: str) -> MetricDefinition:
    """Return the definition of a metric id.

    Raises:
        StatisticError: the catalogue has none.
    """
    try:
        return CATALOGUE[metric_id]
    except KeyError:
        known = ", ".join(CATALOGUE)
        raise StatisticError(f"unknown metric {metric_id!r}; known are {known}") from None
