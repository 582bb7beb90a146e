"""The catalogue of metrics: each a value with one exact definition, its direction, unit, range, weights' licence and oracle.

Promises that an id with its version names one definition for ever, fixed by a digest: a changed definition gets a new
version. Adding a metric is a row in catalogue.toml, a score at the participant and, where its finish is new, a row in
finishes.py. Leaves frames and extractors to the participant, and the arithmetic of values to the finishes' modules.

Source: protos/README.md §7.2.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vdb_shared.canonical import canonical_json, sha256_digest
from vdb_shared.errors import StatisticError
from vdb_shared.metrics.finishes import FINISHES, Finish, FinishName, Part, Shape, Use

Direction = Literal["higher", "lower"]
"""Which way is better."""

Need = Literal["prompt", "condition", "sound", "timing"]
"""What a score is computed from besides frames: the words, what the clip starts from, its sound, how long it took."""

FeaturesOf = Literal["clip", "frames", "motion"]
"""What a distance's features describe: the clip by a video extractor, its frames' mean, or its motion without any extractor."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Needs = Annotated[tuple[Need, ...], BeforeValidator(_as_tuple)]
Number = Annotated[Decimal, BeforeValidator(lambda value: Decimal(value) if isinstance(value, str) else value)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class MetricDefinition(_Entry):
    """One metric and version.

    Attributes:
        id: "<name>@<version>".
        title: for people.
        definition: one sentence that fixes what is computed.
        direction: which way is better.
        unit: of the value; "" when it has none.
        low, high: range of a score before rescaling; high is None where the spec's `limit` sets it, and for distances.
        architectures: extractor classes of which the spec must name one; none where no extractor is needed.
        features_of: what the features of a distance describe.
        dimension: length of the features, where no extractor tells.
        finish: how sums become a value.
        ddof: of the covariances of a Fréchet distance, 0 or 1.
        limit: whether the spec gives `limit`, where the finish leaves that open.
        needs: what a score is computed from besides frames.
        least_frames, least_side: of a clip that can be measured; the side in pixels, the shorter one.
        citation: where the definition comes from.
        weights_licence: of the weights that are usual for it; "" without an extractor.
        oracle: against what the tests check it.
    """

    id: str
    title: str
    definition: str
    direction: Direction
    unit: str = ""
    low: Number = Decimal(0)
    high: Number | None = None
    architectures: Texts = ()
    features_of: FeaturesOf = "clip"
    dimension: int = Field(default=0, ge=0)
    finish: FinishName
    ddof: int = Field(default=0, ge=0, le=1)
    limit: Use | None = None
    needs: Needs = ()
    least_frames: int = Field(default=1, ge=1)
    least_side: int = Field(default=1, ge=1)
    citation: str
    weights_licence: str = ""
    oracle: str

    @property
    def _finish(self) -> Finish:
        return FINISHES[self.finish]

    @property
    def digest(self) -> str:
        """Digest over the whole definition: canonical JSON of its fields."""
        return sha256_digest(canonical_json(self.model_dump(mode="json")))

    @property
    def compares_with_reference(self) -> bool:
        """Whether the metric is a distance to the private reference clips, and so has a block on their side."""
        return self._finish.compares_with_reference

    @property
    def uses(self) -> Mapping[str, Use]:
        """Whether a spec gives `limit`, `features` and `bandwidth`."""
        finish = self._finish
        return {"limit": self.limit or finish.limit, "features": finish.features, "bandwidth": finish.bandwidth}

    @property
    def public_only(self) -> str:
        """Why private inputs are refused, with what to do instead; "" where they are not."""
        return self._finish.public_only

    @property
    def of_ratings(self) -> bool:
        """Whether the metric is made of what people say of clips, and so takes the inputs "ratings" and no others."""
        return self._finish.of_ratings

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Lengths of features that it takes; () where any will do."""
        return self._finish.dimensions

    @property
    def public_map(self) -> bool:
        """Whether its extractor's folder must hold a public map of features."""
        return self._finish.public_map

    def parts(self, *, private: bool, dimension: int = 0, features: int = 0, models: int = 0) -> tuple[Part, ...]:
        """Return the metric's blocks on one side.

        Args:
            private: whether the side's clips are private; a histogram would then cost privacy budget and is left out.
            dimension: of the extractor's features, or the number of its classes.
            features: number of random features, of a sketch's lanes, or of anchors.
            models: of the spec, which people compare.
        """
        return self._finish.parts(Shape(private, self.dimension or dimension, features, models))


class Refusal(_Entry):
    """Names of metrics that are no function of sums, why, and what to ask for instead."""

    names: Texts
    reason: str
    instead: str


class _File(_Entry):
    version: Literal["vdb-metrics/1"]
    metrics: Annotated[tuple[MetricDefinition, ...], BeforeValidator(_as_tuple)]
    refused: Annotated[tuple[Refusal, ...], BeforeValidator(_as_tuple)]


COUNT: Final = "count"
"""Third component of count blocks, where others have the metric's id."""

REFERENCE_COUNT: Final = Part("clips", 1, 1)
"""Number of reference clips that could be decoded."""

OUTCOME_COUNT: Final = Part("outcomes", 2, 1)
"""[succeeded, failed] of generated clips."""


@lru_cache(maxsize=1)
def _file() -> _File:
    text = resources.files("vdb_shared").joinpath("metrics", "catalogue.toml").read_text(encoding="utf-8")
    return _File.model_validate(tomllib.loads(text))


def _by_id() -> dict[str, MetricDefinition]:
    return {definition.id: definition for definition in _file().metrics}


CATALOGUE: Final[Mapping[str, MetricDefinition]] = _by_id()
"""Every metric by id."""


def refusals() -> tuple[Refusal, ...]:
    """Return what does not federate, with the reason and the alternative."""
    return _file().refused


def definition_of(metric_id: str) -> MetricDefinition:
    """Return the definition of a metric id.

    Raises:
        StatisticError: the catalogue has none; says why where such a metric cannot be federated, else which id is near.
    """
    found = CATALOGUE.get(metric_id)
    if found is not None:
        return found
    name = metric_id.partition("@")[0]
    for refusal in refusals():
        if name in refusal.names:
            raise StatisticError(f"{metric_id!r} does not federate: {refusal.reason}; ask for {refusal.instead}")
    near = difflib.get_close_matches(metric_id, CATALOGUE, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(CATALOGUE)}"
    raise StatisticError(f"unknown metric {metric_id!r}; {hint}")
