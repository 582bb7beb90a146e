"""Contact sheets: small pictures of many clips in one PNG, so that a person can look at a data set.

Promises that a small clip is enlarged by a whole factor, so that its pixels are seen as they are, and a large one is not; that
a sheet is written whole or not at all, readable by its owner alone, and never into the data directory. Leaves the small
pictures to `decoding/`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from vdb_participant.data.decoding.decoder import Glance
from vdb_participant.data.decoding.glances import HEIGHT, PICTURES, WIDTH
from vdb_shared.errors import UsageError

ROWS: Final = 20
"""Clips on a page: some 2300 pixels high, which a screen shows in two pieces; 4000 if all are small and enlarged."""

MOST_PAGES: Final = 50
"""A person who looks at a thousand clips has looked enough."""

SEEN: Final = 96
"""Pixels that the shorter side of an enlarged picture has at least, if there is room: a person sees more than dots."""

TALLEST: Final = WIDTH
"""Pixels that an enlarged picture may be high; it may be as wide as any other."""

_WORDS_WIDTH: Final = 300
_GAP: Final = 4
_BETWEEN: Final = 20
"""Between two rows."""
_HEAD: Final = 56
_MARGIN: Final = 16

_GROUND: Final = (250, 250, 248)
_BAND: Final = (240, 240, 237)
_CELL: Final = (222, 222, 218)
_INK: Final = (32, 32, 32)
_GREY: Final = (105, 105, 105)
_RED: Final = (176, 32, 32)
_PLATE: Final = (0, 0, 0, 150)
"""Behind a frame's number, so that it is read on any picture."""


@dataclass(frozen=True, slots=True)
class Row:
    """A clip on a sheet.

    Attributes:
        name: shown beside it.
        glance: what is shown, or None if nothing could be decoded.
        remark: why not, or what else is to be said; "" for nothing.
    """

    name: str
    glance: Glance | None = field(repr=False)
    remark: str = ""


def pages_for(clips: int) -> int:
    """Return how many pages so many clips get."""
    return min(MOST_PAGES, -(-clips // ROWS))


def page_paths(output: Path, data: Path, clips: int) -> list[Path]:
    """Return where the pages of a sheet are written: FILE.png, FILE-2.png and so on.

    Args:
        output: FILE.png.
        data: the data directory.
        clips: how many there are.

    Raises:
        UsageError: not a PNG file's name, inside the data directory, or in no folder.
    """
    if output.suffix.lower() != ".png":
        raise UsageError(f"{output}: a contact sheet is a PNG file; name it so")
    if output.resolve().is_relative_to(data.resolve()):
        raise UsageError(f"{output}: lies in the data directory, which is never written to; choose another place")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: expected a folder to write into, found none; make it first")
    more = (output.with_stem(f"{output.stem}-{number}") for number in range(2, pages_for(clips) + 1))
    return [output, *more]


def write_sheet(rows: Iterable[Row], paths: Sequence[Path], title: str) -> Iterator[Row]:
    """Write pages as their rows come, and yield every row, also those for which there is no page.

    Raises:
        UsageError: a page cannot be written.
    """
    coming = iter(rows)
    for number, path in enumerate(paths, start=1):
        page = []
        for row in islice(coming, ROWS):
            page.append(row)
            yield row
        head = title if len(paths) == 1 else f"{title}, page {number} of {len(paths)}"
        _write(path, _drawn(page, head, (number - 1) * ROWS))
    yield from coming


def _drawn(rows: Sequence[Row], title: str, before: int) -> Image.Image:
    width = 2 * _MARGIN + _WORDS_WIDTH + PICTURES * (WIDTH + _GAP)
    heights = [_height(row) for row in rows]
    page = Image.new("RGB", (width, _HEAD + sum(heights) + len(rows) * _BETWEEN + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(page, "RGBA")
    draw.text((_MARGIN, 16), _fitted(draw, title, width - 2 * _MARGIN, 20), _INK, _font(20))
    top = _HEAD
    for place, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if place % 2 == 0:
            draw.rectangle((0, top - _BETWEEN // 2, width, top + height + _BETWEEN // 2 - 1), _BAND)
        _draw_words(draw, row, top, before + place + 1)
        if row.glance is not None:
            _draw_pictures(page, draw, row.glance, (top, height))
        top += height + _BETWEEN
    return page


def enlargement(height: int, width: int) -> int:
    """Return by what a picture is enlarged: the least factor that gives its shorter side `SEEN` pixels, if there is room."""
    wanted = -(-SEEN // min(height, width))
    return max(1, min(wanted, TALLEST // height, WIDTH // width))


def _height(row: Row) -> int:
    """Return how high a row is: its pictures, and at least as high as pictures of large clips."""
    if row.glance is None:
        return HEIGHT
    height, width = row.glance.pictures.shape[1:3]
    shown: int = height * enlargement(height, width)
    return max(HEIGHT, shown)


def _draw_words(draw: ImageDraw.ImageDraw, row: Row, top: int, number: int) -> None:
    room = _WORDS_WIDTH - 12
    draw.text((_MARGIN, top), _fitted(draw, f"{number}  {row.name}", room, 16), _INK, _font(16))
    for line, words in enumerate(_facts(row.glance)):
        draw.text((_MARGIN, top + 24 + 19 * line), words, _GREY, _font(14))
    if row.remark:
        draw.text((_MARGIN, top + 24 + 19 * 3), _fitted(draw, row.remark, room, 13), _RED, _font(13))


def _facts(glance: Glance | None) -> tuple[str, ...]:
    if glance is None:
        return ()
    rate = float(glance.fps)
    length = f"{glance.frames / rate:.1f} s at {rate:.4g} frames/s" if rate else "states no frame rate"
    return f"{glance.frames} frames", f"{glance.width} x {glance.height} pixels", length


def _draw_pictures(page: Image.Image, draw: ImageDraw.ImageDraw, glance: Glance, within: tuple[int, int]) -> None:
    """Draw a row's pictures, each in the middle of its cell; `within` is the row's upper edge and its height."""
    top, cell = within
    times = enlargement(*glance.pictures.shape[1:3])
    for place, (number, picture) in enumerate(zip(glance.numbers, glance.pictures, strict=True)):
        left = _MARGIN + _WORDS_WIDTH + place * (WIDTH + _GAP)
        draw.rectangle((left, top, left + WIDTH - 1, top + cell - 1), _CELL)
        shown = picture.repeat(times, axis=0).repeat(times, axis=1)
        height, width = shown.shape[:2]
        page.paste(Image.fromarray(shown), (left + (WIDTH - width) // 2, top + (cell - height) // 2))
        words = str(number)
        end = left + 8 + round(draw.textlength(words, _font(11)))
        draw.rectangle((left, top + cell - 16, end, top + cell - 1), _PLATE)
        draw.text((left + 4, top + cell - 15), words, (255, 255, 255), _font(11))


def _fitted(draw: ImageDraw.ImageDraw, words: str, room: int, size: int) -> str:
    """Return words on one line that is as long as there is room, without their middle if need be."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in words)
    cut = len(shown)
    fitted = shown
    while draw.textlength(fitted, _font(size)) > room and cut > 4:
        cut -= 1
        fitted = f"{shown[: cut // 2]}…{shown[len(shown) - (cut - cut // 2) :]}"
    return fitted


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write(path: Path, page: Image.Image) -> None:
    """Write a page beside its place and move it there."""
    try:
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".sheet-", suffix=".png")  # its owner's alone
        try:
            with os.fdopen(descriptor, "wb") as stream:
                page.save(stream, "PNG")
            Path(partial).replace(path)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error
