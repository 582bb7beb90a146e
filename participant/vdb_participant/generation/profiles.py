"""Profiles: which speed and memory switches are on, as data, and what to switch on when memory runs out.

Promises that a profile or a step-down that changes pixels is of class "accelerated", that no step-down leaves the class of
the profile, and that a switch which a machine or a pipeline lacks is named and refused. Leaves when to step down to
`engine.py`, and loading weights in a profile's precision to `pipelines.py`.

Source: design/generation.md, "Profiles"; names as in diffusers 0.42.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from diffusers import FirstBlockCacheConfig

from vdb_participant.device import device_memory
from vdb_participant.generation.instruments import denoisers_of
from vdb_shared.errors import UsageError
from vdb_shared.registry.classes import pipeline_classes
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Grade, Spec

SLOWEST_FIRST: Final = ("low-memory", "exact", "balanced", "fast")
"""Profiles by speed, for `auto`."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One thing to switch on.

    Attributes:
        exact: whether every byte of a clip stays as it is.
        cuda: whether it needs a GPU.
        method: of the pipeline, or of the part of it, that a pipeline must have.
        part: "pipeline", "vae" or "denoisers": whose method it is.
        turn_on: given the pipeline and the device.
        fact: of the pipeline's class in the registry that it needs, or "".
    """

    exact: bool
    cuda: bool
    part: Literal["pipeline", "vae", "denoisers"]
    method: str
    turn_on: Callable[[Any, str], None]
    fact: Literal["", "cacheable"] = ""

    def lacking(self, pipeline: Any, device: str) -> str:
        """Return what a pipeline or a machine lacks for it, or ""."""
        if self.cuda and not device.startswith("cuda"):
            return f"needs a CUDA device, and this is {device}"
        known = pipeline_classes().get(type(pipeline).__name__)
        if self.fact and not (known is not None and getattr(known, self.fact)):
            return f"needs a class that is {self.fact}, and {type(pipeline).__name__} is not"
        missing = [type(part).__name__ for part in _parts(pipeline, self.part) if not hasattr(part, self.method)]
        return f"{missing[0]} has no {self.method}" if missing else ""


def _parts(pipeline: Any, part: str) -> Iterable[Any]:
    match part:
        case "vae":
            return [pipeline.vae]
        case "denoisers":
            return denoisers_of(pipeline).values()
        case _:
            return [pipeline]


def _each_denoiser(turn_on: Callable[[Any], object]) -> Callable[[Any, str], None]:
    def turn_all_on(pipeline: Any, _device: str) -> None:
        for module in denoisers_of(pipeline).values():
            turn_on(module)

    return turn_all_on


def _offload_groups(pipeline: Any, device: str) -> None:
    pipeline.enable_group_offload(
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="leaf_level",
        use_stream=True,
    )


SWITCHES: Final[Mapping[str, Switch]] = {
    "vae-slicing": Switch(True, False, "vae", "enable_slicing", lambda pipeline, _: pipeline.vae.enable_slicing()),
    "vae-tiling": Switch(False, False, "vae", "enable_tiling", lambda pipeline, _: pipeline.vae.enable_tiling()),
    "model-offload": Switch(
        True,
        True,
        "pipeline",
        "enable_model_cpu_offload",
        lambda pipeline, device: pipeline.enable_model_cpu_offload(device=device),
    ),
    "group-offload": Switch(True, True, "pipeline", "enable_group_offload", _offload_groups),
    "compiled-blocks": Switch(
        False,
        False,
        "denoisers",
        "compile_repeated_blocks",
        _each_denoiser(lambda module: module.compile_repeated_blocks(fullgraph=True)),
    ),
    "cudnn-attention": Switch(
        False,
        True,
        "denoisers",
        "set_attention_backend",
        _each_denoiser(lambda module: module.set_attention_backend("_native_cudnn")),
    ),
    "first-block-cache": Switch(
        False,
        False,
        "denoisers",
        "enable_cache",
        _each_denoiser(lambda module: module.enable_cache(FirstBlockCacheConfig(threshold=0.2))),
        fact="cacheable",
    ),
    "float8-storage": Switch(
        False,
        False,
        "denoisers",
        "enable_layerwise_casting",
        _each_denoiser(
            lambda module: module.enable_layerwise_casting(
                storage_dtype=torch.float8_e4m3fn, compute_dtype=module.dtype
            )
        ),
    ),
}
"""All switches by name."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of switches.

    Attributes:
        grade: class of its clips.
        dtype: precision in which weights are loaded, but for parts that the registry pins to float32.
        switches: on, in this order; a pipeline or machine that lacks one cannot have the profile.
        where_possible: on where the pipeline has it; which ones were is in every clip's record.
        ladder: what to switch on, one after the other, when memory runs out.
    """

    grade: Grade
    dtype: torch.dtype
    switches: tuple[str, ...]
    where_possible: tuple[str, ...]
    ladder: tuple[str, ...]


PROFILES: Final[Mapping[str, Profile]] = {
    "exact": Profile("exact", torch.float32, (), (), ("vae-slicing", "model-offload", "group-offload")),
    "balanced": Profile(
        "accelerated",
        torch.bfloat16,
        ("compiled-blocks",),
        ("cudnn-attention", "vae-tiling"),
        ("vae-slicing", "vae-tiling", "model-offload"),
    ),
    "fast": Profile(
        "accelerated",
        torch.bfloat16,
        (),
        ("first-block-cache", "cudnn-attention", "float8-storage"),
        ("vae-slicing", "vae-tiling", "model-offload"),
    ),
    "low-memory": Profile(
        "accelerated", torch.bfloat16, ("group-offload",), ("vae-slicing", "vae-tiling", "float8-storage"), ()
    ),
}
"""All profiles by name. `auto` is none: see `choose`."""


def profile(name: str) -> Profile:
    """Return a profile.

    Raises:
        UsageError: none of this name.
    """
    if name not in PROFILES:
        raise UsageError(f"expected a profile among {', '.join(PROFILES)}, or auto, found {name!r}")
    return PROFILES[name]


def apply(name: str, pipeline: Any, device: str) -> tuple[str, ...]:
    """Bring a loaded pipeline to a device with a profile; return the names of the switches that are on.

    Raises:
        UsageError: the machine or the pipeline lacks what the profile needs.
    """
    chosen = profile(name)
    wanted = [item for item in chosen.where_possible if not SWITCHES[item].lacking(pipeline, device)]
    for item in chosen.switches:
        if lacking := SWITCHES[item].lacking(pipeline, device):
            raise UsageError(f"profile {name}: {item} {lacking}; take another profile")
    switches = (*chosen.switches, *wanted)
    if not any(item.endswith("-offload") for item in switches):
        pipeline.to(device)
    for item in (*wanted, *chosen.switches):  # offloading last: it wraps what is there
        SWITCHES[item].turn_on(pipeline, device)
    return tuple(sorted(switches))


def next_step_down(name: str, on: Iterable[str], pipeline: Any, device: str) -> str | None:
    """Return the next switch to turn on when memory runs out, or None when there is none in the profile's class.

    Args:
        name: of the profile.
        on: switches that are on.
        pipeline: under the profile.
        device: where it computes.
    """
    chosen = profile(name)
    for item in chosen.ladder:
        allowed = chosen.grade == "accelerated" or SWITCHES[item].exact
        if item not in set(on) and allowed and not SWITCHES[item].lacking(pipeline, device):
            return item
    return None


def choose(grade: Grade, device: str, memory: int | None, peaks: Mapping[str, int]) -> str:
    """Return the fastest profile of a class that fits; what the profile `auto` means on a machine.

    Args:
        grade: class that the spec declares.
        device: where clips are made.
        memory: bytes of the device, or None where it is not known; then everything is taken to fit.
        peaks: peak bytes of the model by profile, from its registry row; a profile that is missing is taken to fit.

    Raises:
        UsageError: none fits.
    """
    fitting = [
        name
        for name in SLOWEST_FIRST
        if PROFILES[name].grade == grade
        and (device.startswith("cuda") or not any(SWITCHES[item].cuda for item in PROFILES[name].switches))
        and (memory is None or peaks.get(name, 0) <= memory)
    ]
    if not fitting:
        raise UsageError(
            f"no profile of class {grade} fits this device ({device}, {memory} bytes); ask for another class"
        )
    return fitting[-1]


def profiles_of(
    spec: Spec, registry: Registry, devices: Sequence[str], sizes: Sequence[int] | None = None
) -> Mapping[str, str]:
    """Return the name of each model's profile by its id: the spec's, or what "auto" means on all of these devices.

    Args:
        spec: the spec.
        registry: rows of models.
        devices: where clips are made.
        sizes: bytes of memory of GPUs on other machines, where known; by default the devices are of this one, which tells.

    Raises:
        UsageError: none of the spec's class fits, or a device lacks what the named one needs.
    """
    named, grade = spec.generation.profile, spec.generation.clip_class
    if named != "auto":
        lacking = [
            item for item in profile(named).switches if SWITCHES[item].cuda and not devices[0].startswith("cuda")
        ]
        if lacking:
            raise UsageError(
                f"profile {named}: {lacking[0]} needs a CUDA device, and this is {devices[0]}; see --device"
            )
        return {model.id: named for model in spec.models}
    memory = sizes if sizes is not None else [size for item in devices if (size := device_memory(item)) is not None]
    rows = {model.id: registry.get(model.id) for model in spec.models}
    return {
        name: choose(grade, devices[0], min(memory, default=None), row.peaks if row is not None else {})
        for name, row in rows.items()
    }


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or the one that caused it, says that memory ran out."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(cause):
            return True
        cause = cause.__cause__
    return False
