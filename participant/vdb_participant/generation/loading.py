"""Loading a diffusers pipeline from a verified directory, as its class and row say.

Promises safetensors only, the class the spec names with components that the libraries themselves define, nothing fetched and
nothing asked while it loads, and the precision that was asked for, or a ModelError of one line.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import diffusers
import torch
import transformers
from diffusers.utils import logging
from transformers.utils import logging as text_logging

from vdb_participant.models import Weights
from vdb_participant.remote_code import nothing_fetched
from vdb_shared.errors import ModelError
from vdb_shared.registry.classes import PipelineClass, pipeline_classes
from vdb_shared.registry.rows import Row

_FAULTS: Final = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError)
"""What libraries raise when a directory cannot be loaded."""


def load_pipeline(weights: Weights, name: str, row: Row | None, precisions: Mapping[str, str]) -> Any:
    """Return the pipeline of verified weights, on the CPU.

    Args:
        weights: directory, and the LoRA over it if any.
        name: class of the registry.
        row: names a LoRA's strength and another scheduler, if any.
        precisions: of components by name, "default" for the others; float32 where it says nothing.

    Raises:
        ModelError: another class, a missing package, or not loadable.
    """
    directory, known = weights.directory, pipeline_classes()[name]
    _check_packages(name, known)
    _check_class(directory, name, known)
    logging.disable_progress_bar()
    text_logging.disable_progress_bar()  # of text encoders, which the other library loads
    wanted = {
        part: getattr(torch, precision) for part, precision in ({"default": "float32"} | dict(precisions)).items()
    }
    try:
        guardrail = _guardrail(name, known)  # its own package may have to fetch what the licence demands
        with nothing_fetched():
            pipeline = getattr(diffusers, name).from_pretrained(
                directory,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=wanted if len(wanted) > 1 else wanted["default"],
                **guardrail,
            )
            if weights.lora is not None:
                _check_package(name, "peft")
                _lay_over(pipeline, weights.lora, row)
        if row is not None and row.scheduler is not None:
            changed = getattr(diffusers, row.scheduler.name)
            pipeline.scheduler = changed.from_config(pipeline.scheduler.config, **row.scheduler.settings)
    except _FAULTS as error:
        raise ModelError(f"{directory}: {name} cannot be loaded: {first_line(error)}") from error
    if known.needs is not None and attrgetter(known.needs.setting)(pipeline) == known.needs.value:
        _check_package(name, known.needs.package)
    _check_precision(directory, pipeline, wanted, known)
    pipeline.set_progress_bar_config(disable=True)
    if known.tiled:
        pipeline.vae.enable_tiling()
    return pipeline


def _lay_over(pipeline: Any, lora: Path, row: Row | None) -> None:
    """Load a LoRA and merge it into the weights, so that a step costs what it costs without."""
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name, local_files_only=True, use_safetensors=True)
    if not pipeline.get_list_adapters():
        raise ValueError(f"{lora.name} holds no LoRA for its components")
    scale = 1.0 if row is None or row.scale is None else row.scale
    pipeline.fuse_lora(lora_scale=scale)
    pipeline.unload_lora_weights()


def _guardrail(name: str, known: PipelineClass) -> dict[str, Any]:
    """Return the checker that a class's licence demands, as an argument of loading."""
    if not known.guardrail:
        return {}
    module, _, checker = known.guardrail.partition(":")
    try:
        return {"safety_checker": getattr(importlib.import_module(module), checker)()}
    except ImportError as error:
        raise ModelError(f"{name}: its licence demands the checker of {module}; install {module}") from error


def _check_packages(name: str, known: PipelineClass) -> None:
    for package in known.packages:
        _check_package(name, package)


def _check_package(name: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ModelError(f"{name}: needs {package}; install it with: pip install {package}")


def _check_class(directory: Path, expected: str, known: PipelineClass) -> None:
    index = directory / "model_index.json"
    try:
        said = json.loads(index.read_text(encoding="utf-8"))
        found = said["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index}: expected the index of a diffusers pipeline: {first_line(error)}") from error
    if found != expected and found not in known.loads_from:
        raise ModelError(f"{index}: expected pipeline {expected} as in the spec, found {found!r}")
    for part, component in said.items():
        match component:
            case [str(library), str(kind)]:
                _check_component(index, part, library, kind)


def _check_component(index: Path, part: str, library: str, kind: str) -> None:
    """Refuse a component of a class that is not the libraries' own: another module's is code that nobody agreed on."""
    modules = {"diffusers": diffusers, "transformers": transformers}
    try:
        module = modules.get(library) or getattr(diffusers.pipelines, library, None)  # the last as in "ltx2"
        own = isinstance(module, ModuleType) and _is_own(module.__name__)
        found = getattr(module, kind, None) if own else None
    except _FAULTS as error:  # these libraries import what they are asked for
        raise ModelError(f"{index}: {part}: {kind} of {library} cannot be loaded: {first_line(error)}") from error
    if not own or (found is not None and not (isinstance(found, type) and _is_own(found.__module__))):
        raise ModelError(
            f"{index}: {part} is to be a {kind} of {library}; only classes of diffusers and transformers themselves are "
            "loaded, ask the lead for weights that need no others"
        )


def _is_own(module: str) -> bool:
    """Return whether a module of this name is one of the two libraries': they hold names of what they merely import, too."""
    return module.split(".", maxsplit=1)[0] in ("diffusers", "transformers")


def _check_precision(directory: Path, pipeline: Any, wanted: Mapping[str, torch.dtype], known: PipelineClass) -> None:
    """Refuse a library that kept another precision: clips would not be the other sites' clips."""
    for name, component in pipeline.components.items():
        if not isinstance(component, torch.nn.Module) or (known.guardrail and name == "safety_checker"):
            continue
        expected = wanted.get(name, wanted["default"])
        found = {weight.dtype for weight in component.parameters() if weight.is_floating_point()}
        if found - {expected, torch.float32}:
            raise ModelError(
                f"{directory / name}: expected to load in {_short(expected)}, found {_short(sorted(found, key=str)[0])}; "
                "install the pinned diffusers"
            )


def _short(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def first_line(error: Exception) -> str:
    """Return the first line of an error's words, cut to a length that fits a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
