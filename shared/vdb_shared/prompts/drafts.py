"""Prompts as somebody wrote them, and what is found wrong with them.

Promises that the words of a finding repeat no prompt, so that a report on a private file can be shown to others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]
"""An error makes the file unusable, or one of its prompts; a warning names what is probably not meant."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One prompt before anyone has checked it.

    Attributes:
        id: under which it stands in its file.
        text: its words.
        tags: values by tag; None in a format that knows no tags.
        line: 1-based line of its file, or None when it cannot be told.
    """

    id: str
    text: str
    tags: Mapping[str, tuple[str, ...]] | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or probably not meant.

    Attributes:
        line: 1-based line of the file, or None.
        level: whether it must or should be mended.
        kind: one word for what it is, such as "repetition".
        words: what is wrong and what to do, without the prompt's own words.
    """

    line: int | None
    level: Level
    kind: str
    words: str

    def told(self, file: str) -> str:
        """Return the finding in one line."""
        place = file if self.line is None else f"{file}:{self.line}"
        return f"{place}: {self.level}: {self.words}"

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"line": self.line, "level": self.level, "kind": self.kind, "words": self.words}
