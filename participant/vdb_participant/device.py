"""Where tensors are computed, and with what arithmetic.

Promises that generation and feature extraction run in plain float32 (no TF32, no autotuned kernels) on every device.
Leaves the number of threads to the caller.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from vdb_shared.errors import UsageError

ELSEWHERE: Final = "elsewhere"
"""Stands for the device of a model that runs outside of this process; nobody here can measure on it, or knows it unless its
name follows after ": "."""


def resolve_device(wanted: str = "auto") -> str:
    """Return the torch device for "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: no such device here.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"expected a device such as cpu or cuda:0, found {wanted!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"expected a device such as cpu or cuda:0, found {wanted!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {wanted}: this machine shows {torch.cuda.device_count()} CUDA devices; see doctor")
    return str(device)


def device_name(device: str) -> str:
    """Return the model of the device, under which efficiency figures are grouped."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    if device.startswith(ELSEWHERE):
        return device.removeprefix(ELSEWHERE).removeprefix(": ") or "unknown, of an external model"
    return f"CPU {platform.machine()}"


def device_memory(device: str) -> int | None:
    """Return the bytes of a GPU's memory; None for the CPU, which swaps instead of refusing."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device.startswith("cuda") else None


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Let torch's global generators follow from a seed inside the block; they are as before when it ends.

    Some pipelines hand their scheduler no generator, so that its noise comes from the global one.
    """
    on_gpu = device.startswith("cuda")
    with torch.random.fork_rng(devices=[torch.device(device)] if on_gpu else []):
        # torch.manual_seed would also queue calls, with the stack of each, for devices that are not there
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def random_state(device: str) -> list[torch.Tensor]:
    """Return the state of torch's global generators: the CPU's, and the device's."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.startswith("cuda") else [])]


def set_random_state(device: str, state: list[torch.Tensor]) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state[0])
    if device.startswith("cuda"):
        torch.cuda.set_rng_state(state[1], device)


def synchronize(device: str) -> None:
    """Wait until the device has done all its work, so that a clock tells the truth."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def release_memory(device: str) -> None:
    """Give memory of models that are no longer used back to the device."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Run inference in plain float32: no gradients, no TF32 in convolutions, deterministic and not autotuned kernels."""
    with torch.inference_mode(), exact_kernels():
        yield


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Choose deterministic kernels without TF32.

    The choice is the process's, not the thread's: whoever computes on several threads holds it around all of them, so
    that no thread puts back another choice while another computes.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
