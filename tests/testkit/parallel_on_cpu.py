"""A process of a group whose GPUs are the CPU; started by torchrun, as `vdb_participant.generation.parallel` is elsewhere."""

from __future__ import annotations

import os

import torch

from vdb_participant.data.video import Frames
from vdb_participant.generation.parallel import main
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.settings import Clip, GenerationSettings
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Model

DEADLY = "the second process dies"


class _Mortal(DiffusersGenerator):
    """A generator of which the second process dies where a prompt says so."""

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        if prompt == DEADLY and os.environ["RANK"] == "1":
            os._exit(3)
        return super().generate(prompt, seed, condition)


def load_mortal(weights: Weights, model: Model, settings: GenerationSettings, *, device: str) -> DiffusersGenerator:
    return _Mortal.load(weights, model, settings, device)


def load_nothing(*, device: str) -> DiffusersGenerator:
    found = [name for name in ("VDB_PASSPHRASE", "VENDOR_TOKEN", "CUDA_HOME") if name in os.environ]
    raise ModelError(f"there is no such model; the environment has {found}")


if __name__ == "__main__":
    torch.accelerator.device_count = lambda: 1  # diffusers counts devices to number them, and there are none
    main()
