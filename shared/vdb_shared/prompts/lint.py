"""Mistakes in prompts that can be told without any model.

Promises that a file without errors is one whose prompts a spec and the agent accept, that every mistake is one finding with
its line, and that no finding repeats a prompt's own words. Leaves reading files to `suites.py` and to the participant.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import ValidationError

from vdb_shared.prompts.drafts import Draft, Finding, Level
from vdb_shared.prompts.vocabulary import Tag, occurs, vocabulary
from vdb_shared.schema_words import in_words
from vdb_shared.spec import Prompt

CLIP_TOKENS: Final = 77
T5_TOKENS: Final = 512
"""What the text encoders of video models read, start and end marks included; they leave out what is beyond."""

_TOKENS_PER_WORD: Final = 4 / 3
"""Rule of thumb for English prose and byte-pair vocabularies; punctuation is included."""

_MARKS: Final = 2
"""Start and end."""

_NON_PRINTING: Final = ("Cc", "Co", "Cs", "Zl", "Zp")
"""Unicode categories that no prompt needs: controls, private use, surrogates, line and paragraph separators. Unassigned
characters are none of them: they may be assigned in a newer version than Python's."""


def lint(drafts: Sequence[Draft], *, theme: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Return what is wrong with prompts, by line.

    Args:
        drafts: of one file, in its order.
        theme: tags of which every prompt has one at least; nothing for no such rule.
    """
    found = [finding for draft in drafts for finding in (*_check_text(draft), *_check_tags(draft, theme))]
    found += [Finding(None, "error", "theme", f"theme: {tag} is no tag") for tag in theme if tag not in vocabulary()]
    found += _repetitions(drafts)
    return tuple(sorted(found, key=lambda finding: finding.line or 0))


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text encoder makes of a text, start and end marks included.

    Letters of scripts without case, most of which write no spaces between words, count for one token each.
    """
    words = sum(any(character.isalnum() and not _caseless(character) for character in word) for word in text.split())
    return math.ceil(_TOKENS_PER_WORD * words) + sum(map(_caseless, text)) + _MARKS


def normalised(text: str) -> str:
    """Return a text without case, punctuation and surplus spaces, composed: what makes two prompts the same to a reader."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (character if unicodedata.category(character)[0] in "LMN" else " " for character in folded)
    return " ".join("".join(kept).split())


def _caseless(character: str) -> bool:
    return unicodedata.category(character) == "Lo"


def _check_text(draft: Draft) -> Iterator[Finding]:
    if not draft.text.strip():
        yield _error(draft, "empty", "text is empty; write a prompt or remove the entry")
        return
    yield from _refused(draft)
    yield from _characters(draft)
    if not normalised(draft.text):
        yield _warning(draft, "wordless", "text has no letter and no digit")
    if draft.text != " ".join(draft.text.split()):
        yield _warning(draft, "spaces", "spaces at an end of the text, or more than one between words; leave them out")
    tokens = estimated_tokens(draft.text)
    for encoder, limit in (("T5", T5_TOKENS), ("CLIP", CLIP_TOKENS)):
        if tokens > limit:
            words = f"text has about {tokens} tokens; a {encoder} text encoder reads {limit} and leaves out the rest"
            yield _warning(draft, "length", words)
            return


def _refused(draft: Draft) -> Iterator[Finding]:
    """What a spec refuses: ids of another form, and texts that are too long."""
    try:
        Prompt(id=draft.id, text=draft.text)
    except ValidationError as error:
        for mistake in error.errors(include_url=False, include_input=False):
            field = str(mistake["loc"][0])
            if field == "id":
                words = "id: expected at most 64 lower-case letters, digits, dots, dashes, underscores"
            else:
                words = f"text: {in_words(mistake)}"
            yield _error(draft, "id" if field == "id" else "length", words)


def _characters(draft: Draft) -> Iterator[Finding]:
    kinds = {character: unicodedata.category(character) for character in draft.text}
    refused = sorted(character for character, kind in kinds.items() if kind in _NON_PRINTING)
    if refused:
        yield _error(draft, "character", f"text has the non-printing character {_name(refused[0])}; remove it")
    unseen = sorted(c for c, kind in kinds.items() if kind == "Cf" or (kind == "Zs" and c != " "))
    if unseen:
        yield _warning(draft, "character", f"text has {_name(unseen[0])}, which nobody sees; is it meant?")
    if not unicodedata.is_normalized("NFC", draft.text):
        words = "text is not in Unicode's composed form (NFC); the same words written elsewhere would be another prompt"
        yield _warning(draft, "composition", words)


def _name(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name.lower()})" if name else "")


def _check_tags(draft: Draft, theme: Sequence[str]) -> Iterator[Finding]:
    if draft.tags is None:
        return
    for name in draft.tags:
        if name not in vocabulary():
            yield _error(draft, "unknown-tag", f"{name} is no tag; there are {', '.join(vocabulary())}")
    if theme and not any(name in draft.tags for name in theme):
        yield _error(draft, "missing-tag", f"the suite's theme asks for a tag {' or '.join(theme)}, found none")
    for tag in vocabulary().values():
        if tag.name in draft.tags:
            yield from _check_values(draft, tag, draft.tags[tag.name])
        else:
            yield from _check_absence(draft, tag)


def _check_absence(draft: Draft, tag: Tag) -> Iterator[Finding]:
    if tag.required:
        yield _error(draft, "missing-tag", f"{tag.name} is missing; expected one of {_choices(tag)}")
    if tag.complete and (stated := tag.stated(draft.text)):
        yield _warning(draft, "untagged", f"the words say {tag.name} {', '.join(stated)}, which is not tagged")


def _check_values(draft: Draft, tag: Tag, values: tuple[str, ...]) -> Iterator[Finding]:
    unknown = [value for value in values if tag.value(value) is None]
    if unknown or not values or len(set(values)) != len(values):
        found = repr(unknown[0]) if unknown else "a repetition" if values else "none"
        yield _error(draft, "unknown-value", f"{tag.name}: expected one of {_choices(tag)}, found {found}")
        return
    if len(values) > 1 and not tag.several:
        yield _error(draft, "contradiction", f"{tag.name}: {' and '.join(values)} contradict each other; keep one")
    stated = tag.stated(draft.text)
    others = [value for value in stated if value not in values]
    if tag.complete and others:
        words = f"{tag.name}: tagged {', '.join(values)}, but the words say {', '.join(others)}"
        yield _error(draft, "contradiction", words)
    yield from _against_words(draft, tag, values, stated)


def _against_words(draft: Draft, tag: Tag, values: tuple[str, ...], stated: tuple[str, ...]) -> Iterator[Finding]:
    for value in filter(None, map(tag.value, values)):
        if occurs(value.against, draft.text):
            yield _error(draft, "contradiction", f"{tag.name}: tagged {value.name}, but the words say otherwise")
        if (value.words or tag.quotes) and value.name not in stated:
            yield _warning(draft, "unstated", f"{tag.name}: tagged {value.name}, but no words of the prompt say so")


def _choices(tag: Tag) -> str:
    return ", ".join(value.name for value in tag.values)


def _repetitions(drafts: Sequence[Draft]) -> Iterator[Finding]:
    ids: dict[str, Draft] = {}
    texts: dict[str, Draft] = {}
    readings: dict[str, Draft] = {}
    for draft in drafts:
        if draft.id in ids:
            yield _error(draft, "repetition", f"has the id of {_place(ids[draft.id])}; ids must differ")
        ids.setdefault(draft.id, draft)
        reading = normalised(draft.text)
        if draft.text.strip() and draft.text in texts:
            yield _error(draft, "repetition", f"has the text of {_place(texts[draft.text])}; remove one of them")
        elif reading and reading in readings:
            place = _place(readings[reading])
            yield _warning(
                draft, "repetition", f"differs from {place} only in case, spaces, punctuation or composition"
            )
        texts.setdefault(draft.text, draft)
        readings.setdefault(reading, draft)


def _place(draft: Draft) -> str:
    return f"prompt {draft.id}" if draft.line is None else f"line {draft.line}"


def _finding(draft: Draft, level: Level, kind: str, words: str) -> Finding:
    return Finding(draft.line, level, kind, words)


def _error(draft: Draft, kind: str, words: str) -> Finding:
    return _finding(draft, "error", kind, words)


def _warning(draft: Draft, kind: str, words: str) -> Finding:
    return _finding(draft, "warning", kind, words)
