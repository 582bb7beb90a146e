"""Numbers with their nouns, as people write them.

Pure.
"""

from __future__ import annotations


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
