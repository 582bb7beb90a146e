"""Energy of a GPU while a clip is made, from NVML; "not measured" where there is none.

Promises joules of the whole board over the block, from its energy counter (Volta and later) or else from power sampled
ten times a second and integrated by trapezoids. `nvidia-ml-py` is imported only where it is installed; nothing of it is
needed on a CPU, whose energy nothing here measures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Final

import torch

NOT_MEASURED: Final = "not measured"
SAMPLE_SECONDS: Final = 0.1


@dataclass(slots=True)
class Energy:
    """What a block took.

    Attributes:
        joules: None where it was not measured.
        source: how it was measured.
    """

    joules: float | None = None
    source: str = NOT_MEASURED


@dataclass(frozen=True, slots=True)
class Meter:
    """A GPU's meter, or none.

    Attributes:
        nvml: the module pynvml, initialised; None where there is nothing to measure with.
        board: NVML's handle of the GPU.
    """

    nvml: Any = field(default=None, repr=False)
    board: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, device: str) -> Meter:
        """Return the meter of a device."""
        if not device.startswith("cuda") or find_spec("pynvml") is None:
            return cls()
        nvml = import_module("pynvml")
        try:
            nvml.nvmlInit()
            # by UUID: CUDA_VISIBLE_DEVICES renumbers the GPUs that torch sees, not those of NVML
            uuid = torch.cuda.get_device_properties(device).uuid
            return cls(nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
        except nvml.NVMLError:
            return cls()

    @contextmanager
    def measuring(self) -> Iterator[Energy]:
        """Measure a block; what it took is known when it ends."""
        energy = Energy()
        if self.nvml is None:
            yield energy
            return
        before = self._counter()
        if before is not None:
            yield energy
            after = self._counter()
            if after is not None:
                energy.joules, energy.source = (after - before) / 1000, "NVML energy counter"
        else:
            with self._sampled() as samples:
                yield energy
            if len(samples) > 1:
                energy.joules, energy.source = integral(samples), "NVML power, sampled"

    def _counter(self) -> int | None:
        """Return millijoules since the driver was loaded, or None where the board does not count."""
        try:
            return int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.board))
        except self.nvml.NVMLError:
            return None

    @contextmanager
    def _sampled(self) -> Iterator[list[tuple[float, float]]]:
        samples: list[tuple[float, float]] = []
        over = threading.Event()

        def sample() -> None:
            with suppress(self.nvml.NVMLError):  # a board that tells no power has no samples
                samples.append((time.perf_counter(), self.nvml.nvmlDeviceGetPowerUsage(self.board) / 1000))

        def run() -> None:
            while not over.wait(SAMPLE_SECONDS):
                sample()

        sample()
        thread = threading.Thread(target=run, name="power", daemon=True)
        thread.start()
        try:
            yield samples
        finally:
            over.set()
            thread.join()
            sample()


def integral(samples: Sequence[tuple[float, float]]) -> float:
    """Return joules of (seconds, watts), by trapezoids."""
    return sum((later - earlier) * (one + two) / 2 for (earlier, one), (later, two) in pairwise(samples))
