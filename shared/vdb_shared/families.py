"""Which finish computes a metric, and in which unit its values are published.

Promises one estimate for every model that is available and one comparison for every pair of them. Leaves which
model is available, and the grade of a result, to evaluation.py.

Source: protos/README.md §7.2, §7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from vdb_shared.layout import contributions_at_most, feature_dimension
from vdb_shared.metrics.catalogue import MetricDefinition
from vdb_shared.metrics.covariance import CovarianceSums, covariance_sketch
from vdb_shared.metrics.coverage import CellSums, coverage_family
from vdb_shared.metrics.diversity import SecondMomentSums, rke_family, vendi_family
from vdb_shared.metrics.features import unsvec
from vdb_shared.metrics.finishes import FinishName
from vdb_shared.metrics.frechet import MomentSums
from vdb_shared.metrics.frechet_intervals import frechet_family
from vdb_shared.metrics.inception import PosteriorSums, inception_family
from vdb_shared.metrics.kernel import EmbeddingSums, kernel_family
from vdb_shared.metrics.scores import RateSums, ScoreSums, rate_family, score_family
from vdb_shared.metrics.sketch import sketch_unit
from vdb_shared.metrics.statistic import grid_exponent
from vdb_shared.metrics.uncertainty import Family
from vdb_shared.spec import Metric
from vdb_shared.sums import BlockSums, SessionSums

Compute = Callable[[SessionSums, Metric, MetricDefinition, Sequence[str]], Family]

_PERCENT: Final = 100.0
"""JEDi is published a hundred times its kernel distance."""


def family_of(sums: SessionSums, metric: Metric, definition: MetricDefinition, models: Sequence[str]) -> Family:
    """Return estimates and comparisons of the models that are available, in the metric's unit."""
    return _COMPUTED_BY[definition.finish](sums, metric, definition, models) if models else Family({}, {})


def moments_of_reference(sums: SessionSums, metric: Metric, definition: MetricDefinition) -> MomentSums:
    """Return the reference side of a Fréchet distance."""
    return _moments(sums.reference_block(metric, "moments"), definition)


def moments_of_model(sums: SessionSums, metric: Metric, definition: MetricDefinition, model: str) -> MomentSums:
    """Return a model's side of a Fréchet distance."""
    return _moments(sums.block(metric, "moments", model), definition)


def _moments(block: BlockSums, definition: MetricDefinition) -> MomentSums:
    return MomentSums(
        block.values,
        block.count.succeeded,
        block.deviation,
        block.count.deviation,
        definition.ddof,
        ordered=definition.public_map,
    )


def _scaled(family: Family, unit: float) -> Family:
    """Return estimates in another unit; which pairs are apart does not depend on it."""
    return Family({model: found.mapped(unit) for model, found in family.estimates.items()}, family.comparisons)


def _limit(metric: Metric) -> float:
    return float(metric.limit or 1)


def _mean(sums: SessionSums, metric: Metric, definition: MetricDefinition, models: Sequence[str]) -> Family:
    high = definition.high if definition.high is not None else metric.limit
    unit = 2.0 ** -grid_exponent(contributions_at_most(sums.spec))
    found = {model: _scores(sums.block(metric, "moments", model), unit) for model in models}
    return score_family(found, low=float(definition.low), high=float(high or 1))


def _scores(block: BlockSums, unit: float) -> ScoreSums:
    return ScoreSums(block.values, block.count.succeeded, block.deviation, block.count.deviation, unit)


def _rate(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    found: dict[str, RateSums] = {}
    for model in models:
        block = sums.block(metric, "events", model)
        count = block.count
        found[model] = RateSums(float(block.values[0]), count.succeeded, block.deviation, count.deviation)
    return rate_family(found)


def _frechet(sums: SessionSums, metric: Metric, definition: MetricDefinition, models: Sequence[str]) -> Family:
    family = frechet_family(
        moments_of_reference(sums, metric, definition),
        {model: moments_of_model(sums, metric, definition, model) for model in models},
        name=f"{metric.id}/{metric.inputs}",
    )
    return _scaled(family, _limit(metric) ** 2)


def _kernel(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    manifest = sums.spec.extractor(metric.extractor or "").manifest
    sketch = covariance_sketch(sums.spec.digest, manifest, metric.features or 0)

    def embedded(block: BlockSums, products: BlockSums) -> EmbeddingSums:
        covariance = CovarianceSums(products.values, sketch, products.deviation)
        count = block.count
        return EmbeddingSums(block.values, count.succeeded, block.deviation, count.deviation, covariance=covariance)

    parts = ("embedding", "covariance")
    sides = {model: embedded(*(sums.block(metric, part, model) for part in parts)) for model in models}
    return kernel_family(embedded(*(sums.reference_block(metric, part) for part in parts)), sides)


def _sketch(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    unit = sketch_unit(feature_dimension(sums.spec, metric), _limit(metric))
    return _scaled(_kernel_family(sums, metric, "sketch", models, _sketched), unit**2)


def _sketched(block: BlockSums) -> EmbeddingSums:
    sketch, squares = block.values[:-1], float(block.values[-1])
    return EmbeddingSums(sketch, block.count.succeeded, block.deviation, block.count.deviation, squares)


def _second_moment(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    dimension = feature_dimension(sums.spec, metric)

    def embedded(block: BlockSums) -> EmbeddingSums:
        """|svec(x x^T)|^2 = |x|^4 is at most |x|^2, of which the trace holds the sum."""
        trace = float(np.trace(unsvec(block.values, dimension)))
        count = block.count
        return EmbeddingSums(block.values, count.succeeded, block.deviation, count.deviation, trace, with_itself=True)

    unit = _PERCENT * _limit(metric) ** 4 / dimension**2
    return _scaled(_kernel_family(sums, metric, "second", models, embedded), unit)


def _kernel_family(
    sums: SessionSums, metric: Metric, part: str, models: Sequence[str], embedded: Callable[[BlockSums], EmbeddingSums]
) -> Family:
    sides = {model: embedded(sums.block(metric, part, model)) for model in models}
    return kernel_family(embedded(sums.reference_block(metric, part)), sides)


def _vendi(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    return vendi_family({model: _second(sums.block(metric, "second", model)) for model in models})


def _rke(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    return rke_family({model: _second(sums.block(metric, "second", model)) for model in models})


def _second(block: BlockSums) -> SecondMomentSums:
    return SecondMomentSums(block.values, block.count.succeeded, block.deviation, block.count.deviation)


def _inception(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    found = {}
    for model in models:
        posterior, negentropy = sums.block(metric, "posterior", model), sums.block(metric, "negentropy", model)
        found[model] = PosteriorSums(posterior.values, float(negentropy.values[0]), posterior.count.succeeded)
    return inception_family(found)


def _coverage(sums: SessionSums, metric: Metric, _: MetricDefinition, models: Sequence[str]) -> Family:
    sides = {model: _cells(sums.block(metric, "cells", model)) for model in models}
    return coverage_family(_cells(sums.reference_block(metric, "cells")), sides)


def _cells(block: BlockSums) -> CellSums:
    return CellSums(block.values, block.count.succeeded, block.deviation, block.count.deviation)


_COMPUTED_BY: Final[Mapping[FinishName, Compute]] = {
    "mean": _mean,
    "rate": _rate,
    "frechet": _frechet,
    "mapped-frechet": _frechet,
    "kernel": _kernel,
    "sketch": _sketch,
    "second-moment": _second_moment,
    "vendi": _vendi,
    "rke": _rke,
    "inception": _inception,
    "coverage": _coverage,
}
