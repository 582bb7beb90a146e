"""Text for people: numbers with their nouns, and what others wrote, held within lines of its own.

Promises that others' words never begin a row of a screen where a line of ours could begin, however they are chosen: they are
one line, without what has no shape, and are carried over with an indent. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len, chop_cells, set_cell_size

_BLANK: Final = frozenset("\u2800\u3164\u115f\u1160\uffa0\U0001d159")
"""Characters that count as letters or symbols and show nothing."""

_PLAIN: Final = str.maketrans("“”", '""')

_UNBROKEN: Final = re.compile(r"sha256:[0-9a-f]{64}[.,;:)]?")
"""What is compared or copied whole, though it may stand out over the edge."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    Args:
        number: 0 or more.
        noun: for one, such as "institution" or "entry".
        plural: for any other number; the noun with an s if "".

    Returns:
        Such as "1 institution", "5 entries".
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def one_line(text: str, most: int = 0) -> str:
    """Return others' text as one line: what has no shape is a space, and of several spaces one is left.

    Args:
        text: any.
        most: cells of a terminal that it may take, after which it is cut; 0 for any number.
    """
    shaped = (character if character.isprintable() and character not in _BLANK else " " for character in text)
    line = " ".join("".join(shaped).split())
    return line if not most or cell_len(line) <= most else set_cell_size(line, most - 1).rstrip() + "…"


def quoted(text: str) -> str:
    """Return others' text as one line in quotation marks, which stand nowhere in it."""
    return f"“{one_line(text).translate(_PLAIN)}”"


def wrapped(line: str, width: int, hang: int) -> Iterator[str]:
    """Yield the rows of a line.

    Args:
        line: with what indents it; of its other spaces all are kept where it is not carried over.
        width: cells of each row; words that are longer are broken, but for digests.
        hang: spaces before each row but the first, at most half of the width.
    """
    row, hung = "", " " * min(hang, width // 2)
    for gap, word in re.findall(r"( *)([^ ]+)", line):
        carried = bool(row.strip()) and cell_len(row) + len(gap) + cell_len(word) > width
        if carried:
            yield row
        *full, row = _broken(hung if carried else row + gap, word, width, hung)
        yield from full
    if row:
        yield row


def _broken(before: str, word: str, width: int, hung: str) -> list[str]:
    """Return the rows of a word after what stands before it in its row."""
    if cell_len(before) + cell_len(word) <= width or _UNBROKEN.fullmatch(word):
        return [before + word]
    first, *rest = chop_cells(word, max(2, width - cell_len(before)))
    return [before + first, *(hung + piece for piece in chop_cells("".join(rest), width - len(hung)))]
