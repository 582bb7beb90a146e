"""What a set of prompts consists of: how many, how long, and which tags.

Promises numbers alone: no prompt, word or id of the set is part of them.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vdb_shared.canonical import decimal_string
from vdb_shared.prompts.drafts import Draft
from vdb_shared.prompts.lint import CLIP_TOKENS, T5_TOKENS, estimated_tokens, normalised
from vdb_shared.prompts.vocabulary import vocabulary


@dataclass(frozen=True, slots=True)
class TagCounts:
    """How often a tag is used.

    Attributes:
        values: prompts with each value of the vocabulary, also where there is none; a prompt with several counts for each.
        without: prompts that lack the tag.
    """

    values: Mapping[str, int]
    without: int

    @property
    def used(self) -> int:
        """How many of the values are used."""
        return sum(count > 0 for count in self.values.values())


@dataclass(frozen=True, slots=True)
class Lengths:
    """Words per prompt: fewest, median, mean, most."""

    fewest: int
    median: float
    mean: float
    most: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a set of prompts consists of.

    Attributes:
        prompts: how many there are.
        distinct: how many of them differ in more than case, spaces and punctuation.
        words: per prompt; None when there are no prompts.
        vocabulary: distinct words of all prompts together.
        beyond_clip, beyond_t5: prompts that are probably too long for these text encoders.
        tags: by tag; empty where the format knows no tags.
    """

    prompts: int
    distinct: int
    words: Lengths | None
    vocabulary: int
    beyond_clip: int
    beyond_t5: int
    tags: Mapping[str, TagCounts]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form: reals as decimal strings."""
        words = self.words and {
            "fewest": self.words.fewest,
            "median": decimal_string(self.words.median),
            "mean": decimal_string(round(self.words.mean, 2)),
            "most": self.words.most,
        }
        return {
            "prompts": self.prompts,
            "distinct": self.distinct,
            "words": words,
            "vocabulary": self.vocabulary,
            "beyond_clip": self.beyond_clip,
            "beyond_t5": self.beyond_t5,
            "tags": {
                name: {
                    "values": dict(tag.values),
                    "without": tag.without,
                    "used": tag.used,
                    "known": len(tag.values),
                }
                for name, tag in self.tags.items()
            },
        }


def count(drafts: Sequence[Draft]) -> Counts:
    """Return what a set of prompts consists of; values that are not in the vocabulary are left out."""
    lengths = [len(draft.text.split()) for draft in drafts]
    tokens = [estimated_tokens(draft.text) for draft in drafts]
    readings = [normalised(draft.text) for draft in drafts]
    return Counts(
        prompts=len(drafts),
        distinct=len(set(readings)),
        words=Lengths(min(lengths), statistics.median(lengths), statistics.fmean(lengths), max(lengths))
        if lengths
        else None,
        vocabulary=len({word for reading in readings for word in reading.split()}),
        beyond_clip=sum(number > CLIP_TOKENS for number in tokens),
        beyond_t5=sum(number > T5_TOKENS for number in tokens),
        tags=_tags([draft.tags for draft in drafts if draft.tags is not None]),
    )


def _tags(tagged: Sequence[Mapping[str, tuple[str, ...]]]) -> Mapping[str, TagCounts]:
    if not tagged:
        return {}
    found: dict[str, TagCounts] = {}
    for tag in vocabulary().values():
        used = Counter(value for tags in tagged for value in set(tags.get(tag.name, ())))
        values = {value.name: used[value.name] for value in tag.values}
        found[tag.name] = TagCounts(values, sum(tag.name not in tags for tags in tagged))
    return found
