"""The clips a session makes: one task per model, prompt and sample, each with its own seed.

Public work is split over the sites that joined; private prompts stay at home. Promises that a clip is the same whoever
makes it: its seed depends on the spec, the model, the prompt's words, what the clip starts from and the sample alone.

Source: protos/README.md §6.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vdb_shared import labels
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.spec import Model, Prompt, Spec


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


def select_private_prompts(spec: Spec, prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Return the private prompts that are used, in their order: each is chosen by the hash of its own words alone.

    So one record never decides about another, which the sensitivity of §8.1 rests on.
    """
    bound = int(spec.generation.private_share * 2**64)
    return tuple(prompt for prompt in prompts if _position(prompt) < bound)


def _position(prompt: Prompt) -> int:
    """Return the place of a prompt's words in [0, 2^64), uniform over prompts."""
    return int.from_bytes(labelled_hash(labels.HASH_PROMPT_CHOICE, prompt.text.encode())[:8], "little")
