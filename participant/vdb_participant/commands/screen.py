"""The console: plans, ledgers, findings and tables are printed through it. Loads nothing that a bare installation lacks."""

from __future__ import annotations

from rich.console import Console

from vdb_shared.screen import screen


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is."""
    return screen(stderr=stderr, soft_wrap=True)
