"""HTML pages as a reader of markup sees them: tags that close in order, words, and pictures that can be decoded."""

from __future__ import annotations

from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOID = {"meta", "br", "img"}


class Outline(HTMLParser):
    """Checks that tags close in order, and keeps tags, attributes and words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All words of the page."""
        return " ".join(self.words)

    @property
    def images(self) -> list[dict[str, str | None]]:
        """Attributes of all pictures."""
        return [attributes for tag, attributes in self.tags if tag == "img"]


def outline(page: str) -> Outline:
    """Return the outline of a page, all of whose tags close."""
    parsed = Outline()
    parsed.feed(page)
    assert not parsed.open
    return parsed


def pictures(page: str) -> list[NDArray[np.uint8]]:
    """Return all pictures of a page, decoded: (H, W, 3)."""
    found = []
    for attributes in outline(page).images:
        kind, _, data = str(attributes["src"]).partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(BytesIO(b64decode(data))) as picture:
            found.append(np.asarray(picture.convert("RGB")))
    return found
