"""The rows of a plan: no wider than a usual terminal, so that none of its lines is laid out by anybody else.

Promises that what is carried over is indented further than any line of ours begins. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from vdb_shared.metrics.statistic import Layout
from vdb_shared.spec import Spec
from vdb_shared.wording import wrapped

WIDTH: Final = 80
"""Cells of a row; only what cannot be broken, such as a digest, may be wider."""

_LABEL: Final = re.compile(r" {,4}\S{1,24} {2,10}(?=\S)")
"""What a line begins with that has a column of its own."""


def rows(lines: Iterable[str]) -> Iterator[str]:
    """Yield the rows of lines, each of which begins with what indents it."""
    for line in lines:
        label = _LABEL.match(line)
        yield from wrapped(line, WIDTH, label.end() if label else len(line) - len(line.lstrip()) + 2)


def block_lines(spec: Spec, layout: Layout) -> Iterator[str]:
    """Yield the blocks of a layout in its order; those that all models have alike are one line."""
    everyone = [model.id for model in spec.models]
    alike: dict[tuple[str, str, int, bool], list[str]] = {}
    for block in layout.blocks:
        side, whose, rest = block.name.split("/", 2)
        alike.setdefault((side, rest, block.dims, block.private), []).append(whose)
    for (side, rest, dims, private), found in alike.items():
        each = found == everyone and len(found) > 1
        for whose in ["*"] if each else found:
            kind = "private, noised" if private else "public"
            yield f"  {dims:>8,} {'each' if each else '':<4} {kind:<15} {side}/{whose}/{rest}"
