"""Remote code: what a folder of weights could have a library fetch and run, and loading as if there were no hub.

diffusers and transformers fetch modules of Python that JSON files of a folder name, by `auto_map` above all; a folder without
a line of code runs code that way, after a question on standard input that any "y" there answers.

Promises that a folder whose JSON files name code is refused by what they say, whoever would read them; and that while a
library loads, the hub's library refuses every request itself and standard input is at its end. Leaves files of code and
pickles to `models.py`, and which classes an index may name to `generation/loading.py`.

Source: transformers `dynamic_module_utils`, `integrations/hub_kernels`; diffusers `pipelines/pipeline_loading_utils`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from huggingface_hub import constants

from vdb_shared.errors import ModelError

_NAMING_CODE: Final = frozenset(
    ("auto_map", "custom_code", "custom_generate", "custom_pipeline", "custom_pipelines", "trust_remote_code")
)
"""Keys whose values name modules to fetch, or allow it."""

_NAMING_KERNELS: Final = ("attn_implementation", "experts_implementation")
"""Ends of keys that choose how a layer is computed: one of the library's own ways, or "owner/repository" of compiled code."""

_alone = threading.RLock()


def refuse_remote_code(directory: Path) -> None:
    """Refuse a folder of weights if one of its JSON files, at whatever depth, names code from elsewhere.

    Hidden files too, as for pickles. A number is no name: words of a vocabulary are keys like any other.

    Raises:
        ModelError: names the file, and what to take out of it; also of a file that cannot be read as JSON.
    """
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() == ".json" and path.is_file():
            _refuse(path)


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Let libraries load in the block with files that are here alone: no request to the hub, and no answer to a question.

    The hub's library looks at the constant before each request, so that it counts however late it is set. Constant and standard
    input belong to the process, so that blocks of several threads wait for each other.
    """
    with _alone, open(os.devnull, encoding="utf-8") as nothing:
        offline, standard_input = constants.HF_HUB_OFFLINE, sys.stdin
        constants.HF_HUB_OFFLINE, sys.stdin = True, nothing
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE, sys.stdin = offline, standard_input


def _refuse(path: Path) -> None:
    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, value in pairs:  # each, also of keys that stand twice: readers differ in which of them counts
            if _names_code(key, value):
                raise ModelError(
                    f"{path}: {key} names code from elsewhere, which is never loaded; take {key} out if the weights need no "
                    "code of their own (their digest changes), or ask the lead"
                )
        return dict(pairs)

    try:
        json.loads(path.read_bytes(), object_pairs_hook=check)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: is not JSON, so that nobody can say what it names; fetch it again or remove it"
        ) from error


def _names_code(key: str, value: Any) -> bool:
    if key in _NAMING_CODE:
        return bool(value) and (value is True or not isinstance(value, int | float))
    if key == "_class_name":
        return isinstance(value, list | dict)
    return key.endswith(_NAMING_KERNELS) and any("/" in text for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)
