"""What the command line shows: progress as bars on a terminal and as log lines elsewhere, plans, ledgers, findings."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from vdb_participant.session.progress import Progress

LINE_SECONDS: Final = 5.0
"""Least time between two log lines of one stage."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Yield where progress is told: bars on a terminal, lines otherwise."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=out, transient=False) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


class _Lines:
    """Progress as log lines: the first and last step of a stage, and one every few seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._last = float("-inf")

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self._stage and done < total and now - self._last < LINE_SECONDS:
            return
        self._stage, self._last = stage, now
        sys.stderr.write(f"{stage} {done}/{total}\n" if total else f"{stage}\n")
        sys.stderr.flush()
