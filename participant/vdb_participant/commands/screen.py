"""The console: plans, ledgers, findings and tables are printed through it. Loads nothing that a bare installation lacks."""

from __future__ import annotations

from typing import Final

from rich.console import Console

from vdb_shared.screen import screen

TITLE_CELLS: Final = 60
"""Of a title that somebody else wrote: it stays within its row."""

_NARROWEST: Final = 40
_UNLIMITED: Final = 100_000


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is."""
    return screen(stderr=stderr, soft_wrap=True)


def row_cells(out: Console) -> int:
    """Return the cells of a row; whatever is no terminal has rows without end, so that programs find a sentence in one."""
    return max(out.width, _NARROWEST) if out.is_terminal else _UNLIMITED
