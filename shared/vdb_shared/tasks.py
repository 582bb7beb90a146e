"""The clips a session makes: one task per model, prompt and sample, each with its own seed.

Public work is split over the sites that joined; private prompts stay at home. Promises that a clip is the same whoever
makes it: its seed depends on the spec, the model, the prompt's words and the sample alone.

Source: protos/README.md §6.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vdb_shared import labels
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.spec import Prompt, Spec


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One clip to make.

    Attributes:
        model: id of the model.
        prompt: the prompt's words.
        sample: number of the sample, from 0.
    """

    model: str
    prompt: str
    sample: int


def clip_seed(spec_digest: str, task: ClipTask) -> int:
    """Return the seed of a clip, in [0, 2^63)."""
    digest = labelled_hash(
        labels.HASH_CLIP_SEED,
        digest_bytes(spec_digest),
        task.model.encode(),
        task.prompt.encode(),
        task.sample.to_bytes(4, "little"),
    )
    return int.from_bytes(digest[:8], "little") >> 1


def public_tasks(spec: Spec) -> tuple[ClipTask, ...]:
    """Return every public clip of a spec, in the order in which shards count them: by model, prompt, sample."""
    return tasks_for(spec, [prompt.text for prompt in spec.prompts])


def tasks_for(spec: Spec, prompts: Sequence[str]) -> tuple[ClipTask, ...]:
    """Return the clips that all models make of these prompts."""
    return tuple(
        ClipTask(model.id, prompt, sample)
        for model in spec.models
        for prompt in prompts
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
