"""The terminal: what others wrote is shown there, and never obeyed.

Promises that no word of a bundle, a log, a server or a file name moves the cursor, changes colours, or turns the direction of
reading: characters that a terminal acts on, or that have no shape, appear as U+FFFD. Leaves what is said to the commands.
"""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.segment import Segment

from vdb_shared.commandline import shown


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
