"""Finishes: the ways in which sums become a value, each with its blocks, their bounds and the settings that a spec gives it.

Promises that whatever shape a metric has is decided here alone: layout, participant and evaluation ask this table. Leaves
the arithmetic of shares to features.py and sketch.py, and that of values to scores.py, frechet.py and their neighbours.

Source: protos/README.md §7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from vdb_shared.metrics.covariance import LANES_PER_FEATURE, PART_WEIGHT
from vdb_shared.metrics.dimension import DIMENSIONS
from vdb_shared.metrics.features import HISTOGRAM_BINS

CORRELATION_LANES: Final = 6
"""Of each model: [1, x, y, x^2, y^2, xy], each at most 1 in size, so that 6 bounds the squared norm too."""

FinishName = Literal[
    "mean",
    "rate",
    "frechet",
    "mapped-frechet",
    "kernel",
    "sketch",
    "second-moment",
    "vendi",
    "rke",
    "inception",
    "coverage",
    "preference",
    "correlation",
]

FRECHET_FINISHES: Final[frozenset[FinishName]] = frozenset({"frechet", "mapped-frechet"})
"""Those of Fréchet distances, which share blocks, thresholds and intervals."""

Use = Literal["required", "allowed", "refused"]
"""Whether a spec must, may or must not give a setting."""


@dataclass(frozen=True, slots=True)
class Part:
    """One block of a metric, but for its side and model.

    Attributes:
        name: last component of the block's name.
        dims: number of lanes.
        bound_squared: square of the L2 norm that one clip's share, or one rater's, never exceeds.
        weight: factor of the metric's weight: parts that serve an interval alone take little of the budget.
    """

    name: str
    dims: int
    bound_squared: int
    weight: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the numbers of lanes follow from.

    Attributes:
        private: whether the side's clips are private; a histogram would then cost privacy budget and is left out.
        dimension: of a clip's feature vector, or the number of a classifier's classes.
        features: number of random features, of a sketch's lanes, or of anchors.
        models: of the spec, which people compare.
    """

    private: bool
    dimension: int = 0
    features: int = 0
    models: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """How sums become a value.

    Attributes:
        parts: the blocks of one side.
        share: what one clip, or one rater, adds to them, in words.
        lanes: how many there are: d is a feature's length, m and L are the spec's `features`, K a classifier's classes, M the
            models.
        compares_with_reference: whether it is a distance to the private reference clips, and so has blocks on their side.
        limit, features, bandwidth: which settings a spec gives; a metric without a natural upper end requires `limit` as well.
        public_only: why private inputs are refused, with what to do instead; "" where they are not.
        of_ratings: whether it takes ratings by people, and nothing else; its blocks are then of all models together.
        dimensions: lengths of features that it takes; () where any will do.
        public_map: whether features must have gone through a public map, whose radius is their clipping norm.
    """

    parts: Callable[[Shape], tuple[Part, ...]]
    share: str
    lanes: str
    compares_with_reference: bool = False
    limit: Use = "refused"
    features: Use = "refused"
    bandwidth: Use = "refused"
    public_only: str = ""
    of_ratings: bool = False
    dimensions: tuple[int, ...] = ()
    public_map: bool = False


def _triangle(dimension: int) -> int:
    return dimension * (dimension + 1) // 2


def _score_parts(shape: Shape) -> tuple[Part, ...]:
    moments = Part("moments", 2, 2)
    return (moments,) if shape.private else (moments, Part("histogram", HISTOGRAM_BINS, 1))


def _moment_parts(shape: Shape) -> tuple[Part, ...]:
    return (Part("moments", shape.dimension + _triangle(shape.dimension), 2),)


def _second_moment_part(shape: Shape) -> tuple[Part, ...]:
    return (Part("second", _triangle(shape.dimension), 1),)


def _kernel_parts(shape: Shape) -> tuple[Part, ...]:
    lanes = LANES_PER_FEATURE * shape.features
    return Part("embedding", shape.features, 1), Part("covariance", lanes, 1, PART_WEIGHT)


def _posterior_parts(shape: Shape) -> tuple[Part, ...]:
    return Part("posterior", shape.dimension, 1), Part("negentropy", 1, 1)


FINISHES: Final[Mapping[FinishName, Finish]] = {
    "mean": Finish(
        _score_parts,
        share="[s, s²], s the score on [0,1]; with public inputs also one of 32 bins",
        lanes="2, and 32 with public inputs",
    ),
    "rate": Finish(lambda _: (Part("events", 1, 1),), share="0 or 1", lanes="1"),
    "frechet": Finish(
        _moment_parts,
        share="[x, svec(x xᵀ)], x of norm at most 1",
        lanes="d + d(d+1)/2",
        compares_with_reference=True,
        limit="allowed",
    ),
    "mapped-frechet": Finish(
        _moment_parts,
        share="[x, svec(x xᵀ)], x of norm at most 1 after the extractor's public map",
        lanes="d + d(d+1)/2",
        compares_with_reference=True,
        dimensions=DIMENSIONS,
        public_map=True,
    ),
    "kernel": Finish(
        _kernel_parts,
        share="random Fourier features, of norm 1, and for the interval a sketch of their products, of norm at most 1",
        lanes=f"m + {LANES_PER_FEATURE}m",
        compares_with_reference=True,
        features="required",
        bandwidth="required",
    ),
    "sketch": Finish(
        lambda shape: (Part("sketch", shape.features + 1, 2),),
        share="a tensor sketch of norm at most 1, and the square of its norm",
        lanes="m + 1",
        compares_with_reference=True,
        limit="required",
        features="required",
    ),
    "second-moment": Finish(
        _second_moment_part,
        share="svec(x xᵀ), x of norm at most 1",
        lanes="d(d+1)/2",
        compares_with_reference=True,
        limit="required",
    ),
    "vendi": Finish(
        _second_moment_part,
        share="svec(x xᵀ), x of norm 1",
        lanes="d(d+1)/2",
        public_only="noise fills the small eigenvalues that the entropy counts; ask for rke@1 instead, "
        "whose bias by noise is known and taken off",
    ),
    "rke": Finish(_second_moment_part, share="svec(x xᵀ), x of norm 1", lanes="d(d+1)/2"),
    "inception": Finish(
        _posterior_parts,
        share="class probabilities, and their negative entropy over log K",
        lanes="K + 1",
        public_only="noise gives shares to classes that nothing shows, which the entropy counts; ask for rke@1 instead, "
        "whose bias by noise is known and taken off",
    ),
    "coverage": Finish(
        lambda shape: (Part("cells", shape.features, 1),),
        share="a 1 in one of L cells",
        lanes="L",
        compares_with_reference=True,
        features="required",
    ),
    "preference": Finish(
        lambda shape: (Part("wins", shape.models * (shape.models - 1), 1),),
        share="for each model over each other one the share of the rater's votes, a tie as half a vote for each",
        lanes="M(M-1)",
        of_ratings=True,
    ),
    "correlation": Finish(
        lambda shape: (Part("moments", CORRELATION_LANES * shape.models, CORRELATION_LANES),),
        share="for each model [1, x, y, x², y², xy] of the clips that the rater scored, over their number; x the metric's "
        "score and y the rater's, both on [-1,1]",
        lanes="6M",
        of_ratings=True,
    ),
}
"""Every finish by name."""
