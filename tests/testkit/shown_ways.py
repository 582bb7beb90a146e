"""Ways in which readers are shown something, as text that people can compare: a file, a terminal, a page, JSON."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Final

from rich.console import Console


def plain(show: Callable[[Console], object], *, width: int = 120) -> str:
    """Return what is printed into a file."""
    out = io.StringIO()
    show(Console(file=out, width=width, highlight=False, markup=False, emoji=False))
    return out.getvalue()


NARROW: Final = 24
"""Columns of a file into which too little fits: sentences must not break there, and tables must."""


def coloured(show: Callable[[Console], object], *, width: int = 100) -> str:
    """Return what is printed on a terminal, with the signs that colour it written as `^`."""
    out = io.StringIO()
    terminal = Console(
        file=out,
        width=width,
        force_terminal=True,
        color_system="standard",
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        no_color=False,
        _environ={},
    )
    show(terminal)
    return out.getvalue().replace("\x1b", "^")


def unstyled(page: str) -> str:
    """Return a page without its style sheet, which one of the pages keeps."""
    return re.sub("<style>.*</style>", "<style></style>", page, flags=re.DOTALL)


def pretty(value: object) -> str:
    """Return JSON that people can compare."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
