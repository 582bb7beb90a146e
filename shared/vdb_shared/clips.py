"""The clips a spec asks of each model: the spec's own terms, or the model's where it has any.

Promises that clips which a pipeline class cannot make, or would have to make of words alone where it needs a picture or
video, are refused with the field that asks for them, at the coordinator (`spec lint`) and at every site alike. Leaves
making them to the participant.

Source: protos/README.md §5, §7.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from vdb_shared.errors import SpecError
from vdb_shared.registry.classes import EXTERNAL, check_frames, check_side
from vdb_shared.registry.rows import Registry, load_registry
from vdb_shared.spec import Model, Spec


@dataclass(frozen=True, slots=True)
class ClipTerms:
    """What every clip of one model is made with; see `spec.Video` and `spec.Generation`."""

    frames: int
    height: int
    width: int
    fps: int
    steps: int
    guidance: Decimal
    negative_prompt: str


def clip_terms(spec: Spec, model: Model, registry: Registry | None = None) -> ClipTerms:
    """Return the terms of a model's clips.

    Args:
        spec: the spec.
        model: one of its models.
        registry: rows that may ask for larger multiples than the class; the packaged ones by default.

    Raises:
        SpecError: clips that the model's class cannot make, or a public prompt without the picture or video that it
            starts from; names the field and says what to write there.
    """
    _check_conditions(spec, model)
    video, generation = spec.video, spec.generation
    terms = ClipTerms(
        frames=video.frames if model.frames is None else model.frames,
        height=video.height if model.height is None else model.height,
        width=video.width if model.width is None else model.width,
        fps=video.fps if model.fps is None else model.fps,
        steps=generation.steps if model.steps is None else model.steps,
        guidance=generation.guidance if model.guidance is None else model.guidance,
        negative_prompt=generation.negative_prompt if model.negative_prompt is None else model.negative_prompt,
    )
    if model.pipeline != EXTERNAL:
        row = (registry or load_registry()).get(model.id)
        multiple = row.multiple if row is not None and row.pipeline == model.pipeline else None
        check_frames(model.pipeline, terms.frames, field=_field(spec, model, "frames"))
        check_side(model.pipeline, "height", terms.height, field=_field(spec, model, "height"), multiple=multiple)
        check_side(model.pipeline, "width", terms.width, field=_field(spec, model, "width"), multiple=multiple)
    return terms


def clip_mistakes(spec: Spec) -> Iterator[SpecError]:
    """Yield the first mistake in the clips of each model that has one."""
    for model in spec.models:
        try:
            clip_terms(spec, model)
        except SpecError as error:
            yield error


def check_clips(spec: Spec) -> None:
    """Check the clips of every model.

    Raises:
        SpecError: see `clip_terms`.
    """
    for model in spec.models:
        clip_terms(spec, model)


def _check_conditions(spec: Spec, model: Model) -> None:
    if not model.start or all(metric.inputs == "private" for metric in spec.metrics):
        return
    for number, prompt in enumerate(spec.prompts):
        if prompt.condition is None:
            raise SpecError(
                f"is missing, but models.{spec.models.index(model)} ({model.id}) starts from a {model.start}; write "
                "sha256: and the 64 digits that `sha256sum FILE` prints for it, or take the model out",
                field=f"prompts.{number}.condition",
            )


def _field(spec: Spec, model: Model, name: str) -> str:
    """Return where a term was asked for: at the model, or for all."""
    return f"video.{name}" if getattr(model, name) is None else f"models.{spec.models.index(model)}.{name}"
