"""What stands beside a clip in the store: how it was made, and what that took.

Promises figures of the clip alone, warm-up excluded, and of what was not measured that it was not. Figures compare only
within one model of device, one profile and one set of switches, all of which are in the record. Leaves measuring to
`watching.py`.

    {"profile", "class", "switches": […], "stepped_down": […], "attempts", "resumed_steps",
     "stages": {"text encoding" | "conditioning" | "denoising" | "decoding": seconds},
     "peak_memory": {"bytes" or null, "kind"}, "energy": {"joules" or null, "source"}}   numbers are decimal strings
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from vdb_participant.device import ELSEWHERE
from vdb_participant.generation.energy import NOT_MEASURED, Energy
from vdb_shared.canonical import decimal_string

ALLOCATED: Final = "allocated on the device"
RESIDENT: Final = "resident in the process"
RESIDENT_SO_FAR: Final = "resident in the process since its beginning"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one clip took.

    Attributes:
        seconds: from prompt to frames, over all runs of a clip that was resumed, without replays.
        stages: seconds of each stage.
        peak_bytes: most memory in use at once; None where it was not measured.
        memory: what kind of memory that is, or that it was not measured.
        energy: of the device, in the run that finished the clip.
        resumed: steps, of all schedulers, that another run had made.
    """

    seconds: float
    stages: Mapping[str, float]
    peak_bytes: int | None
    memory: str
    energy: Energy
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under which a clip was made.

    Attributes:
        profile: its name.
        grade: its class.
        switches: that are on.
        stepped_down: those of them that were turned on because memory ran out.
        attempts: 1 unless it failed before.
    """

    profile: str
    grade: str
    switches: tuple[str, ...] = ()
    stepped_down: tuple[str, ...] = field(default=())
    attempts: int = 1


def record_of(circumstances: Circumstances, taken: Taken) -> dict[str, Any]:
    """Return the JSON of a clip's record."""
    joules, peak_bytes = taken.energy.joules, taken.peak_bytes
    return {
        "profile": circumstances.profile,
        "class": circumstances.grade,
        "switches": list(circumstances.switches),
        "stepped_down": list(circumstances.stepped_down),
        "attempts": str(circumstances.attempts),
        "resumed_steps": str(taken.resumed),
        "stages": {name: decimal_string(seconds) for name, seconds in taken.stages.items()},
        "peak_memory": {
            "bytes": None if peak_bytes is None else str(peak_bytes),
            "kind": NOT_MEASURED if peak_bytes is None else taken.memory,
        },
        "energy": {"joules": None if joules is None else decimal_string(joules), "source": taken.energy.source},
    }


def reset_peak(device: str) -> str:
    """Begin to look for the most memory in use; return what kind of memory `peak` will tell."""
    if device.startswith(ELSEWHERE):
        return NOT_MEASURED
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return ALLOCATED
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux, proc(5): resets VmHWM
    except OSError:
        return RESIDENT_SO_FAR
    return RESIDENT


def peak(device: str) -> int | None:
    """Return the most bytes in use since `reset_peak`; None where the system does not tell.

    A model that runs elsewhere has none: the most that this process uses says nothing about it.
    """
    if device.startswith(ELSEWHERE):
        return None
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
