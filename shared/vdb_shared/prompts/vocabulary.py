"""What tags there are, what they mean, and which words of a prompt state them.

Promises that the vocabulary is data (`tags.toml`), and that a text states the same tags wherever it is read. Leaves what
follows from a tag that is wrong or missing to `lint.py`.
"""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

_QUOTED: Final = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»')

_GAP: Final = r"(?:\s+[\w'’-]+)?\s+"
"""What may stand between the words of a phrase: at most one other word, as in "the camera slowly pans"."""


class Entry(BaseModel):
    """Base of all parts of the vocabulary: strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class TagValue(Entry):
    """One value of a tag.

    Attributes:
        name: as suites write it.
        meaning: for people.
        words: phrases that state it.
        against: phrases that contradict it.
    """

    name: str
    meaning: str
    words: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


class Tag(Entry):
    """One tag.

    Attributes:
        name: as suites write it.
        meaning: for people.
        required: whether every prompt of a suite has it.
        several: whether a prompt may have more than one of its values.
        complete: whether whatever a prompt's words state must be tagged, and nothing else.
        quotes: whether its values are what a prompt quotes: a word, a phrase or a number.
        values: in the order in which they are shown.
    """

    name: str
    meaning: str
    required: bool = False
    several: bool = False
    complete: bool = False
    quotes: bool = False
    values: tuple[TagValue, ...]

    def value(self, name: str) -> TagValue | None:
        """Return one of its values, or None."""
        return next((value for value in self.values if value.name == name), None)

    def stated(self, text: str) -> tuple[str, ...]:
        """Return the values that the words of a text state, in the order of the vocabulary."""
        if self.quotes:
            return _quoted_kind(text)
        return tuple(value.name for value in self.values if occurs(value.words, text))


class VocabularyFile(Entry):
    """The file `tags.toml`."""

    version: Literal["vdb-tags/1"]
    tags: tuple[Tag, ...]


@lru_cache(maxsize=1)
def vocabulary() -> Mapping[str, Tag]:
    """Return every tag by name, in the order of the file."""
    text = resources.files("vdb_shared").joinpath("prompts", "tags.toml").read_text(encoding="utf-8")
    return {tag.name: tag for tag in VocabularyFile.model_validate_json(json.dumps(tomllib.loads(text))).tags}


def occurs(phrases: Iterable[str], text: str) -> bool:
    """Return whether one of the phrases stands in a text, whatever its case, outside quotation marks, as whole words."""
    plain = _QUOTED.sub(" ", unicodedata.normalize("NFC", text)).casefold()
    return any(_pattern(phrase).search(plain) for phrase in phrases)


@lru_cache(maxsize=1024)
def _pattern(phrase: str) -> re.Pattern[str]:
    words = _GAP.join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?<![\w-]){words}(?![\w-])")


def _quoted_kind(text: str) -> tuple[str, ...]:
    """Return "number", "word" or "phrase" for what a text quotes, or nothing."""
    quoted = [found.group()[1:-1].strip() for found in _QUOTED.finditer(text)]
    if not quoted:
        return ()
    if not any(character.isalpha() for words in quoted for character in words):
        return ("number",)
    return ("word",) if sum(len(words.split()) for words in quoted) == 1 else ("phrase",)
