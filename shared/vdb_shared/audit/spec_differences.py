"""In what two specs differ, field by field, in plain words.

Promises that every field of the schema has words, and that a list is compared by what it is about (a prompt, a model), not by
its place. Leaves to the reader what a difference does to the figures, but for what `circumstances` says of one figure.

Source: protos/README.md §5, §10.12.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.spec import Metric, Model, Spec

SCALARS: Final[Mapping[str, str]] = {
    "version": "Format of the spec",
    "title": "Title",
    "purpose": "Purpose",
    "cohort.minimum": "Fewest institutions that must join",
    "cohort.collusion": "Dishonest institutions that are withstood",
    "cohort.dropout": "Share that may drop out",
    "privacy.mechanism": "Noise",
    "privacy.sampler": "Sampler of the noise",
    "privacy.epsilon": "Promised ε",
    "privacy.delta": "Promised δ",
    "privacy.maximum_records": "Most private records of one institution",
    "deadlines.joining": "Seconds for joining",
    "deadlines.computing": "Seconds for computing",
    "deadlines.round": "Seconds for a round",
    "deadlines.countersigning": "Seconds for countersigning",
    "video.frames": "Frames of a clip",
    "video.height": "Height of a clip",
    "video.width": "Width of a clip",
    "video.fps": "Frames per second of a clip",
    "generation.steps": "Inference steps",
    "generation.guidance": "Guidance scale",
    "generation.negative_prompt": "Negative prompt",
    "generation.samples": "Clips of each prompt and model",
    "generation.private_share": "Share of private prompts that is used",
    "generation.checked_share": "Share of public clips made twice",
    "generation.profile": "Profile of generation",
    "generation.grade": "Class of clips under the profile auto",
}
"""Every field that stands once in a spec, in words."""

LISTS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "prompts": ("Prompt", {"text": "words", "condition": "picture or video that models start from"}),
    "models": (
        "Model",
        {
            "pipeline": "class that runs it",
            "manifest": "weights",
            "task": "task",
            "steps": "inference steps",
            "guidance": "guidance scale",
            "negative_prompt": "negative prompt",
            "frames": "frames",
            "height": "height",
            "width": "width",
            "fps": "frames per second",
        },
    ),
    "extractors": (
        "Extractor",
        {
            "architecture": "kind",
            "manifest": "weights",
            "dimension": "number of features",
            "precision": "precision",
        },
    ),
    "metrics": (
        "Metric",
        {
            "extractor": "extractor",
            "weight": "weight in the privacy budget",
            "limit": "limit",
            "features": "number of random features, lanes or anchors",
            "bandwidth": "bandwidth",
            "of": "metric whose scores are correlated",
        },
    ),
}
"""What each list of a spec holds, and the fields of its items, in words."""

_ABSENT: Final = "–"

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two specs differ.

    Attributes:
        what: in words.
        first, second: what either says; several values where the one has items that the other has not.
    """

    what: str
    first: tuple[str, ...]
    second: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"what": self.what, "first": list(self.first), "second": list(self.second)}


def spec_differences(first: Spec, second: Spec) -> tuple[Difference, ...]:
    """Return everything in which two specs differ, in the order of the schema; () for equal specs."""
    return (*_scalars(first, second), *_lists(first, second), *_orders(first, second))


def _scalars(first: Spec, second: Spec) -> Iterator[Difference]:
    for path, words in SCALARS.items():
        mine, other = (_at(spec, path) for spec in (first, second))
        if mine != other:
            yield Difference(words, (_text(mine),), (_text(other),))


def _at(spec: Spec, path: str) -> object:
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _lists(first: Spec, second: Spec) -> Iterator[Difference]:
    for name, (noun, words) in LISTS.items():
        mine, other = (_items(spec, name) for spec in (first, second))
        gone, new = (tuple(key for key in one if key not in two) for one, two in ((mine, other), (other, mine)))
        if gone or new:
            yield Difference(f"{noun}s only there", gone, new)
        for key in mine:
            if key in other:
                yield from _changed(f"{noun} {key}", words, mine[key], other[key])


def _items(spec: Spec, name: str) -> dict[str, BaseModel]:
    if name == "metrics":
        return {metric_name(metric): metric for metric in spec.metrics}
    return {item.id: item for item in getattr(spec, name)}


def metric_name(metric: Metric) -> str:
    """Return a metric of a spec in words, such as "clip-score@1 on public inputs"."""
    return f"{metric.id} on {metric.inputs} inputs"


def _changed(name: str, words: Mapping[str, str], mine: BaseModel, other: BaseModel) -> Iterator[Difference]:
    for field, heading in words.items():
        before, after = getattr(mine, field), getattr(other, field)
        if before != after:
            yield Difference(f"{name}: {heading}", (_text(before),), (_text(after),))


def _orders(first: Spec, second: Spec) -> Iterator[Difference]:
    """Yield lists that hold the same in another order: that decides which site makes which clip."""
    for name, (noun, _) in LISTS.items():
        mine, other = tuple(_items(first, name)), tuple(_items(second, name))
        if mine != other and sorted(mine) == sorted(other):
            yield Difference(f"Order of {noun.lower()}s", mine, other)


def _text(value: object) -> str:
    return _ABSENT if value is None or value == "" else str(value)


def circumstances(first: Spec, second: Spec, metric: Metric, model: str, *, same_sites: bool) -> tuple[str, ...]:
    """Return what else differs between two figures of one measure and model: each could be why they differ.

    Args:
        first: spec of the one result.
        second: spec of the other.
        metric: of the first.
        model: id of the model, which both have.
        same_sites: whether the same institutions are in both sums.
    """
    mine, other = (next(item for item in spec.models if item.id == model) for spec in (first, second))
    terms = (
        f"other {words}" for field, words in _TERMS.items() if _term(first, mine, field) != _term(second, other, field)
    )
    conduct = (what for what, of in _CONDUCT.items() if of(first, metric) != of(second, metric))
    return (*(() if same_sites else _of_sites(metric)), *terms, *conduct)


def _of_sites(metric: Metric) -> Iterator[str]:
    definition = definition_of(metric.id)
    if metric.inputs == "private" or definition.compares_with_reference:
        yield "private records of other institutions"
    if metric.inputs == "ratings":
        yield "people of other institutions"
    if "timing" in definition.needs:
        yield "machines of other institutions"


_TERMS: Final = {
    field: words for field, words in LISTS["models"][1].items() if field not in {"pipeline", "manifest", "task"}
}
"""Terms of a model that a spec also gives for all models."""

_CONDUCT: Final[Mapping[str, Callable[[Spec, Metric], Hashable]]] = {
    "other public prompts": lambda spec, metric: None if metric.inputs == "private" else _asked(spec),
    "other profile of generation": lambda spec, _: spec.generation.profile,
    "other number of clips of each prompt": lambda spec, _: spec.generation.samples,
    "other share of the private prompts": lambda spec, metric: (
        spec.generation.private_share if metric.inputs == "private" else None
    ),
    "other size of the reference clips": lambda spec, metric: (
        (spec.video.frames, spec.video.height, spec.video.width)
        if definition_of(metric.id).compares_with_reference
        else None
    ),
}


def _asked(spec: Spec) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((prompt.text, prompt.condition or "") for prompt in spec.prompts))


def _term(spec: Spec, model: Model, field: str) -> object:
    own = getattr(model, field)
    if own is not None:
        return own
    return getattr(spec.video if field in {"frames", "height", "width", "fps"} else spec.generation, field)
