"""The coordinator's clock, told beside every answer, so that a site can see that its own is wrong.

Nothing in the protocol rests on it: it is for people.

Source: protos/README.md §11.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

KEY: Final = "vdb-clock"
"""Name of the trailing metadata of an answer; its value is the moment in milliseconds since 1970, UTC, as decimal digits."""

_LONGEST: Final = 15


def told(moment: datetime) -> tuple[tuple[str, str], ...]:
    """Return the metadata that tells a moment, UTC."""
    return ((KEY, str(int(moment.timestamp() * 1000))),)


def moment_in(metadata: Iterable[tuple[Any, ...]]) -> datetime | None:
    """Return the moment that metadata tell, UTC, or None if they tell none."""
    for item in metadata:
        key, value = item[0], item[1]
        if key == KEY and isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < _LONGEST:
            return datetime.fromtimestamp(int(value) / 1000, UTC)
    return None
