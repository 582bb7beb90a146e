"""`doctor` on the machine: disk, libraries, torchvision, GPU with its driver and CUDA, the decoder.

Promises that judging a GPU is apart from looking at it, so that machines which are not here can be judged too.

Source: NVIDIA, CUDA Toolkit Release Notes, "CUDA Minor Version Compatibility" (least drivers).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vdb_participant.commands.findings import Finding, Status, first_line

GIB: Final = 2**30
LITTLE_DISK: Final = 2 * GIB
ENOUGH_DISK: Final = 20 * GIB
"""A benchmark keeps its clips losslessly; models and caches come on top."""

LIBRARIES: Final = ("torch", "diffusers", "transformers", "safetensors", "av", "opendp", "opacus", "grpc")
EXTRA: Final = "pip install 'video-diffusion-bench[participant]'"

LEAST_DRIVERS: Final[Mapping[int, int]] = {11: 450, 12: 525, 13: 580}
"""Branch of the NVIDIA driver that a major version of CUDA needs at least, on Linux."""

_DRIVER_FILE: Final = Path("/proc/driver/nvidia/version")
_DRIVER: Final = re.compile(r"\s(\d{3,}(?:\.\d+)+)\s")


@dataclass(frozen=True, slots=True)
class Gpus:
    """What is known of this machine's GPUs.

    Attributes:
        built: CUDA version that torch was built for; "" for a build without.
        driver: version of NVIDIA's driver; "" if none is loaded.
        names: of the GPUs that torch sees.
        failure: why the first that fails cannot compute; "" if all can.
        visible: what CUDA_VISIBLE_DEVICES says, or None.
    """

    built: str
    driver: str
    names: tuple[str, ...] = ()
    failure: str = ""
    visible: str | None = None


def examine_machine(folder: Path) -> Iterator[Finding]:
    """Yield what is found of the machine."""
    yield disk(folder)
    yield from (_library(name) for name in LIBRARIES)
    yield torchvision()
    yield _gpus()
    yield _decoder()


def disk(path: Path, need: int = 0) -> Finding:
    """Return whether there is room.

    Args:
        path: of the state folder; it need not be there yet.
        need: bytes that clips will take at most, if that is known.
    """
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    words = f"{free / GIB:.1f} GiB free for {path}"
    if need:
        words = f"{words}; this spec's clips take at most {need / GIB:.1f} GiB"
        if free < need + LITTLE_DISK:
            return Finding(Status.FAIL, "disk", f"{words} and 2 GiB should remain; free some, or choose another --dir")
        return Finding(Status.PASS, "disk", words)
    if free < LITTLE_DISK:
        return Finding(Status.FAIL, "disk", f"{words}; free some, or choose another --dir")
    if free < ENOUGH_DISK:
        return Finding(Status.WARN, "disk", f"{words}; large benchmarks need more than {ENOUGH_DISK // GIB} GiB")
    return Finding(Status.PASS, "disk", words)


def torchvision() -> Finding:
    """Return whether torchvision does harm: one that does not fit torch breaks every import of diffusers; none is best."""
    if importlib.util.find_spec("torchvision") is None:
        return Finding(Status.PASS, "torchvision", "not installed, not needed")
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        words = f"present but broken ({first_line(error)}), which breaks diffusers; pip uninstall torchvision"
        return Finding(Status.FAIL, "torchvision", words)
    return Finding(Status.PASS, "torchvision", "installed and works, not needed")


def judge(gpus: Gpus) -> Finding:
    """Return what is wrong with GPUs, driver and CUDA build, and the fix."""
    if gpus.names:
        return _judge_seen(gpus)
    if not gpus.driver:
        words = (
            "no NVIDIA driver is loaded: the CPU is enough for tiny models only; if a GPU is here, install its driver"
        )
        return Finding(Status.WARN, "GPU", words)
    return Finding(Status.FAIL, "GPU", _why_unseen(gpus))


def _judge_seen(gpus: Gpus) -> Finding:
    names = ", ".join(gpus.names)
    driver = f"driver {gpus.driver}" if gpus.driver else "driver not known"
    known = f"({driver}, torch built for CUDA {gpus.built})"
    if gpus.failure:
        words = f"{names}: torch cannot compute on it ({gpus.failure}); install a build of torch made for it {known}"
        return Finding(Status.FAIL, "GPU", words)
    return Finding(Status.PASS, "GPU", f"{names} {known}")


def _why_unseen(gpus: Gpus) -> str:
    """Return why torch sees no GPU although a driver is loaded."""
    driver = f"driver {gpus.driver}"
    if not gpus.built:
        return f"{driver} is loaded, but this torch is built for the CPU alone; install its CUDA build"
    least = LEAST_DRIVERS.get(int(gpus.built.partition(".")[0]), 0)
    if int(gpus.driver.partition(".")[0]) < least:
        words = f"{driver} is too old for CUDA {gpus.built}, for which torch is built"
        return f"{words}; install driver {least} or newer, or an older torch"
    if gpus.visible is not None:
        words = f"torch sees no GPU, and CUDA_VISIBLE_DEVICES is {gpus.visible!r}"
        return f"{words}; unset it, or name a GPU of this machine"
    words = f"{driver} and torch for CUDA {gpus.built} are there, but no GPU can be used"
    return f"{words}; look at `nvidia-smi` and at who may open /dev/nvidia*"


def driver_in(text: str) -> str:
    """Return the driver's version in what its kernel module says of itself, or ""."""
    found = _DRIVER.search(text.partition("\n")[0])
    return found.group(1) if found else ""


def _gpus() -> Finding:
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError, RuntimeError):
        return Finding(Status.FAIL, "GPU", f"cannot be looked for without torch; {EXTRA}")
    try:
        driver = driver_in(_DRIVER_FILE.read_text(encoding="ascii", errors="replace"))
    except OSError:
        driver = ""
    names: tuple[str, ...] = ()
    failure = ""
    if torch.cuda.is_available():
        numbers = range(torch.cuda.device_count())
        names = tuple(torch.cuda.get_device_name(number) for number in numbers)
        failure = next((words for number in numbers if (words := _failure(torch, number))), "")
    built = str(torch.version.cuda or torch.version.hip or "")
    return judge(Gpus(built, driver, names, failure, os.environ.get("CUDA_VISIBLE_DEVICES")))


def _failure(torch: Any, number: int) -> str:
    """Return why a GPU cannot add two numbers, or ""; a build without its architecture shows itself only here."""
    try:
        value = (torch.ones(1, device=f"cuda:{number}") + 1).item()
    except RuntimeError as error:
        return first_line(error)
    return "" if value == 2 else f"1 + 1 is {value}"


def _library(name: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(Status.FAIL, name, f"cannot be imported ({first_line(error)}); {EXTRA}")
    return Finding(Status.PASS, name, str(getattr(module, "__version__", "present")))


def _decoder() -> Finding:
    """Videos are untrusted files; what reads them is kept away from everything that the kernel can keep it from."""
    try:
        decoder = importlib.import_module("vdb_participant.data.decoding.decoder").process_decoder()
    except (ImportError, OSError) as error:
        return Finding(Status.FAIL, "decoder", f"cannot be loaded ({first_line(error)}); {EXTRA}")
    ready = decoder.started()
    keeps = [words for words, left in (("the network", ready.network), ("files", ready.files)) if not left]
    if keeps:
        words = f"a process of its own within limits, but this kernel cannot keep it from {' and '.join(keeps)}"
        return Finding(Status.WARN, "decoder", f"{words}; Linux 5.13 with Landlock and user namespaces can")
    return Finding(Status.PASS, "decoder", "a process of its own within limits, without network or files")
