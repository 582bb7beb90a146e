"""What a spec means for lanes: its layout, its capacity and its promise.

The one place where the spec's words become the plain values that metrics and privacy compute with. Promises a fixed
order and a refusal, with the field's name, of every metric whose settings do not fit its definition.

Source: protos/README.md §7.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Final

from vdb_shared.errors import SpecError, StatisticError
from vdb_shared.metrics.catalogue import COUNT, OUTCOME_COUNT, REFERENCE_COUNT, MetricDefinition, definition_of
from vdb_shared.metrics.finishes import Part
from vdb_shared.metrics.statistic import MAX_CONTRIBUTIONS, Block, Layout
from vdb_shared.privacy.calibration import Promise
from vdb_shared.spec import Metric, Spec

FEWEST_COMPARED: Final = 2
"""Models that people can prefer to each other."""


def reference_block(metric_id: str, part: str) -> str:
    """Return the name of a metric's block of the private reference clips."""
    return f"reference/clips/{metric_id}/{part}"


def generated_block(side: str, model: str, metric_id: str, part: str) -> str:
    """Return the name of a metric's block of one model's clips; side is "public" or "private"."""
    return f"{side}/{model}/{metric_id}/{part}"


def count_block(side: str, model: str = "clips") -> str:
    """Return the name of a count block: "reference/clips/count" or "<side>/<model>/count"."""
    return f"{side}/{model}/{COUNT}"


def measured_definition(metric: Metric) -> MetricDefinition:
    """Return the definition of what is measured of a clip: the metric's own, or that of the scores that it correlates."""
    return definition_of(metric.of or metric.id)


def rating_block(metric_id: str, part: str) -> str:
    """Return the name of a metric's block of people's ratings, which are of all models together."""
    return f"ratings/raters/{metric_id}/{part}"


def layout_of(spec: Spec) -> Layout:
    """Return the layout of a spec: reference clips, clips of public prompts, clips of private prompts, people's ratings.

    Raises:
        SpecError: a metric is unknown or its settings do not fit, with the field.
    """
    for mistake in layout_mistakes(spec):
        raise mistake
    generated = (*_generated_blocks(spec, "public"), *_generated_blocks(spec, "private"))
    return Layout((*_reference_blocks(spec), *generated, *_rating_blocks(spec)))


def layout_mistakes(spec: Spec) -> Iterator[SpecError]:
    """Yield every metric that is unknown or whose settings do not fit, and whatever else no lanes can be laid out for."""
    in_order = True
    for index, metric in enumerate(spec.metrics):
        for mistake in _metric_mistakes(spec, metric, f"metrics.{index}"):
            in_order = False
            yield mistake
    checks = (_check_shared_references, contributions_at_most) if in_order else (contributions_at_most,)
    for check in checks:
        try:
            check(spec)
        except SpecError as error:
            yield error


def contributions_at_most(spec: Spec) -> int:
    """Return the most clips or raters that one institution adds to any one block: the capacity of its tally and the lanes.

    Raises:
        SpecError: more than sums can hold exactly.
    """
    public = len(spec.prompts) * spec.generation.samples
    private = spec.privacy.maximum_records * spec.generation.samples
    if private > MAX_CONTRIBUTIONS:
        raise SpecError(
            f"{spec.privacy.maximum_records} records with {spec.generation.samples} samples each are {private} clips; "
            f"at most {MAX_CONTRIBUTIONS} can be summed exactly",
            field="privacy.maximum_records",
        )
    return max(public, private)


def promise_of(spec: Spec, *, joined: int, smallest_cohort: int) -> Promise:
    """Return what a spec promises about privacy once its cohort is sealed.

    Args:
        spec: the spec.
        joined: institutions whose joins were sealed.
        smallest_cohort: n_min, smallest number of survivors (§4.1).
    """
    return Promise(
        mechanism=spec.privacy.mechanism,
        epsilon=spec.privacy.epsilon,
        delta=spec.privacy.delta,
        maximum_records=spec.privacy.maximum_records,
        joined=joined,
        smallest_cohort=smallest_cohort,
        collusion=spec.cohort.collusion,
        capacity=contributions_at_most(spec),
    )


def feature_dimension(spec: Spec, metric: Metric) -> int:
    """Return the length of a metric's feature vectors: its extractor's, or its own where it has none, or 0."""
    if metric.extractor is None:
        return definition_of(metric.id).dimension
    return spec.extractor(metric.extractor).dimension


def _metric_mistakes(spec: Spec, metric: Metric, field: str) -> Iterator[SpecError]:
    """Yield what is wrong with a metric, each check for itself; nothing can be said of one that is unknown."""
    try:
        definition = definition_of(metric.id)
        measured = _measured(metric, definition, f"{field}.of")
    except StatisticError as error:
        yield SpecError(str(error), field=f"{field}.id")
        return
    except SpecError as error:
        yield error
        return
    for check in (
        partial(_check_extractor, spec, metric, measured, field),
        *(partial(_check_use, metric, measured, field, name) for name in measured.uses),
        partial(_check_inputs, spec, metric, definition, field),
        partial(_check_clips, spec, measured, field),
        partial(_check_conditions, spec, measured, field),
    ):
        try:
            check()
        except SpecError as error:
            yield error


def _check_use(metric: Metric, measured: MetricDefinition, field: str, name: str) -> None:
    use, given = measured.uses[name], getattr(metric, name) is not None
    if use == "required" and not given:
        raise SpecError(f"is missing; {measured.id} needs it", field=f"{field}.{name}")
    if use == "refused" and given:
        raise SpecError(f"is not used by {measured.id}; remove it", field=f"{field}.{name}")


def _check_conditions(spec: Spec, measured: MetricDefinition, field: str) -> None:
    words_alone = [model.id for model in spec.models if not model.start]
    if "condition" in measured.needs and words_alone:
        raise SpecError(
            f"{measured.id} compares a clip with the picture or video it starts from; {words_alone[0]} starts from words alone",
            field=f"{field}.id",
        )


def _measured(metric: Metric, definition: MetricDefinition, place: str) -> MetricDefinition:
    """Return the definition of what is measured of a clip: the metric's own, or that of the scores that it correlates.

    Raises:
        SpecError: there are to be such scores and are none, or there are none to be.
    """
    if definition.finish != "correlation":
        if metric.of is not None:
            raise SpecError(f"is not used by {metric.id}; remove it", field=place)
        return definition
    if metric.of is None:
        raise SpecError(f"is missing; {metric.id} needs the metric whose scores it correlates", field=place)
    try:
        found = definition_of(metric.of)
    except StatisticError as error:
        raise SpecError(str(error), field=place) from error
    if found.finish != "mean" or "timing" in found.needs:
        raise SpecError(f"{metric.of} gives no score of what a clip shows; name one that does", field=place)
    return found


def _check_inputs(spec: Spec, metric: Metric, definition: MetricDefinition, field: str) -> None:
    if definition.of_ratings != (metric.inputs == "ratings"):
        told = "people's ratings alone" if definition.of_ratings else 'clips: "public" or "private"'
        raise SpecError(f"{metric.id} takes {told}", field=f"{field}.inputs")
    if definition.finish == "preference" and len(spec.models) < FEWEST_COMPARED:
        raise SpecError(f"{metric.id} compares models, and the spec has one alone", field=f"{field}.id")
    if metric.inputs == "private" and definition.public_only:
        raise SpecError(f"{metric.id} takes public inputs only: {definition.public_only}", field=f"{field}.inputs")


def _check_clips(spec: Spec, definition: MetricDefinition, field: str) -> None:
    video = spec.video
    clips = [
        (model.id, model.frames or video.frames, min(model.height or video.height, model.width or video.width))
        for model in spec.models
    ]
    if definition.compares_with_reference:
        clips.append(("the reference", video.frames, min(video.height, video.width)))
    for whose, frames, side in clips:
        for found, least, words in (
            (frames, definition.least_frames, "frames"),
            (side, definition.least_side, "pixels on the shorter side"),
        ):
            if found < least:
                raise SpecError(
                    f"{definition.id} needs clips of at least {least} {words}, those of {whose} have {found}",
                    field=f"{field}.id",
                )


def _check_extractor(spec: Spec, metric: Metric, definition: MetricDefinition, field: str) -> None:
    place = f"{field}.extractor"
    if not definition.architectures:
        if metric.extractor is not None:
            raise SpecError(f"is not used by {definition.id}; remove it", field=place)
        return
    needed = " or ".join(definition.architectures)
    if metric.extractor is None:
        raise SpecError(f"is missing; {definition.id} needs a {needed}", field=place)
    found = {extractor.id: extractor.architecture for extractor in spec.extractors}.get(metric.extractor)
    if found is None:
        raise SpecError(f"{metric.extractor!r} is none of the spec's extractors", field=place)
    if found not in definition.architectures:
        raise SpecError(f"{definition.id} needs a {needed}, {metric.extractor} is a {found}", field=place)
    dimension, allowed = spec.extractor(metric.extractor).dimension, definition.dimensions
    if allowed and dimension not in allowed:
        raise SpecError(
            f"{definition.id} takes features of {', '.join(map(str, allowed[:-1]))} or {allowed[-1]} dimensions, those of "
            f"{metric.extractor} have {dimension}; fit its public map to one of these with `vdb-participant metrics fit-map`",
            field=place,
        )


def _check_shared_references(spec: Spec) -> None:
    """Check that a distance asked for on public and on private inputs has one reference side."""
    first: dict[str, Metric] = {}
    for index, metric in enumerate(spec.metrics):
        other = first.setdefault(metric.id, metric)
        if not definition_of(metric.id).compares_with_reference:
            continue
        for name in ("extractor", "weight", "limit", "features", "bandwidth"):
            if getattr(metric, name) != getattr(other, name):
                raise SpecError(
                    f"differs between the two uses of {metric.id}, which share their reference clips; make them equal",
                    field=f"metrics.{index}.{name}",
                )


def _parts(spec: Spec, metric: Metric, *, private: bool) -> tuple[Part, ...]:
    return definition_of(metric.id).parts(
        private=private,
        dimension=feature_dimension(spec, metric),
        features=metric.features or 0,
        models=len(spec.models),
    )


def _reference_blocks(spec: Spec) -> Iterator[Block]:
    distances = {metric.id: metric for metric in spec.metrics if definition_of(metric.id).compares_with_reference}
    if distances:
        yield Block(count_block("reference"), REFERENCE_COUNT.dims, REFERENCE_COUNT.bound_squared, private=True)
    for metric in distances.values():
        for part in _parts(spec, metric, private=True):
            name = reference_block(metric.id, part.name)
            yield Block(name, part.dims, part.bound_squared, private=True, weight=metric.weight * part.weight)


def _generated_blocks(spec: Spec, side: str) -> Iterator[Block]:
    """One record of the private side is a prompt, whose samples all add to the same blocks."""
    metrics = [metric for metric in spec.metrics if metric.inputs == side]
    private = side == "private"
    clips = spec.generation.samples if private else 1
    for model in spec.models:
        if metrics:
            bound = OUTCOME_COUNT.bound_squared * clips**2
            yield Block(count_block(side, model.id), OUTCOME_COUNT.dims, bound, private=private, clips=clips)
        for metric in metrics:
            for part in _parts(spec, metric, private=private):
                yield Block(
                    generated_block(side, model.id, metric.id, part.name),
                    part.dims,
                    part.bound_squared * clips**2,
                    private=private,
                    weight=metric.weight * part.weight if private else Decimal(1),
                    clips=clips,
                )


def _rating_blocks(spec: Spec) -> Iterator[Block]:
    """One record is a rater with all ratings, who adds one share to each block and nothing to any other side."""
    for metric in spec.metrics:
        for part in _parts(spec, metric, private=True) if metric.inputs == "ratings" else ():
            name = rating_block(metric.id, part.name)
            yield Block(name, part.dims, part.bound_squared, private=True, weight=metric.weight)
