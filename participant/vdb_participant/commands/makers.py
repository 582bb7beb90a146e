"""Options that say where clips are made, and whether they go together."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from vdb_shared.errors import UsageError

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Processes that generate on the CPU; each GPU has one.")]
Engine = Annotated[
    str, typer.Option(help="Where clips are made: local, or ray, an existing Ray cluster of your institution's own.")
]
Address = Annotated[
    str, typer.Option(help="HOST:PORT of the Ray cluster, which sees private prompts.", show_default=False)
]
Together = Annotated[
    int, typer.Option("--context-parallel", min=1, max=64, help="GPUs that make each clip together, through torchrun.")
]

_DEVICE: Final = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Makers:
    """Options that say where clips are made."""

    device: str
    workers: int
    engine: str
    address: str
    together: int

    @property
    def known_device(self) -> str:
        """The device, which is one by its name; whether the machine has it is found out when torch is loaded."""
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"--device {self.device}: expected auto, cpu, cuda or cuda:N")
        return self.device

    @property
    def cluster(self) -> str:
        """Address of the Ray cluster, or "" for this machine."""
        if self.engine not in ("local", "ray"):
            raise UsageError(f"--engine {self.engine}: expected local or ray")
        if self.engine == "local" and self.address:
            raise UsageError("--address: goes with --engine ray; leave it out to make clips on this machine")
        if self.engine == "ray" and not self.address:
            raise UsageError("--engine ray: needs --address HOST:PORT of your institution's own Ray cluster")
        if self.engine == "ray" and self.together > 1:
            raise UsageError("--context-parallel: goes with --engine local; leave out one of them")
        if self.engine == "ray":
            check_ray()
        return self.address


def check_ray() -> None:
    """Check that what joins a cluster is installed.

    Raises:
        UsageError: it is not; says what to install.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray; install it with: pip install 'video-diffusion-bench[cluster]'")
