"""The console: plans, ledgers, findings and tables are printed through it. Loads nothing that a bare installation lacks."""

from __future__ import annotations

from typing import Final

from rich.console import Console

from vdb_shared.screen import screen

TITLE_CELLS: Final = 60
"""Of a title that somebody else wrote: it stays within its row."""

NARROWEST: Final = 40
"""Cells of a row, on whatever screen."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is."""
    return screen(stderr=stderr, soft_wrap=True)
