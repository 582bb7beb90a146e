"""Where in a TOML text a field stands, so that an error can name the line."""

from __future__ import annotations

import re


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
