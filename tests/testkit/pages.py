"""HTML pages as a reader of markup sees them: tags that close in order, words, and pictures that can be decoded."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOID = {"meta", "br", "img"}


@dataclass(frozen=True)
class Element:
    """A tag that is open, with its attributes."""

    tag: str
    attributes: dict[str, str | None]

    @property
    def classes(self) -> set[str]:
        """Its classes."""
        return set((self.attributes.get("class") or "").split())


@dataclass(frozen=True)
class Words:
    """A piece of text and the elements that it stands in, outermost first."""

    text: str
    within: tuple[Element, ...]


class Outline(HTMLParser):
    """Checks that tags close in order, and keeps tags, attributes and words.

    Words that are only kept on one line (class "whole") are part of the sentence around them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open: list[Element] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parents: list[Element | None] = []
        self.words: list[str] = []
        self.pieces: list[Words] = []
        self._goes_on = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.tags.append((tag, element.attributes))
        self.parents.append(self.open[-1] if self.open else None)
        self._goes_on = self._goes_on and "whole" in element.classes
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.parents.append(self.open[-1] if self.open else None)

    def handle_endtag(self, tag: str) -> None:
        element = self.open.pop()
        assert element.tag == tag
        self._goes_on = self._goes_on and "whole" in element.classes

    def handle_data(self, data: str) -> None:
        self.pieces.append(Words(data, tuple(self.open)))
        if self._goes_on:
            self.words[-1] += data
        else:
            self.words.append(data)
        self._goes_on = True

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


PATH = re.compile(r"(?<![\w./])(?:~|[A-Za-z]:)?[/\\](?:[\w.@+-]+[/\\])+[\w.@+-]*|file://")
"""A file's place on a machine."""


def check_fits_screens(page: str) -> None:
    """Check that nothing makes a page wider than a narrow screen, and that what scrolls can be found and reached.

    Every table stands in a container of its own, which scrolls, has a name and can be focused; what a row is about and
    what has class "whole" is kept on one line by the style that the page has.
    """
    parsed = outline(page)
    regions = []
    for (tag, attributes), parent in zip(parsed.tags, parsed.parents, strict=True):
        if tag != "table":
            continue
        assert parent is not None
        assert "scroll" in parent.classes, f"a table in <{parent.tag} {parent.attributes}>"
        assert (parent.attributes["role"], parent.attributes["tabindex"]) == ("region", "0")
        assert not attributes
        regions.append(parent.attributes["aria-label"])
    assert all(regions)
    captions = [parent for (tag, _), parent in zip(parsed.tags, parsed.parents, strict=True) if tag == "caption"]
    assert len(captions) == len(regions)
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in parsed.tags if tag == "th")


def check_speaks(page: str) -> None:
    """Check that a page says its language, its width, and in words what its pictures show."""
    tags = outline(page).tags
    assert ("html", {"lang": "en"}) in tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags
    assert sum(tag == "h1" for tag, _ in tags) == sum(tag == "main" for tag, _ in tags) == 1
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    for tag, attributes in tags:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or (
                attributes.get("role") == "img" and attributes.get("aria-label")
            )


def check_may_be_passed_on(page: str) -> None:
    """Check that a page loads nothing, runs nothing, and says of no file where on this machine it lies."""
    parsed = outline(page)
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "href" not in attributes
        assert str(attributes.get("src", "data:")).startswith("data:")
    assert not re.search(r"url\(|@import", page)
    (policy,) = (item["content"] for tag, item in parsed.tags if tag == "meta" and "http-equiv" in item)
    assert str(policy).startswith("default-src 'none';")
    said = [piece.text for piece in parsed.pieces if not any(element.tag == "style" for element in piece.within)]
    said += [str(value) for _, item in parsed.tags for name, value in item.items() if name in {"alt", "aria-label"}]
    for words in said:
        found = PATH.search(words)
        assert found is None, f"{found and found[0]} in {words!r}"


def broken_names(page: str, names: set[str]) -> list[str]:
    """Return words in which one of the names stands where a line may break in it.

    Headings, code and the page's own title may break; everything else says names whole.
    """
    free = {"title", "h1", "h2", "code", "style"}
    return [
        piece.text
        for piece in outline(page).pieces
        if any(name in piece.text for name in names)
        and not any(element.tag in free or {"name", "whole"} & element.classes for element in piece.within)
    ]


def pictures(page: str) -> list[NDArray[np.uint8]]:
    """Return all pictures of a page, decoded: (H, W, 3)."""
    found = []
    for attributes in outline(page).images:
        kind, _, data = str(attributes["src"]).partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(BytesIO(b64decode(data))) as picture:
            found.append(np.asarray(picture.convert("RGB")))
    return found
