"""Weights that divide the privacy budget well.

Noise in a private block of weight w has the deviation C / w times a constant of the session, with C^2 = c0 + sum of w^2 B^2
over metrics: c0 is the squared norm of what one record adds to the counts, whose weight is 1, and to blocks of people's
ratings, whose weights are left as they are, B^2 that of what it adds to the metric's blocks. Noise lengthens the interval of a
metric: to first order its square grows by N^2 = C^2 (a^2 / w^2 + e^2) times what it would be without noise, a by the noise of
the metric's own blocks and e by that of the counts. The objective is the sum of N^2 over all metrics that private records
enter, so that no metric is worth more because its unit is smaller:

    F = (c0 + sum u B^2) (sum a^2 / u + E),   u = w^2, E = sum e^2.

Setting the derivatives by u to 0 gives u^2 = (a^2 / B^2) (c0 + sum u B^2) / (sum a^2 / u + E) for each metric, so that
u = k a / B with one k for all. Put in, with T = sum a B: k^2 (T / k + E) = c0 + k T, so k = sqrt(c0 / E), and

    w = sqrt(k a / B) = (c0 / E)^(1/4) (a^2 / B^2)^(1/4).

F is convex in log u (a product of two sums of exponentials), so this is its least value. a and e are not formulas: they are
measured with the very intervals of `evaluate`, once without noise, once with that of the counts alone and once with that of
all other blocks alone.

Source: Boyd & Vandenberghe 2004, §4.5 (geometric programs); protos/README.md §8.1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from vdb_shared.metrics.catalogue import COUNT, definition_of
from vdb_shared.metrics.statistic import Layout
from vdb_shared.planning.assumptions import Scenario, variant
from vdb_shared.planning.guess import kind_of
from vdb_shared.planning.population import Population, only
from vdb_shared.planning.prediction import Forecast, alone, forecast
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.spec import Metric, Spec

_HALVINGS: Final = 6
"""How often noise is quartered to find an interval for a metric that is withheld under all of it."""

_QUARTER: Final = 0.25

_LEAST: Final = 1e-4
"""Least a and root of E, by the largest a: what noise hardly touches gets a small weight, not none."""

_WEIGHTS: Final = (0.01, 100.0)
"""Weights that are proposed; lanes of lighter blocks would have little resolution."""


@dataclass(frozen=True, slots=True)
class Share:
    """One metric's part in the objective.

    Attributes:
        metric: its id; its public and private uses share one weight where they share their reference clips.
        weight: w now.
        bound_squared: B^2.
        own: a^2.
        counts: e^2.
    """

    metric: str
    weight: float
    bound_squared: float
    own: float
    counts: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The objective.

    Attributes:
        counts_squared: c0.
        shares: metrics that private records enter; those without any interval under any noise are left out.
    """

    counts_squared: float
    shares: tuple[Share, ...]

    def objective(self, weights: Mapping[str, float]) -> float:
        """Return F at these weights."""
        spent = self.counts_squared + sum(weights[share.metric] ** 2 * share.bound_squared for share in self.shares)
        return spent * sum(share.own / weights[share.metric] ** 2 + share.counts for share in self.shares)

    @property
    def weights(self) -> dict[str, float]:
        """The weights now."""
        return {share.metric: share.weight for share in self.shares}

    def best(self) -> dict[str, float]:
        """Return the weights at which the objective is least."""
        largest = max((share.own for share in self.shares), default=0.0)
        if largest <= 0.0:
            return self.weights
        floor = largest * _LEAST**2
        together = max(math.fsum(share.counts for share in self.shares), floor)
        k = math.sqrt(self.counts_squared / together)
        return {
            share.metric: math.sqrt(k * math.sqrt(max(share.own, floor) / share.bound_squared)) for share in self.shares
        }


def budget_of(scenario: Scenario, population: Population, *, sessions: int) -> Budget:
    """Return the objective for a session, from evaluations of a typical one.

    The bootstrap of a Fréchet distance draws noise of counts together with that of its own blocks only, so e^2 is 0 there.

    Args:
        scenario: the session.
        population: its clips.
        sessions: how many are drawn to find it.
    """
    layout = scenario.layout
    private = _private_metrics(scenario)
    part = alone(scenario, [metric for metric in scenario.spec.metrics if metric.id in private and is_private(metric)])
    noise = part.noise

    def at(level: NoiseLevel, of: Scenario = part) -> Forecast:
        return forecast(of, population, sessions=sessions, evaluated=1, noise=level)

    quiet = at(NoiseLevel({}))
    drawn = [metric for metric in part.spec.metrics if kind_of(definition_of(metric.id)) != "frechet"]
    counted = alone(part, drawn)
    growth_by_counts = _growth(quiet, at(only(noise, counted.layout, counts=True), counted), 1.0) if drawn else {}
    growth_by_blocks: dict[str, float] = {}
    factor = 1.0
    level = only(noise, part.layout, counts=False)
    for _ in range(_HALVINGS):
        lowered = NoiseLevel({name: factor * deviation for name, deviation in level.deviations.items()})
        growth_by_blocks = _growth(quiet, at(lowered), factor) | growth_by_blocks
        if set(private) <= set(growth_by_blocks):
            break
        factor *= _QUARTER
    norm_squared = float(layout.clip_norm_squared())
    return Budget(
        float(
            sum(
                block.weight**2 * block.bound_squared
                for block in layout.blocks
                if block.private and _is_fixed(block.name)
            )
        ),
        tuple(
            Share(
                metric=name,
                weight=float(weight),
                bound_squared=_bound_squared(layout, name, weight),
                own=growth_by_blocks[name] * float(weight) ** 2 / norm_squared,
                counts=growth_by_counts.get(name, 0.0) / norm_squared,
            )
            for name, weight in private.items()
            if name in growth_by_blocks
        ),
    )


def with_weights(spec: Spec, weights: Mapping[str, float]) -> Spec:
    """Return the spec with other weights for the metrics that private records enter, of three significant digits."""
    low, high = _WEIGHTS

    def changed(metric: Metric) -> Metric:
        if metric.id not in weights or not is_private(metric):
            return metric
        weight = Decimal(f"{min(max(weights[metric.id], low), high):.3g}")
        return metric.model_copy(update={"weight": Decimal(f"{weight:f}")})

    return variant(spec, metrics=tuple(changed(metric) for metric in spec.metrics))


def is_private(metric: Metric) -> bool:
    """Return whether private records enter a metric: through its prompts, or through the reference clips."""
    return metric.inputs == "private" or definition_of(metric.id).compares_with_reference


def _private_metrics(scenario: Scenario) -> dict[str, Decimal]:
    return {metric.id: metric.weight for metric in scenario.spec.metrics if is_private(metric)}


def _is_fixed(block: str) -> bool:
    """Return whether a block's weight stays as it is: counts, and what people say of clips."""
    return _metric(block) == COUNT or block.startswith("ratings/")


def _metric(block: str) -> str:
    return block.split("/")[2]


def _bound_squared(layout: Layout, metric: str, weight: Decimal) -> float:
    """Return B^2: the squared norm of what a record adds to a metric's private blocks, weighed, over its squared weight."""
    return float(
        sum(
            (block.weight / weight) ** 2 * block.bound_squared
            for block in layout.blocks
            if block.private and _metric(block.name) == metric
        )
    )


def _growth(quiet: Forecast, noised: Forecast, factor: float) -> dict[str, float]:
    """Return by how much noise lengthens squared half-widths, relative to those without: mean over models and inputs.

    Args:
        quiet: without noise.
        noised: with `factor` times the noise; what it withholds is left out.
        factor: by whose square the growth is divided.
    """
    found: dict[str, list[float]] = {}
    without = {(item.metric, item.inputs, item.model): item for item in quiet.expected}
    for after in noised.expected:
        before = without[after.metric, after.inputs, after.model]
        if before.half_width and after.half_width is not None:
            growth = (after.half_width / before.half_width) ** 2 - 1.0
            found.setdefault(before.metric, []).append(max(growth, 0.0) / factor**2)
    return {metric: statistics.fmean(values) for metric, values in found.items()}
