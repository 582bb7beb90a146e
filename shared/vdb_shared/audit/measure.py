"""What a published figure measures, as far as it decides with which others it can be compared.

Two figures are of one measure if definition, extractor and its map, settings, kind of inputs and class of the clips are the
same; then they are numbers on one scale. Promises a reason in plain words wherever they are not. Leaves to the reader what the
figures were measured on: prompts, institutions and settings of models may differ within one measure, and are listed.

Source: protos/README.md §10.12.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final

from vdb_shared.layout import measured_definition
from vdb_shared.metrics.catalogue import MetricDefinition, definition_of
from vdb_shared.spec import Extractor, Metric, Model, Spec


@dataclass(frozen=True, slots=True)
class Measure:
    """Everything in which two figures of one scale are alike; "" or None where a metric has no such thing.

    Attributes:
        metric: its id.
        inputs: "public", "private" or "ratings".
        definition: digest of the metric's definition.
        clip_class: of the clips, "exact" or "accelerated".
        architecture, dimension, precision: of the extractor.
        weights: digest of the extractor's folder, which also holds its map of features and its anchors.
        limit, features, bandwidth: settings, as the spec writes them.
        of: metric whose scores are correlated with people's.
        rivals: digest of each model that people chose between, by id; only such a figure depends on them.
    """

    metric: str
    inputs: str
    definition: str
    clip_class: str
    architecture: str
    dimension: int
    precision: str
    weights: str
    limit: str
    features: str
    bandwidth: str
    of: str
    rivals: tuple[tuple[str, str], ...]


WORDS: Final[Mapping[str, str]] = {
    "metric": "another metric",
    "inputs": "another kind of inputs",
    "definition": "another definition of the metric",
    "clip_class": "another class of clips",
    "architecture": "another kind of extractor",
    "dimension": "another number of features",
    "precision": "another precision of the extractor",
    "weights": "another extractor or another map of its features: the digest of its folder differs",
    "limit": "another limit",
    "features": "another number of random features, lanes or anchors",
    "bandwidth": "another bandwidth",
    "of": "scores of another metric",
    "rivals": "other models to choose between",
}
"""Why two figures are on different scales, by the first field in which they differ."""


def measure_of(spec: Spec, metric: Metric) -> Measure:
    """Return what a metric of a spec measures."""
    definition, measured = definition_of(metric.id), measured_definition(metric)
    extractor = None if metric.extractor is None else spec.extractor(metric.extractor)
    return Measure(
        metric=metric.id,
        inputs=metric.inputs,
        definition=definition.digest if metric.of is None else f"{definition.digest} {measured.digest}",
        clip_class=spec.generation.clip_class,
        architecture=extractor.architecture if extractor else "",
        dimension=extractor.dimension if extractor else measured.dimension,
        precision=_precision(extractor),
        weights=extractor.manifest if extractor else "",
        limit=_text(metric.limit),
        features=_text(metric.features),
        bandwidth=_text(metric.bandwidth),
        of=metric.of or "",
        rivals=_rivals(spec, definition),
    )


def unlike(first: Measure, second: Measure) -> tuple[str, ...]:
    """Return why figures of two measures are on different scales, with both values; () where they are on one."""
    return tuple(_reasons(first, second))


def _reasons(first: Measure, second: Measure) -> Iterator[str]:
    for field in fields(Measure):
        mine, other = getattr(first, field.name), getattr(second, field.name)
        if mine == other:
            continue
        if field.name == "rivals":
            yield f"{WORDS[field.name]}: {_names(mine)}, and {_names(other)}"
        else:
            yield f"{WORDS[field.name]}: {mine or 'none'}, and {other or 'none'}"


def other_model(first: Model, second: Model) -> str:
    """Return why two models of one id are not the same model, or "": weights, the class that runs them, what they do."""
    if first.manifest != second.manifest:
        return f"another model under the same name: its weights are {first.manifest}, and {second.manifest}"
    if first.pipeline != second.pipeline:
        return f"another model under the same name: it runs as {first.pipeline}, and as {second.pipeline}"
    tasks = first.task or "the class's own", second.task or "the class's own"
    return "" if first.start == second.start and tasks[0] == tasks[1] else f"another task: {tasks[0]}, and {tasks[1]}"


def _rivals(spec: Spec, definition: MetricDefinition) -> tuple[tuple[str, str], ...]:
    if definition.finish != "preference":
        return ()
    return tuple(sorted((model.id, model.manifest) for model in spec.models))


def _names(rivals: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} ({digest[7:15]})" for name, digest in rivals)


def _precision(extractor: Extractor | None) -> str:
    return "" if extractor is None else extractor.precision or "float32"


def _text(value: object) -> str:
    return "" if value is None else str(value)
