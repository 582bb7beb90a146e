"""The clips a session makes: one task per model, prompt and sample, each with its own seed.

Public work is split over the sites that joined, and a declared share of it is made at two of them; private prompts stay at
home. Promises that a clip is the same whoever makes it: its seed depends on the spec, the model, the prompt's words, what the
clip starts from and the sample alone. Leaves comparing what two sites made to `checked_clips.py`.

Source: protos/README.md §6.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Final

from vdb_shared import labels
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.spec import Model, Prompt, Spec

MOST_CHECKED: Final = 256
"""Clips of a session that are made at two sites at most: what one site says of so many fits into a statement (§9.2)."""


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One clip to make.

    Attributes:
        model: id of the model.
        prompt: the prompt's words.
        sample: number of the sample, from 0.
        condition: digest of the bytes of the picture or video file that it starts from; "" for words alone.
    """

    model: str
    prompt: str
    sample: int
    condition: str = ""


def clip_seed(spec_digest: str, task: ClipTask) -> int:
    """Return the seed of a clip, in [0, 2^63)."""
    digest = labelled_hash(
        labels.HASH_CLIP_SEED,
        digest_bytes(spec_digest),
        task.model.encode(),
        task.prompt.encode(),
        task.sample.to_bytes(4, "little"),
        *([digest_bytes(task.condition)] if task.condition else []),
    )
    return int.from_bytes(digest[:8], "little") >> 1


def public_tasks(spec: Spec) -> tuple[ClipTask, ...]:
    """Return every public clip of a spec, in the order in which shards count them: by model, prompt, sample."""
    prompts = [(prompt.text, prompt.condition or "") for prompt in spec.prompts]
    return tuple(task for model in spec.models for task in tasks_for(spec, model, prompts))


def tasks_for(spec: Spec, model: Model, prompts: Iterable[tuple[str, str]]) -> tuple[ClipTask, ...]:
    """Return the clips that one model makes.

    Args:
        spec: the spec.
        model: one of its models.
        prompts: words, and the condition that goes with them; a model that makes clips of words alone leaves it aside.
    """
    return tuple(
        ClipTask(model.id, words, sample, condition if model.start else "")
        for words, condition in prompts
        for sample in range(spec.generation.samples)
    )


def shard(tasks: Sequence[ClipTask], position: int, sites: int) -> tuple[ClipTask, ...]:
    """Return the share of public tasks of one site.

    Args:
        tasks: all public tasks.
        position: place of the site among those that joined, in order of seat, from 0.
        sites: number of sites that joined.
    """
    if not 0 <= position < sites:
        raise ValueError(f"position {position} is not among {sites} sites")
    return tuple(tasks[position::sites])


@dataclass(frozen=True, slots=True)
class CheckedTask:
    """A public clip that two sites make.

    Attributes:
        number: of the task, from 0, in the order of `public_tasks`.
        first: place of the site whose shard it is in; there the clip counts.
        second: place of another site, which makes it for comparison alone.
    """

    number: int
    first: int
    second: int


def checked_count(spec: Spec) -> int:
    """Return how many public clips two sites make: the declared share, rounded up, at most `MOST_CHECKED`.

    None where no metric has public inputs, since then no public clip is made.
    """
    if not any(metric.inputs == "public" for metric in spec.metrics):
        return 0
    tasks = len(spec.models) * len(spec.prompts) * spec.generation.samples
    return min(math.ceil(Fraction(spec.generation.checked_share) * tasks), MOST_CHECKED)


def checked_tasks(spec: Spec, sites: int) -> tuple[CheckedTask, ...]:
    """Return which public clips are made at two sites, and at which, ascending by number.

    Both follow from the spec and the number of sites alone, without a look at each task: a small spec may ask for millions.

    Args:
        spec: the spec.
        sites: number of sites that joined; a single one has nobody to compare with.
    """
    if sites < 2:
        return ()
    tasks = len(spec.models) * len(spec.prompts) * spec.generation.samples
    found: dict[int, CheckedTask] = {}
    drawn, wanted, digest = count(), checked_count(spec), digest_bytes(spec.digest)
    while len(found) < wanted:
        draw = labelled_hash(labels.HASH_CHECKED_TASK, digest, next(drawn).to_bytes(4, "little"))
        number = int.from_bytes(draw[:8], "little") % tasks
        step = 1 + int.from_bytes(draw[8:16], "little") % (sites - 1)
        first = number % sites
        found.setdefault(number, CheckedTask(number, first, (first + step) % sites))
    return tuple(found[number] for number in sorted(found))


@dataclass(frozen=True, slots=True)
class CheckedWork:
    """A clip that one site makes and another one too.

    Attributes:
        number: of the task, in the order of `public_tasks`.
        task: the clip.
        counted: whether it is in this site's shard. Else it enters no sum here: each public clip counts once.
    """

    number: int
    task: ClipTask
    counted: bool


def checked_work(spec: Spec, position: int, sites: int) -> tuple[CheckedWork, ...]:
    """Return the clips that a site makes and another one too, ascending by number.

    Args:
        spec: the spec.
        position: place of the site among those that joined, in order of seat, from 0.
        sites: number of sites that joined.
    """
    checked = [item for item in checked_tasks(spec, sites) if position in (item.first, item.second)]
    tasks = public_tasks(spec) if checked else ()
    return tuple(CheckedWork(item.number, tasks[item.number], item.first == position) for item in checked)


def select_private_prompts(spec: Spec, prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Return the private prompts that are used, in their order: each is chosen by the hash of its own words alone.

    So one record never decides about another, which the sensitivity of §8.1 rests on.
    """
    bound = int(spec.generation.private_share * 2**64)
    return tuple(prompt for prompt in prompts if _position(prompt) < bound)


def _position(prompt: Prompt) -> int:
    """Return the place of a prompt's words in [0, 2^64), uniform over prompts."""
    return int.from_bytes(labelled_hash(labels.HASH_PROMPT_CHOICE, prompt.text.encode())[:8], "little")
