"""One line of prompts.jsonl, parsed strictly. Loads no video library.

Promises that a line is a prompt or is refused with its place and reason.
"""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from vdb_shared.errors import DatasetError
from vdb_shared.fields import Name, Text
from vdb_shared.schema_words import first_field

MAX_LINE_BYTES: Final = 64 * 1024
"""A prompt has at most 2000 characters; a longer line is not a prompt."""

MAX_PROMPTS_BYTES: Final = 256 * 2**20


class PromptLineFile(BaseModel):
    """One line of prompts.jsonl."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    id: Name
    prompt: Text
    clip: str | None = None


def parse_line(place: str, raw: bytes) -> PromptLineFile:
    """Return what a line says.

    Args:
        place: of the line, for messages.
        raw: its bytes.

    Raises:
        DatasetError: the line is no prompt; begins with its place.
    """
    if len(raw) > MAX_LINE_BYTES:
        raise DatasetError(f"{place}: has {len(raw)} bytes; a line has at most {MAX_LINE_BYTES}")
    try:
        return PromptLineFile.model_validate(json.loads(raw.decode("utf-8"), object_pairs_hook=_unique))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{place}: is not UTF-8 text: {error.reason}") from error
    except ValidationError as error:
        field, words = _misspelt(error) or first_field(error)
        raise DatasetError(
            f'{place}: {field or "line"}: {words}; expected {{"id": …, "prompt": …, "clip": …}}'
        ) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{place}: is not a JSON object: {error}") from error


def _misspelt(error: ValidationError) -> tuple[str, str] | None:
    """Return a field that is none but looks like one, and which; it explains that the other one is missing."""
    for mistake in error.errors(include_url=False, include_input=False):
        name = str(mistake["loc"][0]) if mistake["loc"] else ""
        if mistake["type"] == "extra_forbidden" and (near := get_close_matches(name, PromptLineFile.model_fields, n=1)):
            return name, f"is no field that is known here; did you mean {near[0]}?"
    return None


def clip_problem(folder: Path, clip: str) -> str:
    """Return why a clip's name is that of no file in a folder of clips, whether anything is in the file or not.

    Args:
        folder: DIR/clips.
        clip: as a line names it.
    """
    *parents, name = Path(clip).parts or ("",)
    if parents != [folder.name] or not name or name.startswith("."):
        return f'clip {clip!r} is no name of a file in {folder}; write it as "{folder.name}/name.mp4"'
    if not os.path.lexists(folder / name):
        return f"clip {clip!r} is not there; put the file into {folder}, or take the clip out of the line"
    return ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
