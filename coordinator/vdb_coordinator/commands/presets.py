"""Presets: commented specs to start from, and pinning the weights they name.

Promises that a copied preset differs from the shipped one in the digests of weights only. Leaves parsing to `spec.py`.

Source: protos/README.md §5.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

from vdb_shared.errors import UsageError
from vdb_shared.weights import UNPINNED, manifest_of

_SUFFIX: Final = ".toml"
_TABLE = re.compile(r"\s*\[")
_ID = re.compile(r'\s*id\s*=\s*"([^"]*)"')
_MANIFEST = re.compile(rf'\s*manifest\s*=\s*"{UNPINNED}"')
"""Presets write a table's id before its manifest."""


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in _folder().iterdir() if entry.name.endswith(_SUFFIX))


def read_preset(name: str) -> str:
    """Return the text of a preset.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in preset_names():
        raise UsageError(f"{name!r} is not a preset; choose one of {', '.join(preset_names())}")
    return _folder().joinpath(name + _SUFFIX).read_text(encoding="utf-8")


def pin_weights(text: str, models: Path) -> str:
    """Return a preset with the manifest digest of `models`/<id> wherever it says "unpinned".

    Raises:
        ModelError: a model or extractor has no directory there.
    """
    return _pin(text, lambda name: manifest_of(models / name)[1])


def _pin(text: str, digest_of: Callable[[str], str]) -> str:
    name, lines = "", []
    for line in text.splitlines(keepends=True):
        if _TABLE.match(line):
            name = ""
        elif found := _ID.match(line):
            name = found.group(1)
        lines.append(line.replace(UNPINNED, digest_of(name), 1) if name and _MANIFEST.match(line) else line)
    return "".join(lines)


def _folder() -> resources.abc.Traversable:
    return resources.files("vdb_coordinator").joinpath("presets")
