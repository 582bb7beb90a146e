"""Where in a TOML text a field stands, so that an error can name the line; and what is likely wrong in a line that is no TOML.

Promises no more than a question about what is likely: the parser's own words stand before it.
"""

from __future__ import annotations

import re
from typing import Final

_PLACE: Final = re.compile(r"\(at line (\d+), column (\d+)\)")

_END: Final = "(at end of document)"

_LONGEST: Final = 100
"""Characters of a line that are shown."""

_GUESSES: Final = {
    "Illegal character": "is a quotation mark missing at its end?",
    "Unterminated string": "is a quotation mark missing at its end?",
    'Expected "\'"': "is a quotation mark (') missing at its end?",
    "Unescaped": "write each backslash twice, or put the text in single quotes: 'C:\\clips'",
    "Unclosed array": "is a comma missing in the list, or the ] that ends it?",
    "Unclosed inline": "is a comma missing, or the } in the same line?",
    "Expected '='": "is = missing after the name?",
    "Cannot overwrite": "does the field stand twice? Keep one",
    "Cannot declare": "does the section stand twice? Keep one; sections of a list begin with [[ and end with ]]",
    "Expected ']": "is a ] missing at its end?",
    "Invalid statement": "a line is a name, = and a value; is the name missing?",
}
"""What is likely wrong, by how the parser's words begin."""


def toml_problem(text: str, error: Exception, *, shown: bool = True) -> str:
    """Return why a text is no TOML: the parser's words, the line that they name, and what is likely wrong with it.

    Args:
        text: all of it.
        error: of the parser.
        shown: whether the line may be told; not where a password could stand in it.
    """
    words = str(error)
    line, column = _line_named(text, words)
    likely = _likely(words, line[column:])
    brief = " ".join(line.split())
    brief = brief if len(brief) <= _LONGEST else f"{brief[:_LONGEST]}…"
    told = f"; the line is `{brief}`" if shown and brief else ""
    return f"not TOML: {words}{told}{': ' if told and likely else '; ' if likely else ''}{likely}"


def _line_named(text: str, words: str) -> tuple[str, int]:
    """Return the line of a mistake and the column in it, from 0: the last line where it is at the end, "" if none is named."""
    lines = text.split("\n")
    if found := _PLACE.search(words):
        return lines[int(found[1]) - 1], int(found[2]) - 1
    if _END not in words:
        return "", 0
    return next((line for line in reversed(lines) if line.strip()), ""), 0


def _likely(words: str, rest: str) -> str:
    """Return what is likely wrong, "" where nothing is; `rest` is the line from the place of the mistake on."""
    if words.startswith("Invalid value"):
        return _likely_value(rest)
    if words.startswith("Expected newline"):
        number = "write numbers with a point and without leading zeros" if re.match(r",?\d", rest) else ""
        return number or "is a quotation mark, comma or bracket missing or too many before this place?"
    return next((guess for start, guess in _GUESSES.items() if words.startswith(start)), "")


def _likely_value(rest: str) -> str:
    value = rest.strip()
    if not value or value.startswith("#"):
        return "is the value missing after =?"
    if value[0] in "\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb":
        return 'write plain quotation marks, "'
    if re.match(r"(?i)(true|false)\b", value):
        return "write true and false in small letters"
    return "is a quotation mark missing at the beginning of the text?" if value[0].isalpha() else ""


def line_of(text: str, field: str) -> int | None:
    """Return the line on which a dotted field stands in TOML, or its table's, or None.

    The TOML parser keeps no positions; this follows table headers and `key =` lines, which is how presets are written.
    """
    wanted = field.split(".")
    counts: dict[str, int] = {}
    table: list[str] = []
    best: tuple[int, int] | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        header = re.fullmatch(r"(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(#.*)?", line)
        key = re.match(r"([A-Za-z0-9_-]+)\s*=", line)
        if header:
            name = header.group(2)
            table = name.split(".")
            if header.group(1) == "[[":
                table.append(str(counts.get(name, 0)))
                counts[name] = counts.get(name, 0) + 1
            path = table
        elif key:
            path = [*table, key.group(1)]
        else:
            continue
        depth = len(path)
        if path == wanted[:depth] and (best is None or depth > best[0]):
            best = (depth, number)
    return best[1] if best else None
