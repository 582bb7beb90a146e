"""transformers models and tokenizers from a verified directory.

Promises that nothing is fetched and nothing asked, that no code of a directory runs, that weights are safetensors in float32,
and that every weight which a model needs is there: what is missing is an error, not a random number.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging

from vdb_participant.remote_code import nothing_fetched
from vdb_shared.errors import ModelError

Loaded = TypeVar("Loaded")

_LOCAL: Final = {"local_files_only": True, "trust_remote_code": False}
_FAILURES: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
"""That libraries raise over files which they cannot read."""

_REASON_LENGTH: Final = 300
"""Characters of a library's reason that are shown; some print whole files."""


def load_model(name: str, directory: Path, device: str, **options: Any) -> Any:
    """Return a model in evaluation mode on a device.

    Args:
        name: of the transformers class.
        directory: with config.json and weights.
        device: a torch device.
        options: for the class's constructor.

    Raises:
        ModelError: it cannot be loaded, or weights are missing.
    """
    if not (directory / "config.json").is_file():
        raise ModelError(f"{directory}: expected config.json, found none; fetch the agreed weights into it")
    logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # a table of what is missing; said below in one line
    try:
        model, found = attempt(
            directory,
            lambda: getattr(import_module("transformers"), name).from_pretrained(
                directory,
                **_LOCAL,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are listed then, and refused below in words of ours
                **options,
            ),
        )
    finally:
        logging.set_verbosity(before)
    missing = sorted([*found["missing_keys"], *(entry[0] for entry in found["mismatched_keys"])])
    if missing:
        raise ModelError(
            f"{directory}: has no {missing[0]} of the right shape, which a {name} needs ({len(missing)} weights "
            "are missing); check the spec's architecture"
        )
    return model.eval().to(device)


def load_tokenizer(directory: Path) -> Any:
    """Return the tokenizer of a directory.

    Raises:
        ModelError: it cannot be loaded.
    """
    kind = import_module("transformers").AutoTokenizer
    return attempt(directory, lambda: kind.from_pretrained(directory, **_LOCAL))


def attempt(directory: Path, load: Callable[[], Loaded]) -> Loaded:
    """Return what a library loads.

    Raises:
        ModelError: it cannot; the library's reason in one line.
    """
    try:
        with nothing_fetched():
            return load()
    except (*_FAILURES, SafetensorError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__
        raise ModelError(f"{directory}: extractor cannot be loaded: {reason}") from error
