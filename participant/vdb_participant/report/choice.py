"""Which clips an institution's page shows: of public prompts, those that most models made here.

Promises that nothing private decides what is shown: what is looked for follows from the spec and from the public clips that
fell to this site. A clip that is kept for another reason, say for a private prompt of the very words of a public one, is not
looked for: that it is there would tell of the private prompt. Leaves pictures to `strips.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vdb_participant.generation.breaker import failure_of
from vdb_participant.generation.settings import GenerationSettings, possible_settings
from vdb_participant.generation.store import ClipKey, ClipStore, clip_key
from vdb_shared.bundle.samples import Failure
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Model, Prompt, Spec
from vdb_shared.tasks import ClipTask

PROMPTS: Final = 6
"""Shown unless another number is asked for: enough to see what a model is like, few enough for one sitting."""


@dataclass(frozen=True, slots=True)
class Place:
    """What there is of one model and one prompt: the first of its clips that fell to this site.

    Attributes:
        model: id.
        sample: its number; None where all samples fell to other institutions.
        settings: of the clip.
        key: of the finished clip; None where there is none.
        failure: what is said of it if it was given up.
    """

    model: str
    sample: int | None
    settings: GenerationSettings
    key: ClipKey | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A public prompt, and a place for each model in the order of the spec."""

    prompt: Prompt
    places: tuple[Place, ...]


def choose(
    spec: Spec, tasks: Sequence[ClipTask], store: ClipStore, registry: Registry, count: int = PROMPTS
) -> tuple[Chosen, ...]:
    """Return the public prompts of which this site holds clips of the most models, in the order of the spec.

    Args:
        spec: the spec.
        tasks: public clips that fell to this site.
        store: of its clips.
        registry: the site's.
        count: of prompts, at most; prompts of which nothing fell to this site are left out.
    """
    ways = possible_settings(spec, registry)
    made_here = any(metric.inputs == "public" for metric in spec.metrics)
    first: dict[tuple[str, str, str], ClipTask] = {}
    for task in tasks if made_here else ():
        place = task.model, task.prompt, task.condition
        known = first.setdefault(place, task)
        if task.sample < known.sample:
            first[place] = task
    digest = spec.digest
    found = []
    for prompt in spec.prompts:
        # A model that starts from words alone makes the same clip whatever others start from.
        mine = [
            (
                model,
                first.get((model.id, prompt.text, prompt.condition or "")) or first.get((model.id, prompt.text, "")),
            )
            for model in spec.models
        ]
        if any(task is not None for _, task in mine):
            found.append(Chosen(prompt, tuple(_place(digest, model, task, ways, store) for model, task in mine)))
    best = sorted(found, key=lambda item: -sum(place.key is not None for place in item.places))[:count]
    return tuple(item for item in found if item in best)


def _place(
    spec: str, model: Model, task: ClipTask | None, ways: Sequence[Mapping[str, GenerationSettings]], store: ClipStore
) -> Place:
    if task is None:
        return Place(model.id, None, ways[0][model.id])
    keys = [(way[model.id], clip_key(spec, model.manifest, way[model.id], task)) for way in ways]
    for settings, key in keys:
        if store.kept(key):
            return Place(model.id, task.sample, settings, key)
    for settings, key in keys:
        if (reason := store.failure(key)) is not None:
            return Place(model.id, task.sample, settings, None, failure_of(reason))
    return Place(model.id, task.sample, ways[0][model.id])
