"""The terminal: what others wrote is shown there, and never obeyed.

Promises that no word of a bundle, a log, a server or a file name moves the cursor, changes colours, or turns the direction of
reading: characters that a terminal acts on, or that have no shape, appear as U+FFFD; and that a `Figures` table cuts no name
and no number, however narrow the screen. Leaves what is said to the commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from vdb_shared.commandline import shown

_UNLIMITED: Final = 10_000
"""Columns that no row needs."""


def screen(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Return a console that shows text as it is: no markup, no colours by what it looks like, nothing that a terminal obeys."""
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)
    console.push_render_hook(_Showing())
    return console


class _Showing(RenderHook):
    """Passes everything that is printed through `shown`; the console's own control codes are kept apart by rich."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is printed instead."""
        return [_Safe(renderable) for renderable in renderables]


class _Safe:
    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._renderable, options):
            yield Segment(text, style, control) if control else Segment(shown(text), style)


@dataclass(frozen=True, slots=True)
class Figures:
    """A table of names and numbers that are never cut.

    Where a screen is too narrow for it, headings take two lines; where that is not enough, each row becomes lines of
    its own, one for each heading.

    Attributes:
        headings: of the columns.
        rows: their cells.
        name: heading of the column that names a row; it comes first where a row becomes lines.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    name: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in (self._table(self.headings), self._table([_in_two_lines(item) for item in self.headings])):
            if Measurement.get(console, options.update(width=_UNLIMITED), table).maximum <= options.max_width:
                yield table
                return
        yield from self._lines()

    def _table(self, headings: Sequence[str]) -> Table:
        drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading, told in zip(self.headings, headings, strict=True):
            drawn.add_column(told, justify="left" if heading == self.name else "right", no_wrap=True)
        for row in self.rows:
            drawn.add_row(*map(Text, row))
        return drawn

    def _lines(self) -> RenderResult:
        named = self.headings.index(self.name)
        for row in self.rows:
            yield Text(row[named], style="bold", overflow="fold")
            for heading, cell in zip(self.headings, row, strict=True):
                if heading != self.name:
                    yield Text(f"  {heading}: {cell}", overflow="fold")


def _in_two_lines(heading: str) -> str:
    return "\n".join(heading.rsplit(" ", 1))
